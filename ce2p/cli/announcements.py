"""What the front door and the runtime's choice of a backend say while a command runs, shown as its own remarks."""

from __future__ import annotations

import logging
import sys

_LOGGERS = ("ce2p", "ce2p_runtime.backends")


class _Remarks(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        from .console import remark  # not before there is something to say: it loads rich

        if record.levelno < logging.WARNING:
            remark(record.getMessage())
        else:  # --quiet does not silence these
            from ce2p_runtime.base.text import printable

            sys.stderr.write(f"{printable(record.getMessage())}\n")


def show_announcements() -> None:
    """From now on print what is said there, and warnings; again is allowed."""
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        if not any(isinstance(handler, _Remarks) for handler in logger.handlers):
            logger.addHandler(_Remarks())
        logger.setLevel(logging.INFO)
