"""What a benchmark writes down: the case, its times, and the machine it ran on."""

from __future__ import annotations

import dataclasses
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ce2p_runtime.measuring.machine import machine as installed_machine
from ce2p_runtime.measuring.timing import Timing

__all__ = ["Record", "machine"]


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
    return {**installed_machine(), "commit": _commit()}


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
