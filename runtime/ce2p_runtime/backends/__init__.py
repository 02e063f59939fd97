"""Inference backends: one file and one entry in registry.py for each, opened by name.

What needs NumPy or OpenCV is imported when it is asked for, so that `ce2p --help` need not wait for it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .registry import BACKENDS, DEVICE_BACKENDS, backend_versions, installed_backends, precision_refusal

if TYPE_CHECKING:
    from .base import Backend, DeviceBackend
    from .choice_memory import BackendChoice
    from .opening import check_threads, open_backend

__all__ = [
    "BACKENDS",
    "DEVICE_BACKENDS",
    "Backend",
    "BackendChoice",
    "DeviceBackend",
    "backend_versions",
    "check_threads",
    "installed_backends",
    "open_backend",
    "precision_refusal",
]

_MODULES = {
    "Backend": "base",
    "BackendChoice": "choice_memory",
    "DeviceBackend": "base",
    "check_threads": "opening",
    "open_backend": "opening",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f".{_MODULES[name]}", __name__), name)
    return value
