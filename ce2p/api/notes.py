"""What a function of the front door has to say on its way that is no error and no result."""

from __future__ import annotations

import logging

LOGGER = "ce2p"
"""Name of the logger that remarks go to, at level INFO; the command line prints them."""


def note(text: str) -> None:
    """Say it."""
    logging.getLogger(LOGGER).info("%s", text)
