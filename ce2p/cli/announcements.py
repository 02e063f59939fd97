"""What the runtime's choice of a backend says while a command runs, shown as the command's own remarks."""

from __future__ import annotations

import logging
import sys

__all__ = ["show_announcements"]

_LOGGER = "ce2p_runtime.backends"


class _Remarks(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        from .console import remark  # not before there is something to say: it loads rich

        if record.levelno < logging.WARNING:
            remark(record.getMessage())
        else:  # --quiet does not silence these
            from ce2p_runtime.text import printable

            sys.stderr.write(f"{printable(record.getMessage())}\n")


def show_announcements() -> None:
    """From now on print that backends are being timed, and warnings; again is allowed."""
    logger = logging.getLogger(_LOGGER)
    if not any(isinstance(handler, _Remarks) for handler in logger.handlers):
        logger.addHandler(_Remarks())
        logger.setLevel(logging.INFO)
