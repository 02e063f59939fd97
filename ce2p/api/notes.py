"""How a function of the front door talks on its way: how far it is, and what its caller should know."""

from __future__ import annotations

import logging
from collections.abc import Callable

from ce2p_runtime.base.progress import Progress, without_progress

__all__ = ["LOGGER", "Progress", "counting", "note", "without_progress"]

LOGGER = "ce2p"
"""Name of the logger that remarks go to, at level INFO; the command line prints them."""


def note(text: str) -> None:
    """Say something that is no error and no result."""
    logging.getLogger(LOGGER).info("%s", text)


def counting(progress: Progress, step: str) -> Callable[[int, int], None]:
    """`progress` as a function of (done, total), for work that consists of one step."""
    return lambda done, total: progress(step, done, total)
