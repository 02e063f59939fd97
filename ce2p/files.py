"""Writing files whole: beside the target, to the disk, then renamed."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["atomic_path"]

_MOST_BYTES = 120
"""Of a temporary name's stem: names are limited in bytes (255), and a letter may take four."""


@contextmanager
def atomic_path(target: str | Path) -> Iterator[Path]:
    """Yield a new path beside `target`; what is written there becomes `target`, or nothing does.

    The bytes are on the disk before the name is: after a power cut `target` is the old file or the new one, whole.
    Raises OSError, as a full disk does; `target` is then as it was.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    stem = os.fsencode(target.stem)[:_MOST_BYTES].decode("utf-8", "ignore")
    temporary = target.with_name(f".{stem}.{secrets.token_hex(6)}{target.suffix}")
    try:
        yield temporary
        _to_disk(temporary)
        temporary.replace(target)
        _to_disk(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _to_disk(path: Path) -> None:
    if path.is_dir() and os.name == "nt":  # Windows has no handle for a folder's entries
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
