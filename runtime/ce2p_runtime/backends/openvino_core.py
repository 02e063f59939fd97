"""The one OpenVINO core of a process.

On Linux every core gives the thread that first compiles with it an alternate signal stack, and puts the former one
back when it goes. Of two cores that go in the order they came, the second puts back what the first has freed: the next
signal with a Python handler (Ctrl-C, SIGCHLD, SIGALRM) then kills the process (seen with OpenVINO 2026.4).
"""

from __future__ import annotations

import threading
from functools import cache
from typing import Any

from ..process.forks import keep_in_children
from ..process.telemetry import import_openvino

__all__ = ["openvino_core"]


_lock = threading.Lock()  # `cache` alone lets two threads that come first make a core each


def openvino_core() -> Any:
    """Never goes. Raises ImportError where OpenVINO is not installed."""
    with _lock:
        return _core()


@cache
def _core() -> Any:
    core = import_openvino().Core()
    keep_in_children(core)
    return core
