"""The properties of an ONNX file, read without any ONNX library and without reading its weights.

An ONNX file is one protobuf message `ModelProto` (onnx.proto): each field has a tag, `number << 3 | wire type`, and
those of wire type 2 a length. The properties are the entries of field 14, `metadata_props`, with key and value as their
fields 1 and 2. All other fields are stepped over, the graph with its weights included.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

from .errors import ModelFileError

__all__ = ["onnx_properties"]

_METADATA_PROPS = 14
_KEY, _VALUE = 1, 2
_FIXED_LENGTHS = {1: 8, 5: 4}
"""Wire type -> bytes."""


def onnx_properties(path: Path) -> dict[str, str]:
    """The file's `metadata_props`. Raises ModelFileError for what is not one readable message, and OSError."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            entries = [dict(_fields(value)) for number, value in _fields(data) if number == _METADATA_PROPS]
            return {entry.get(_KEY, b"").decode(): entry.get(_VALUE, b"").decode() for entry in entries}
        except ValueError as error:
            raise ModelFileError(f"{path}: not a readable ONNX model ({error}); copy or export it again") from error


def _fields(data: mmap.mmap | bytes) -> Iterator[tuple[int, bytes]]:
    """(number, bytes) of the fields with a length; the bytes of a field that is not read here are left out."""
    position, end = 0, len(data)
    while position < end:
        tag, position = _varint(data, position)
        number, wire_type = tag >> 3, tag & 7
        if wire_type == 0:
            _, position = _varint(data, position)
            continue
        if wire_type == 2:
            length, position = _varint(data, position)
        elif wire_type in _FIXED_LENGTHS:
            length = _FIXED_LENGTHS[wire_type]
        else:
            raise ValueError(f"wire type {wire_type} at byte {position}")
        if position + length > end:
            raise ValueError(f"it ends at byte {end}, within a field")
        if wire_type == 2 and number in (_METADATA_PROPS, _KEY, _VALUE):
            yield number, data[position : position + length]
        position += length


def _varint(data: mmap.mmap | bytes, position: int) -> tuple[int, int]:
    """A number of 7 bits per byte, lowest first, and where it ends."""
    value = shift = 0
    while True:
        if position >= len(data):
            raise ValueError(f"it ends at byte {len(data)}, within a number")
        byte = data[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
        shift += 7
        if shift > 63:
            raise ValueError(f"a number too long at byte {position}")
