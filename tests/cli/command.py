"""How a command that a test typed ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Ending", "Run", "error_line"]


@dataclass(frozen=True)
class Ending:
    """Status, standard output and standard error."""

    status: int
    out: str
    err: str


Run = Callable[..., Ending]


def error_line(ending: Ending) -> str:
    """The one line that says why; the last of standard error, and the only one that starts so."""
    assert ending.status == 1, ending
    lines = [line for line in ending.err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, ending.err
    assert "Traceback" not in ending.err
    return lines[0]
