"""`ce2p --version`: what to name in a report of a fault."""

from __future__ import annotations

import platform
from collections.abc import Iterable

from ce2p import __version__
from ce2p_runtime.backends import BACKENDS, DEVICE_BACKENDS
from ce2p_runtime.measuring.machine import versions

from .console import say

_LIBRARIES = ("numpy", "opencv-python-headless", "opencv-python", "av", "onnx", "torch")


def run() -> None:
    """Print versions: ce2p's and Python's, the backends', and those of the libraries that results come from."""
    say(f"ce2p {__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}")
    backends = {**BACKENDS, **DEVICE_BACKENDS}.values()
    say(f"backends: {_listed(name for entry in backends for name in entry.distributions) or 'none'}")
    say(f"libraries: {_listed(_LIBRARIES)}")


def _listed(packages: Iterable[str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in versions(*packages).items())
