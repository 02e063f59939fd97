"""An ONNX file as a file: its properties, its digest and its graph, without any ONNX library.

An ONNX file is one protobuf message `ModelProto` (onnx.proto). The properties are the entries of its field 14,
`metadata_props`, with key and value as their fields 1 and 2. All other fields are stepped over, the weights included.

Its digest is BLAKE2b with 256 bits over all bytes apart from the entry with our metadata, which holds the digest: so a
flipped bit in the weights, which no library notices, is noticed. It costs two to three seconds per gigabyte (0.5 s for
250 MiB on a busy machine, as SHA-256 does where the processor has instructions for it), once per file and process.
"""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from ..errors import ModelFileError
from ..onnx_check import OnnxModel, read_model
from ..onnx_check.protobuf import LENGTH, Field, fields
from .metadata import METADATA_KEY

__all__ = ["onnx_digest", "onnx_graph", "onnx_properties"]

_METADATA_PROPS = 14
_KEY, _VALUE = 1, 2
_MOST_BYTES = 1 << 25
"""Of all properties together."""


def onnx_properties(path: Path) -> dict[str, str]:
    """The file's `metadata_props`. Raises ModelFileError for what is not one readable message, and OSError."""
    with _opened(path) as data:
        found: dict[str, str] = {}
        entries = list(_entries(data))
        if sum(entry.end - entry.start for entry in entries) > _MOST_BYTES:
            raise ValueError(f"its properties take more than {_MOST_BYTES:,} bytes")
        for entry in entries:
            key, value = _text(data, entry, _KEY), _text(data, entry, _VALUE)
            if key in found:
                raise ValueError(f"its property {key!r:.80} is there twice")
            found[key] = value
        return found


def onnx_digest(path: Path) -> str:
    """64 hex digits, see above. Raises what `onnx_properties` does."""
    state = path.stat()
    return _digest(path, (state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns))


@lru_cache(maxsize=64)
def _digest(path: Path, state: tuple[int, ...]) -> str:
    """Of the file as it was in `state`: choosing a backend opens a file many times."""
    with _opened(path) as data:
        hashed = hashlib.blake2b(digest_size=32)
        position = 0
        with memoryview(data) as view:
            for entry in _entries(data):
                if _text(data, entry, _KEY) == METADATA_KEY:
                    hashed.update(view[position : entry.tag])
                    position = entry.end
            hashed.update(view[position:])
        return hashed.hexdigest()


def onnx_graph(path: Path) -> OnnxModel:
    """The file's graph. Raises what `onnx_properties` does, also for graphs of a kind that we never write."""
    with _opened(path) as data:
        return read_model(data)


@contextmanager
def _opened(path: Path) -> Iterator[mmap.mmap]:
    """The file's bytes; a ValueError over them becomes a ModelFileError."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            yield data
        except ValueError as error:
            raise ModelFileError(f"{path}: not a readable ONNX model ({error}); copy or export it again") from error


def _entries(data: mmap.mmap) -> Iterator[Field]:
    return (found for found in fields(data) if found.number == _METADATA_PROPS and found.wire_type == LENGTH)


def _text(data: mmap.mmap, entry: Field, number: int) -> str:
    found = [field for field in fields(data, entry.start, entry.end) if field.number == number]
    return data[found[-1].start : found[-1].end].decode() if found else ""
