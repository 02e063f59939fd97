"""`ce2p doctor`: what is installed for each job, what is missing or in conflict, and the cure."""

from __future__ import annotations

import importlib
import importlib.util
import platform
from dataclasses import asdict

from ce2p import __version__
from ce2p.errors import CE2PError
from ce2p_runtime.backends.openvino_core import openvino_core
from ce2p_runtime.base.cache import cache_folder
from ce2p_runtime.base.text import install_hint
from ce2p_runtime.measuring.machine import versions
from ce2p_runtime.process.telemetry import telemetry_state

from .console import say, table, write_json
from .doctor_gpu import examine_gpu
from .findings import Finding, import_problem, package, shown

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
        *_onnxruntime(),
        _openvino(),
        Finding("telemetry of the backends", "ok", telemetry_state()),
        Finding("cache: backends' times, kernels", "ok", str(cache_folder())),
        package("video", "av", "cli"),
        _torch(),
        package("safetensors", "safetensors", "train"),
        package("export: onnx", "onnx", "export"),
        package("export: onnxscript", "onnxscript", "export"),
        package("export: proof photographs", "skimage", "export", "scikit-image"),
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


def _onnxruntime() -> list[Finding]:
    found = versions("onnxruntime", "onnxruntime-gpu")
    if len(found) > 1:
        cure = f"pip uninstall -y onnxruntime onnxruntime-gpu, then {install_hint('cpu')}, or with gpu"
        return [Finding("backend onnxruntime", "conflict", f"{shown(found)}: they overwrite each other's files", cure)]
    if not found:
        return [Finding("backend onnxruntime", "missing", "", f"{install_hint('cpu')}, or with gpu")]
    problem = import_problem("onnxruntime")
    if problem:
        cure = f"pip install --force-reinstall {next(iter(found))}"
        return [Finding("backend onnxruntime", "conflict", f"{shown(found)}: {problem}", cure)]
    providers = [
        p.removesuffix("ExecutionProvider") for p in importlib.import_module("onnxruntime").get_available_providers()
    ]
    cpu = Finding("backend onnxruntime", "ok", f"{shown(found)}; providers {', '.join(providers)}")
    if "CUDA" in providers:
        return [
            cpu,
            Finding(
                "onnxruntime on CUDA",
                "ok",
                "provider compiled in; it loads only with a matching driver, CUDA and cuDNN",
            ),
        ]
    cure = f"pip uninstall onnxruntime, then {install_hint('gpu')}"
    return [cpu, Finding("onnxruntime on CUDA", "missing", "this build has no CUDA provider", cure)]


def _openvino() -> Finding:
    finding = package("backend openvino", "openvino", "openvino")
    if finding.status != "ok":
        return finding
    devices = openvino_core().available_devices
    if importlib.util.find_spec("onnx") is None:
        return Finding("backend openvino", "conflict", f"{finding.found}, without onnx", install_hint("openvino"))
    return Finding("backend openvino", "ok", f"{finding.found}; devices {', '.join(devices)}")


def _torch() -> Finding:
    finding = package("checkpoints: torch", "torch", "train")
    if finding.status != "ok":
        return finding
    torch = importlib.import_module("torch")
    cuda = (
        f"CUDA {torch.version.cuda}, GPU {'there' if torch.cuda.is_available() else 'not there'}"
        if torch.version.cuda
        else "CPU build"
    )
    return Finding("checkpoints: torch", "ok", f"{finding.found}, {cuda}")
