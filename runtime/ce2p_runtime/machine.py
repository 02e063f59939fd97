"""What a measured time depends on: processor, cores this process may use, versions."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

__all__ = ["machine", "versions"]

_PACKAGES = (
    "numpy", "opencv-python-headless", "torch", "onnxruntime", "onnxruntime-gpu", "openvino", "tensorrt",
    "onnxruntime-ep-nv-tensorrt-rtx-cu13", "pycuda", "cuda-bindings",
)  # fmt: skip


def machine() -> dict[str, Any]:
    """Plain types, ready for json.dump."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "cpu": _cpu_model(),
        "cores": cores,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": versions(*_PACKAGES),
    }


def versions(*packages: str) -> dict[str, str]:
    """Installed versions of those packages that are installed, without importing them."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _cpu_model() -> str:
    """The processor's name; for virtual machines that hide it, also family and model number."""
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return platform.processor() or platform.machine()
    pairs = [line.split(":", 1) for line in info.read_text().splitlines() if ":" in line]
    fields = {key.strip(): value.strip() for key, value in reversed(pairs)}
    detail = f"family {fields.get('cpu family')}, model {fields.get('model')}"
    return f"{fields.get('model name', 'unknown')} ({detail})"
