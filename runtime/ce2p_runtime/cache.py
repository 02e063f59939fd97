"""Where this package keeps what it can make again: compiled kernels, TensorRT timing caches."""

from __future__ import annotations

import os
import sys
from pathlib import Path

__all__ = ["CACHE_VARIABLE", "cache_folder"]

CACHE_VARIABLE = "CE2P_CACHE"
"""Environment variable that names another folder, used as it is."""


def cache_folder(*parts: str) -> Path:
    """This user's cache folder of ce2p, or a folder `parts` below it; not made here, and safe to delete at any time.

    $CE2P_CACHE where set; else %LOCALAPPDATA%\\ce2p\\Cache on Windows, ~/Library/Caches/ce2p on macOS, and
    $XDG_CACHE_HOME/ce2p or ~/.cache/ce2p elsewhere.
    """
    return _base().joinpath(*parts)


def _base() -> Path:
    named = os.environ.get(CACHE_VARIABLE)
    if named:
        return Path(named).expanduser()
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return (Path(local) if local else Path.home() / "AppData" / "Local") / "ce2p" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "ce2p"
    xdg = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification says that a relative path there is invalid and to be ignored.
    return (Path(xdg) if Path(xdg).is_absolute() else Path.home() / ".cache") / "ce2p"
