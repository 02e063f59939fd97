"""Compiled networks on disk: one file of the cache for a network, a device and its settings.

Such a file is about as large as the model. All of them together take at most $CE2P_COMPILED_MIB (2048 unless set); the
least recently used go first, and with 0 none is written or read. A library takes what it is given and may crash over
damage, so a file has the digest of its content in its first line, and is read only where nobody but this user can have
written it. Whatever is wrong with it costs one warning and a compilation.

Several processes may read and write at once: a file appears whole or not at all, and one that is removed while it is
read stays until then.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base.bounded_json import read_json
from ..base.cache import cache_folder, open_cached
from ..base.files import atomic_path
from ..base.leftovers import remove_leftovers
from ..errors import CE2PRuntimeError, MediaError

logger = logging.getLogger(__name__)

LIMIT_VARIABLE = "CE2P_COMPILED_MIB"
"""Environment variable with the MiB that all compiled networks may take together; 0 for none."""
_USUAL_LIMIT = 2048
"""MiB: six of the largest networks, ResNet-101 in float32."""
_FORMAT = 1
_LONGEST_LINE = 4096
_SUFFIX = ".compiled"


def compiled_limit() -> int:
    """Bytes that all compiled networks may take together. Raises CE2PRuntimeError where the variable is no number."""
    text = os.environ.get(LIMIT_VARIABLE) or str(_USUAL_LIMIT)
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise CE2PRuntimeError(
            f"{LIMIT_VARIABLE} is {text!r:.80}, expected the MiB that compiled networks may take, 0 for none; change it"
        )
    return int(text) << 20


def compiled_key(facts: Mapping[str, Any]) -> str:
    """Hex digest of everything that what a library compiles depends on."""
    return hashlib.sha256(json.dumps({"format": _FORMAT, **facts}, sort_keys=True).encode()).hexdigest()


def recall_compiled(key: str) -> NDArray[np.uint8] | None:
    """What was kept under a key, in memory of its own; None where there is nothing, or nothing to be trusted.

    Raises CE2PRuntimeError where $CE2P_COMPILED_MIB is no number.
    """
    limit, file = compiled_limit(), _file(key)
    if not limit:
        return None
    try:
        with open_cached(file, own=True) as opened:
            content = _checked(opened, key, limit)
            with suppress(OSError):
                os.utime(file)  # it was used: others go first
            return content
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        forget_compiled(key, str(error))
        return None


def forget_compiled(key: str, reason: str) -> None:
    """Remove what is kept under a key, with a warning that says why."""
    logger.warning("%s: a compiled network is not usable, compiling again (%s)", _file(key), reason)
    with suppress(OSError):
        _file(key).unlink()


def keep_compiled(key: str, model: str, compiled: Callable[[], memoryview]) -> None:
    """Keep what a library compiled; one warning where that cannot be. `model` is for people who look at the file.

    `compiled` gives the content, and is called only where it is needed: what another process has kept meanwhile stays.
    Raises CE2PRuntimeError where $CE2P_COMPILED_MIB is no number.
    """
    limit, file = compiled_limit(), _file(key)
    if not limit or file.exists():
        return
    try:
        file.parent.mkdir(parents=True, exist_ok=True)  # before the export, which would be for nothing where that fails
        content = compiled()
        if content.nbytes > limit:
            logger.info("%s: compiled, %d MiB, it is not kept (%s)", model, content.nbytes >> 20, LIMIT_VARIABLE)
            return
        line = {"format": _FORMAT, "key": key, "model": model, "bytes": content.nbytes, "sha256": _sha256(content)}
        _make_room(file.parent, limit - content.nbytes)
        with atomic_path(file) as temporary:
            temporary.touch(0o600)
            with temporary.open("r+b") as opened:
                opened.write(json.dumps(line).encode() + b"\n")
                opened.write(content)
    except (OSError, MediaError) as error:
        logger.warning("the compiled network is not kept: %s", error)


def _checked(opened: BufferedReader, key: str, most: int) -> NDArray[np.uint8]:
    """The content behind the first line, of at most `most` bytes. Raises ValueError where it is not as that says."""
    line = opened.readline(_LONGEST_LINE)
    header = read_json(line, what="its first line")
    if not isinstance(header, dict) or (header.get("format"), header.get("key")) != (_FORMAT, key):
        raise ValueError("its first line is of another network")
    size = os.fstat(opened.fileno()).st_size - len(line)
    if header.get("bytes") != size or size > most:
        raise ValueError(f"it holds {size} bytes, expected {header.get('bytes')!r:.40} and at most {most}")
    content = np.empty(size, np.uint8)
    if opened.readinto(content.data) != size or _sha256(content.data) != header.get("sha256"):
        raise ValueError("it is damaged")
    return content


def _make_room(folder: Path, most: int) -> None:
    """Leave files of at most `most` bytes together: the least recently used go, and what killed processes left."""
    remove_leftovers(folder / f"{entry.name[1:].partition('.')[0]}{_SUFFIX}" for entry in folder.glob(f".*{_SUFFIX}"))
    total = 0
    for _, size, file in sorted(_kept(folder), reverse=True):
        total += size
        if total > most:
            with suppress(OSError):  # another process was faster, or still reads it (Windows)
                file.unlink()


def _kept(folder: Path) -> Iterator[tuple[int, int, Path]]:
    """When each was used last, its bytes and its name."""
    for file in folder.glob(f"[!.]*{_SUFFIX}"):
        with suppress(OSError):  # another process has removed it
            state = file.stat()
            yield state.st_mtime_ns, state.st_size, file


def _file(key: str) -> Path:
    return cache_folder("compiled") / f"{key[:32]}{_SUFFIX}"


def _sha256(content: memoryview) -> str:
    return hashlib.sha256(content).hexdigest()
