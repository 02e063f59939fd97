"""How many CPU threads somebody may ask a network to run with: one rule for Python and the command line."""

from __future__ import annotations

import os

from ..errors import BackendError

__all__ = ["check_threads"]

PER_CORE = 4
"""Threads beyond the logical cores only wait for each other, and they do that by spinning: a frame took 88 s with 500
threads on two cores, and 100,000 ended the process with a segmentation fault. Up to this many per core is left to
whoever wants to try; it lets a script written for a larger machine run on a smaller one."""


def check_threads(threads: int | None) -> None:
    """Raises BackendError for a number that no network can sensibly run with; None leaves it to the library."""
    if threads is None:
        return
    cores = os.cpu_count() or 1
    most = PER_CORE * cores
    if not isinstance(threads, int) or isinstance(threads, bool) or not 1 <= threads <= most:
        raise BackendError(
            f"threads is {threads!r:.40}, expected a whole number from 1 to {most} ({PER_CORE} for each of the {cores} "
            "logical cores here), or none for one per physical core"
        )
