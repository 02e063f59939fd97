"""How a function of the front door talks on its way: how far it is, and what its caller should know."""

from __future__ import annotations

import logging
from collections.abc import Callable

__all__ = ["LOGGER", "Progress", "counting", "note", "without_progress"]

LOGGER = "ce2p"
"""Name of the logger that remarks go to, at level INFO; the command line prints them."""

Progress = Callable[[str, int, int], None]
"""Called with (what is being done, steps done, steps in all); 0 of 0 where a step has no parts."""


def note(text: str) -> None:
    """Say something that is no error and no result."""
    logging.getLogger(LOGGER).info("%s", text)


def without_progress(step: str, done: int, total: int) -> None:
    """For callers who do not ask how far the work is."""


def counting(progress: Progress, step: str) -> Callable[[int, int], None]:
    """`progress` as a function of (done, total), for work that consists of one step."""
    return lambda done, total: progress(step, done, total)
