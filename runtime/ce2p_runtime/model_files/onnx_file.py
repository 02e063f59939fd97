"""An ONNX file as a file: its properties, its metadata, its digest and its graph, without any ONNX library.

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
from ..media.sniff import sniff_file
from ..onnx_check import OnnxModel, check_graph, read_model
from ..onnx_check.protobuf import LENGTH, Field, fields
from .engine_file import ENGINE_SUFFIXES
from .metadata import METADATA_KEY, ModelMetadata

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


def exported_metadata(path: Path) -> ModelMetadata:
    """What an exported ONNX file says about itself; its network is not looked at. Raises ModelFileError."""
    _check_kind(path)
    with _readable(path):
        properties = onnx_properties(path)
    if METADATA_KEY not in properties:
        raise ModelFileError(
            f"{path}: an ONNX model without ce2p metadata, so its classes, colours and geometry are unknown; "
            "export it from its checkpoint with `ce2p export`"
        )
    return ModelMetadata.from_json(properties[METADATA_KEY], str(path))


def checked_metadata(path: Path) -> ModelMetadata:
    """The metadata of an ONNX file that may be handed to a library: whole, and a graph that is what it says.

    Files from before digests load, too. Raises ModelFileError.
    """
    metadata = exported_metadata(path)
    try:
        with _readable(path):
            if metadata.digest and metadata.digest != onnx_digest(path):
                raise ModelFileError(
                    f"{path}: is not as it was exported, since its digest is another than in its metadata: damaged "
                    "or changed; copy or export it again"
                )
            check_graph(onnx_graph(path), metadata)
    except ValueError as error:
        raise ModelFileError(f"{path}: not a network that `ce2p export` wrote ({error}); export it again") from error
    return metadata


@contextmanager
def _opened(path: Path) -> Iterator[mmap.mmap]:
    """The file's bytes; a ValueError over them becomes a ModelFileError."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            yield data
        except ValueError as error:
            raise ModelFileError(f"{path}: not a readable ONNX model ({error}); copy or export it again") from error


def _check_kind(path: Path) -> None:
    """Refuse what is no ONNX file before a library stumbles over it. Raises ModelFileError."""
    if path.suffix in ENGINE_SUFFIXES:
        raise ModelFileError(f"{path}: a TensorRT engine, expected an ONNX model; use --backend tensorrt for it")
    if path.is_dir() or not path.exists():
        found = "a folder" if path.is_dir() else "no such file"
        raise ModelFileError(f"{path}: {found}, expected an .onnx file made by `ce2p export`")
    if path.stat().st_size == 0:
        raise ModelFileError(f"{path}: is empty (0 bytes), expected an ONNX model; copy or export it again")
    if path.suffix in {".pth", ".pt", ".tar", ".safetensors"}:
        raise ModelFileError(f"{path}: a checkpoint, expected an ONNX model; run `ce2p export {path}` first")
    found_kind = sniff_file(path)
    if found_kind.kind != "other" or not found_kind.name.startswith("unknown"):
        raise ModelFileError(f"{path}: is {found_kind.name}, expected an ONNX model made by `ce2p export`")


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error


def _entries(data: mmap.mmap) -> Iterator[Field]:
    return (found for found in fields(data) if found.number == _METADATA_PROPS and found.wire_type == LENGTH)


def _text(data: mmap.mmap, entry: Field, number: int) -> str:
    found = [field for field in fields(data, entry.start, entry.end) if field.number == number]
    return data[found[-1].start : found[-1].end].decode() if found else ""
