"""What FFmpeg says while it reads and decodes: it repairs many pictures and marks few of them, but it does complain.

PyAV drops these messages unless its log level is set, for the whole process. It is set here only while one of our
readers works on a packet, and put back as it was. Only messages of the reading thread are taken.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_HARMLESS = ("mmco: unref short failure",)
"""H.264: an order to forget a picture that is not there, as behind every cut; no pixel changes."""

_lock = threading.Lock()
_listeners = 0
_before: tuple[Any, bool] = (None, True)


@contextmanager
def listening(av: Any) -> Iterator[list[tuple[int, str, str]]]:
    """Collect (level, name, message) of the errors that FFmpeg reports in this thread inside the block."""
    # The decoders used here have no threads of their own, so that nobody waits for Python's lock with the lock of a
    # codec in hand. Levels above ERROR are dropped before they touch Python.
    global _listeners, _before
    log = av.logging
    with _lock:
        if not _listeners:
            _before = log.get_level(), log.get_skip_repeated()
            if _before[0] is None or _before[0] < log.ERROR:
                log.set_level(log.ERROR)
            log.set_skip_repeated(False)
        _listeners += 1
    try:
        with log.Capture(True) as messages:
            yield messages
        messages[:] = [message for message in messages if message[2].strip() not in _HARMLESS]
    finally:
        with _lock:
            _listeners -= 1
            if not _listeners:
                log.set_level(_before[0])
                log.set_skip_repeated(_before[1])
