"""What a measured time depends on: processor, cores this process may use, memory, GPU, versions, commit."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_PACKAGES = ("numpy", "opencv-python-headless", "torch")
_GPU_FACTS = {
    "name": "name",
    "driver": "driver_version",
    "memory_mib": "memory.total",
    "sm_clock_mhz": "clocks.sm",
    "max_sm_clock_mhz": "clocks.max.sm",
    "memory_clock_mhz": "clocks.mem",
    "power_limit_w": "power.limit",
}
"""Our name -> what nvidia-smi calls it. The clocks are those of the moment."""


def machine() -> dict[str, Any]:
    """Plain types, ready for json.dump. None where this system does not tell."""
    from ..backends.registry import BACKENDS, DEVICE_BACKENDS, backend_versions  # it needs `versions` itself

    return {
        "cpu": cpu_model(),
        "cores": usable_cores(),
        "governor": _text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "memory_gib": _memory_gib(),
        "gpus": _gpus(),
        "system": f"{platform.system()} {platform.machine()}",
        "kernel": platform.release(),
        "python": platform.python_version(),
        "versions": versions(*_PACKAGES) | backend_versions({**BACKENDS, **DEVICE_BACKENDS}),
    }


def usable_cores() -> int | None:
    """Cores that this process may use; None where the system does not say."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def versions(*packages: str) -> dict[str, str]:
    """Installed versions of those packages that are installed, without importing them."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def source_commit() -> dict[str, Any] | None:
    """`commit`, and whether the checkout is `dirty`, so differs from it; None where this package runs from none."""
    here = Path(__file__).resolve()
    # An installed package may lie in somebody else's repository, as .venv does: this file has to be one of its files.
    if _git("ls-files", "--error-unmatch", here.name, folder=here.parent) is None:
        return None
    commit, changes = _git("rev-parse", "HEAD", folder=here.parent), _git("status", "--porcelain", folder=here.parent)
    return None if commit is None or changes is None else {"commit": commit, "dirty": bool(changes)}


def _git(*arguments: str, folder: Path) -> str | None:
    return _output_of("git", "-C", str(folder), *arguments)


def _output_of(program: str, *arguments: str) -> str | None:
    """What a program prints; None where it is not installed, fails or hangs."""
    found = shutil.which(program)
    if found is None:
        return None
    try:
        done = subprocess.run([found, *arguments], capture_output=True, text=True, timeout=20, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _gpus() -> list[dict[str, str]]:
    """One entry for each GPU that nvidia-smi lists."""
    listed = _output_of("nvidia-smi", f"--query-gpu={','.join(_GPU_FACTS.values())}", "--format=csv,noheader,nounits")
    rows = [[cell.strip() for cell in line.split(",")] for line in (listed or "").splitlines()]
    return [dict(zip(_GPU_FACTS, row, strict=True)) for row in rows if len(row) == len(_GPU_FACTS)]


def cpu_model() -> str:
    """The processor's name; for virtual machines that hide it, also family and model number."""
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return platform.processor() or platform.machine()
    pairs = [line.split(":", 1) for line in info.read_text().splitlines() if ":" in line]
    fields = {key.strip(): value.strip() for key, value in reversed(pairs)}
    detail = f"family {fields.get('cpu family')}, model {fields.get('model')}"
    return f"{fields.get('model name', 'unknown')} ({detail})"


def _memory_gib() -> float | None:
    text = _text("/proc/meminfo")
    if text is None or not text.startswith("MemTotal:"):
        return None
    return round(int(text.split()[1]) / 2**20, 1)


def _text(path: str) -> str | None:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return None
