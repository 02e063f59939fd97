"""What a benchmark writes down: the case, its times, and the machine it ran on."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import os
import platform
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ce2p_runtime.timing import Timing

__all__ = ["Record", "machine"]

_PACKAGES = ("numpy", "opencv-python-headless", "torch", "onnxruntime", "onnxruntime-gpu", "openvino")


@dataclass(frozen=True)
class Record:
    """One benchmarked case: what was run, with which settings, and how long each candidate took."""

    subject: str
    """What was measured, such as "label_map"."""
    settings: dict[str, Any]
    """Sizes, class count, threads: all that is needed to run the case again."""
    timings: dict[str, Timing]
    """Candidate name -> its times."""
    checks: dict[str, Any] = field(default_factory=dict)
    """What was verified before the clock started, with the figures found."""

    def as_dict(self) -> dict[str, Any]:
        """Plain types, ready for json.dump."""
        return dataclasses.asdict(self)


def machine() -> dict[str, Any]:
    """What the figures depend on: processor, cores this process may use, versions, commit of this
    repository."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "cpu": _cpu_model(),
        "cores": cores,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": _versions(),
        "commit": _commit(),
    }


def _cpu_model() -> str:
    """The processor's name; for virtual machines that hide it, also family and model number."""
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return platform.processor() or platform.machine()
    pairs = [line.split(":", 1) for line in info.read_text().splitlines() if ":" in line]
    fields = {key.strip(): value.strip() for key, value in reversed(pairs)}
    detail = f"family {fields.get('cpu family')}, model {fields.get('model')}"
    return f"{fields.get('model name', 'unknown')} ({detail})"


def _versions() -> dict[str, str]:
    """Installed versions of the packages that matter, without importing them."""
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _commit() -> str:
    """Commit hash, with "+changes" when the working tree differs from it; "unknown" outside a repository."""
    here = Path(__file__).resolve().parent
    try:
        head = _git("rev-parse", "HEAD", cwd=here)
        return head + ("+changes" if _git("status", "--porcelain", cwd=here) else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*arguments: str, cwd: Path) -> str:
    done = subprocess.run(["git", *arguments], cwd=cwd, capture_output=True, text=True, check=True)
    return done.stdout.strip()
