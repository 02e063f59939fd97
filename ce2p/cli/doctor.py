"""`ce2p doctor`: what is installed for each job, what is missing or in conflict, and the cure."""

from __future__ import annotations

import importlib
import importlib.util
import platform
import shutil
import subprocess
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Literal

from ce2p import __version__
from ce2p.errors import CE2PError

from .console import say, table, write_json

__all__ = ["Finding", "examine", "run"]

Status = Literal["ok", "missing", "conflict"]


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    subject: str
    status: Status
    found: str
    cure: str = ""


def run(json: str | None) -> None:
    """Examine and print. Raises CE2PError when packages conflict or no backend can run."""
    findings = examine()
    if json:
        write_json({"findings": [asdict(finding) for finding in findings]}, json)
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
        raise CE2PError('no inference backend is installed; pip install "ce2p[cpu]"')
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
        _package("video", "av", "cli"),
        _torch(),
        _package("safetensors", "safetensors", "train"),
        _package("export: onnx", "onnx", "export"),
        _package("export: onnxscript", "onnxscript", "export"),
        _package("export: proof photographs", "skimage", "export", "scikit-image"),
        _driver(),
    ]


def _installed(*packages: str) -> dict[str, str]:
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _package(subject: str, module: str, extra: str, package: str | None = None) -> Finding:
    found = _installed(package or module)
    if not found:
        return Finding(subject, "missing", "", f'pip install "ce2p[{extra}]"')
    problem = _import_problem(module)
    shown = ", ".join(f"{name} {number}" for name, number in found.items())
    if problem:
        return Finding(
            subject,
            "conflict",
            f"{shown}, but importing fails: {problem}",
            f"pip install --force-reinstall {package or module}",
        )
    return Finding(subject, "ok", shown)


def _import_problem(module: str) -> str | None:
    """Why a package that is installed does not import, in one line; None when it does."""
    try:
        importlib.import_module(module)
    except Exception as error:  # a broken binary package can raise anything
        return (str(error).splitlines() or [type(error).__name__])[0]
    return None


def _opencv() -> Finding:
    found = _installed(
        "opencv-python-headless", "opencv-python", "opencv-contrib-python", "opencv-contrib-python-headless"
    )
    shown = ", ".join(f"{name} {number}" for name, number in found.items())
    if len(found) > 1:
        cure = f"pip uninstall -y {' '.join(found)}, then pip install opencv-python-headless"
        return Finding("pictures: OpenCV", "conflict", f"{shown}: they overwrite each other's files", cure)
    problem = _import_problem("cv2")
    if problem:
        return Finding(
            "pictures: OpenCV", "conflict", f"{shown or 'not there'}: {problem}", "pip install opencv-python-headless"
        )
    return Finding("pictures: OpenCV", "ok", shown)


def _onnxruntime() -> list[Finding]:
    found = _installed("onnxruntime", "onnxruntime-gpu")
    shown = ", ".join(f"{name} {number}" for name, number in found.items())
    if len(found) > 1:
        cure = "pip uninstall -y onnxruntime onnxruntime-gpu, then install one: ce2p[cpu] or ce2p[gpu]"
        return [Finding("backend onnxruntime", "conflict", f"{shown}: they overwrite each other's files", cure)]
    if not found:
        return [Finding("backend onnxruntime", "missing", "", 'pip install "ce2p[cpu]" or "ce2p[gpu]"')]
    problem = _import_problem("onnxruntime")
    if problem:
        cure = f"pip install --force-reinstall {next(iter(found))}"
        return [Finding("backend onnxruntime", "conflict", f"{shown}: {problem}", cure)]
    providers = [
        p.removesuffix("ExecutionProvider") for p in importlib.import_module("onnxruntime").get_available_providers()
    ]
    cpu = Finding("backend onnxruntime", "ok", f"{shown}; providers {', '.join(providers)}")
    if "CUDA" in providers:
        return [
            cpu,
            Finding(
                "onnxruntime on CUDA",
                "ok",
                "provider compiled in; it loads only with a matching driver, CUDA and cuDNN",
            ),
        ]
    cure = 'pip uninstall onnxruntime, then pip install "ce2p[gpu]"'
    return [cpu, Finding("onnxruntime on CUDA", "missing", "this build has no CUDA provider", cure)]


def _openvino() -> Finding:
    finding = _package("backend openvino", "openvino", "openvino")
    if finding.status != "ok":
        return finding
    devices = importlib.import_module("openvino").Core().available_devices
    if importlib.util.find_spec("onnx") is None:
        return Finding("backend openvino", "conflict", f"{finding.found}, without onnx", 'pip install "ce2p[openvino]"')
    return Finding("backend openvino", "ok", f"{finding.found}; devices {', '.join(devices)}")


def _torch() -> Finding:
    finding = _package("checkpoints: torch", "torch", "train")
    if finding.status != "ok":
        return finding
    torch = importlib.import_module("torch")
    cuda = (
        f"CUDA {torch.version.cuda}, GPU {'there' if torch.cuda.is_available() else 'not there'}"
        if torch.version.cuda
        else "CPU build"
    )
    return Finding("checkpoints: torch", "ok", f"{finding.found}, {cuda}")


def _driver() -> Finding:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return Finding(
            "NVIDIA driver", "missing", "no nvidia-smi", "only needed for CUDA: install the driver from NVIDIA"
        )
    query = [tool, "--query-gpu=name,driver_version", "--format=csv,noheader"]
    answer = subprocess.run(query, capture_output=True, text=True, timeout=20, check=False)  # noqa: S603  (found on PATH, fixed arguments)
    if answer.returncode:
        reason = (answer.stdout + answer.stderr).strip().splitlines()
        return Finding(
            "NVIDIA driver",
            "missing",
            (reason or ["nvidia-smi fails"])[0],
            "reinstall the driver, or reboot after its update",
        )
    return Finding("NVIDIA driver", "ok", "; ".join(answer.stdout.strip().splitlines()))
