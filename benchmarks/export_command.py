"""`ce2p export` as a user runs it, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["export_by_command"]


def export_by_command(arguments: Sequence[str], path: Path) -> Path:
    """`ce2p export ARGUMENTS -o path` in a process of its own. Raises RuntimeError with the line it ends with."""
    command = [sys.executable, "-m", "ce2p", "export", *arguments, "-o", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode or not path.exists():
        lines = [line.strip(" │") for line in (done.stderr or done.stdout).splitlines() if line.strip(" │╭╮╰╯─")]
        reason = next((line for line in lines if "rror:" in line), lines[-1] if lines else "no output")
        raise RuntimeError(f"ce2p export failed: {reason.removeprefix('error: ')}")
    return path
