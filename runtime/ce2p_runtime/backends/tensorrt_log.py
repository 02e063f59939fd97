"""What TensorRT says, to everybody in this process who wants to hear it: one logger for export and for running.

TensorRT keeps one logger per process: a second one is warned about, and ignored while objects made with the first live.
So all of ours is made with this one, which forwards. All of this is thread-safe; TensorRT logs from threads of its own.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

logger = logging.getLogger(__name__)

Listener: TypeAlias = Callable[[int, str], None]
"""Told (level of `logging`, message as it came) in the thread it happened in. It must not raise."""

_lock = threading.RLock()  # what the garbage collector frees meanwhile may log, too
_logs: dict[Any, Any] = {}
"""The module tensorrt -> its ILogger, which nobody may free."""
_listeners: list[Listener] = []
_thread = threading.local()


def process_log(trt: Any) -> Any:
    """The one ILogger of this process, for every builder, parser and runtime of `trt`, the module tensorrt."""
    with _lock:
        if trt not in _logs:
            _logs[trt] = _make_log(trt)
        return _logs[trt]


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Meanwhile tell `listener` everything but verbose messages, of all threads.

    It reports what matters, so `logging` then gets all of it at debug level.
    """
    with _lock:
        _listeners.append(listener)
    try:
        yield
    finally:
        with _lock:
            _listeners.remove(listener)


def take_complaint() -> str:
    """The first error in this thread since the last call, in one line, or nothing; later ones follow from the first.

    TensorRT's functions only return None or False. Call it before them as well: what is there then is somebody else's.
    """
    complaint: str = getattr(_thread, "complaint", "")
    _thread.complaint = ""
    return complaint


def _hear(level: int, text: str) -> None:
    with _lock:
        listeners = tuple(_listeners)
    if level == logging.DEBUG and (listeners or not logger.isEnabledFor(level)):
        return  # a build has tens of thousands of these
    line = " ".join(text.split())
    if level == logging.ERROR:
        _thread.complaint = getattr(_thread, "complaint", "") or line
    for listener in listeners:
        listener(level, text)
    if listeners:
        logger.debug("TensorRT: %s: %s", logging.getLevelName(level), line)
    else:
        # An error comes back in an exception of whoever takes the complaint.
        logger.log(logging.INFO if level == logging.ERROR else level, "TensorRT: %s", line)


def _make_log(trt: Any) -> Any:
    severity = trt.ILogger.Severity
    levels = {
        severity.INTERNAL_ERROR: logging.ERROR,
        severity.ERROR: logging.ERROR,
        severity.WARNING: logging.WARNING,
        severity.INFO: logging.INFO,
    }

    class ProcessLog(trt.ILogger):  # type: ignore[misc]  # a class known at run time only
        def __init__(self) -> None:
            trt.ILogger.__init__(self)  # pybind11 wants its own constructor called by name

        def log(self, severity: Any, message: str) -> None:
            _hear(levels.get(severity, logging.DEBUG), message)

    return ProcessLog()
