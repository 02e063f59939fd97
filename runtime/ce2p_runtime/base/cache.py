"""Where this package keeps what it can make again, such as backends' times and compiled kernels; how that is read."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

from ..errors import CE2PRuntimeError

CACHE_VARIABLE = "CE2P_CACHE"
"""Environment variable that names another folder, used as it is."""
_NOWHERE = Path(os.devnull, "ce2p")
"""For who has no home folder: nothing can be kept there, which whoever tries says. The folder for temporary files would
do, but there others could have put something in our place."""


def cache_folder(*parts: str) -> Path:
    """This user's cache folder of ce2p, or a folder `parts` below it; not made here, and safe to delete at any time.

    $CE2P_CACHE where set; else %LOCALAPPDATA%\\ce2p\\Cache on Windows, ~/Library/Caches/ce2p on macOS, and
    $XDG_CACHE_HOME/ce2p or ~/.cache/ce2p elsewhere. Raises CE2PRuntimeError where $CE2P_CACHE names no folder.
    """
    return _base().joinpath(*parts)


def read_cached(file: Path, most: int = 2**28) -> bytes:
    """A file of the cache, of at most `most` bytes.

    Raises OSError for anything else: in a folder that others may write to, a pipe would make its reader wait and a link
    to a device fill the memory.
    """
    with open_cached(file) as opened:
        content = opened.read(most + 1)
    if len(content) > most:
        raise OSError(f"{file} has more than {most} bytes")
    return content


@contextmanager
def open_cached(file: Path, *, own: bool = False) -> Iterator[BufferedReader]:
    """A regular file of the cache, for reading. `own`: one that nobody but this user and root can have written.

    Raises OSError for anything else.
    """
    # Opening a pipe waits for a writer unless told not to.
    descriptor = os.open(file, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode):
            raise OSError(f"{file} is a pipe, device or folder")
        # Windows has no such owners and modes; a user's folder is closed to others there.
        if own and hasattr(os, "geteuid") and (state.st_uid not in (os.geteuid(), 0) or state.st_mode & 0o022):
            raise OSError(f"{file} belongs to another user, or others may write to it")
        with os.fdopen(descriptor, "rb", closefd=False) as opened:
            yield opened
    finally:
        os.close(descriptor)


def _base() -> Path:
    named = os.environ.get(CACHE_VARIABLE)
    if named:
        try:
            return Path(named).expanduser()
        except RuntimeError:
            raise CE2PRuntimeError(
                f"{CACHE_VARIABLE} is {named!r:.200}, expected a folder, but no such user has a home here; name another"
            ) from None
    try:
        return _usual()
    except RuntimeError:  # an account without a home folder, as containers are often run with
        return _NOWHERE


def _usual() -> Path:
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return (Path(local) if local else Path.home() / "AppData" / "Local") / "ce2p" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "ce2p"
    xdg = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification says that a relative path there is invalid and to be ignored.
    return (Path(xdg) if Path(xdg).is_absolute() else Path.home() / ".cache") / "ce2p"
