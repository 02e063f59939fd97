"""`ce2p doctor`: what is installed for each job, what is missing or in conflict, and the cure."""

from __future__ import annotations

import importlib
import platform
from collections.abc import Iterator
from dataclasses import asdict

from ce2p import __version__
from ce2p.errors import CE2PError
from ce2p_runtime.backends import BACKENDS
from ce2p_runtime.backends.registry import BackendEntry
from ce2p_runtime.base.cache import cache_folder
from ce2p_runtime.base.text import install_hint
from ce2p_runtime.measuring.machine import versions
from ce2p_runtime.process.telemetry import telemetry_state

from .console import say, table, write_json
from .doctor_gpu import examine_gpu
from .findings import Finding, backend, import_problem, package, shown

__all__ = ["Finding", "examine", "run"]


def run(json: str | None) -> None:
    """Examine and print. Raises CE2PError when packages conflict or no backend can run."""
    findings = examine()
    if json:
        write_json({"findings": [asdict(finding) for finding in findings]}, json, "doctor")
    if json != "-":
        marks = {"ok": "ok", "missing": "not there", "conflict": "CONFLICT"}
        table(
            "ce2p doctor",
            ("what", "", "found", "cure"),
            [(f.subject, marks[f.status], f.found, f.cure) for f in findings],
            numbers=False,
        )
    conflicts = [finding for finding in findings if finding.status == "conflict"]
    if conflicts:
        raise CE2PError(f"{conflicts[0].subject}: {conflicts[0].found}; {conflicts[0].cure}")
    backends = [f for f in findings if f.subject.startswith("backend") and f.status == "ok"]
    if not backends:
        raise CE2PError(f"no inference backend is installed; {install_hint('cpu')}")
    if json != "-":
        say(f"can parse with: {', '.join(f.subject.removeprefix('backend ') for f in backends)}")


def examine() -> list[Finding]:
    """Every finding, in the order a user needs them."""
    return [
        Finding(
            "ce2p", "ok", f"{__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}"
        ),
        _opencv(),
        *(finding for entry in BACKENDS.values() for finding in _on_cpu(entry)),
        Finding("telemetry of the backends", "ok", telemetry_state()),
        Finding("cache: backends' times, kernels", "ok", str(cache_folder())),
        package("video", "av", install_hint("cli")),
        _torch(),
        package("safetensors", "safetensors", install_hint("train")),
        package("export: onnx", "onnx", install_hint("export")),
        package("export: onnxscript", "onnxscript", install_hint("export")),
        package("export: proof photographs", "skimage", install_hint("export"), found=versions("scikit-image")),
        *examine_gpu(),
    ]


def _opencv() -> Finding:
    found = versions(
        "opencv-python-headless", "opencv-python", "opencv-contrib-python", "opencv-contrib-python-headless"
    )
    if len(found) > 1:
        cure = f"pip uninstall -y {' '.join(found)}, then pip install opencv-python-headless"
        return Finding("pictures: OpenCV", "conflict", f"{shown(found)}: they overwrite each other's files", cure)
    problem = import_problem("cv2")
    if problem:
        return Finding(
            "pictures: OpenCV",
            "conflict",
            f"{shown(found) or 'not there'}: {problem}",
            "pip install opencv-python-headless",
        )
    return Finding("pictures: OpenCV", "ok", shown(found))


def _on_cpu(entry: BackendEntry) -> Iterator[Finding]:
    """A backend for CPUs, and whether it was built for GPUs, too, where there is such a build."""
    finding = backend(entry)
    yield finding
    if not entry.gpu_extra or finding.status != "ok":
        return
    subject = f"{entry.name} on CUDA"
    if entry.finds_gpu():
        yield Finding(subject, "ok", "compiled in; it loads only with a matching driver, CUDA and cuDNN")
    else:
        cure = f"pip uninstall {' '.join(entry.versions)}, then {install_hint(entry.gpu_extra)}"
        yield Finding(subject, "missing", "this build has no CUDA", cure)


def _torch() -> Finding:
    finding = package("checkpoints: torch", "torch", install_hint("train"))
    if finding.status != "ok":
        return finding
    torch = importlib.import_module("torch")
    cuda = (
        f"CUDA {torch.version.cuda}, GPU {'there' if torch.cuda.is_available() else 'not there'}"
        if torch.version.cuda
        else "CPU build"
    )
    return Finding("checkpoints: torch", "ok", f"{finding.found}, {cuda}")
