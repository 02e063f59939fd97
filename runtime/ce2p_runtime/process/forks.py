"""What a forked child inherits and must never destroy.

A fork copies a network but not the threads that belong to it. The copy runs: the calling thread does the work alone.
Destroying it would wait for threads that do not exist; ONNX Runtime then ends the process with a segmentation fault,
and OpenVINO hangs at its exit (seen with 1.32 and 2026.4). A child's end frees the memory anyway.
"""

from __future__ import annotations

import ctypes
import os
import weakref

__all__ = ["keep_in_children"]

_kept: weakref.WeakSet[object] = weakref.WeakSet()


def keep_in_children(thing: object) -> None:
    """Never let `thing` go in processes forked from this one; here it lives as long as somebody refers to it."""
    _kept.add(thing)


def _after_fork_in_child() -> None:
    for thing in _kept:
        # One reference more than anybody gives back. A list would not do: the interpreter clears it at its end.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_after_fork_in_child)
