"""Inference backends: one file each, opened by name."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from ..errors import BackendError
from .base import Backend
from .onnxruntime import OnnxRuntimeBackend
from .openvino import OpenVinoBackend

__all__ = ["BACKENDS", "Backend", "OnnxRuntimeBackend", "OpenVinoBackend", "open_backend"]

BACKENDS: dict[str, type[OnnxRuntimeBackend] | type[OpenVinoBackend]] = {
    "onnxruntime": OnnxRuntimeBackend,
    "openvino": OpenVinoBackend,
}
"""By name, in the order "auto" tries them."""


def open_backend(path: str | Path, backend: str = "auto", device: str = "auto", threads: int | None = None) -> Backend:
    """Load a model file. "auto" takes the first backend whose package is installed; the result's `name` says which.

    Raises BackendError (unknown, not installed, device not there) and ModelFileError.
    """
    if backend == "auto":
        installed = [name for name in BACKENDS if importlib.util.find_spec(name) is not None]
        if not installed:
            raise BackendError('no inference backend is installed; pip install "ce2p[cpu]"')
        backend = installed[0]
    if backend not in BACKENDS:
        raise BackendError(f"unknown backend {backend!r}; expected auto, {', '.join(BACKENDS)}")
    return BACKENDS[backend](path, device, threads)
