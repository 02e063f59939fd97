"""Protobuf's wire format, read by hand: the fields of a message, one after the other, without a schema.

A message is a run of fields. Each begins with a tag, `number << 3 | wire type`; a value follows: a varint (7 bits per
byte, lowest first), 4 or 8 fixed bytes, or a length and as many bytes (text, a message within the message, packed
numbers). See https://protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from typing import NamedTuple

Buffer = bytes | mmap.mmap
VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
"""Wire types."""
_FIXED_LENGTHS = {FIXED64: 8, FIXED32: 4}
"""In bytes."""
_MOST_FIELDS = 1 << 18
"""Of one message, a quarter of a second's reading. A graph has one for each node and each stored tensor."""


class Field(NamedTuple):
    """One field of a message in `data`."""

    number: int
    wire_type: int
    tag: int
    """Where it begins: position of its tag."""
    start: int
    end: int
    """Its value is `data[start:end]`."""
    value: int
    """Of a varint; 0 for the others, whose bytes are left where they are."""


def fields(data: Buffer, start: int = 0, end: int | None = None) -> Iterator[Field]:
    """The fields of the message in `data[start:end]`; those within its fields are for another call.

    Raises ValueError where the bytes are no message.
    """
    position, end, count = start, len(data) if end is None else end, 0
    while position < end:
        count += 1
        if count > _MOST_FIELDS:
            raise ValueError(f"more than {_MOST_FIELDS:,} fields in one message")
        tag, after = _varint(data, position, end)
        value, begin, wire_type = 0, after, tag & 7
        if wire_type == VARINT:
            value, stop = _varint(data, begin, end)
        elif wire_type == LENGTH:
            length, begin = _varint(data, begin, end)
            stop = begin + length
        elif wire_type in _FIXED_LENGTHS:
            stop = begin + _FIXED_LENGTHS[wire_type]
        else:
            raise ValueError(f"wire type {wire_type} at byte {position}")
        if stop > end:
            raise ValueError(f"it ends at byte {end}, within a field")
        yield Field(tag >> 3, wire_type, position, begin, stop, value=value)
        position = stop


def packed(data: Buffer, start: int, end: int) -> Iterator[int]:
    """The integers of a packed field, in `data[start:end]`. Raises ValueError where they are none."""
    position = start
    while position < end:
        value, position = _varint(data, position, end)
        yield signed(value)


def signed(value: int) -> int:
    """A varint as the int64 it stands for: negative numbers are written as 64 bits of two's complement."""
    return value - (1 << 64) if value >> 63 else value


def _varint(data: Buffer, position: int, end: int) -> tuple[int, int]:
    """A number of at most 64 bits, and where it ends."""
    value = shift = 0
    while True:
        if position >= end:
            raise ValueError(f"it ends at byte {end}, within a number")
        byte = data[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value & 0xFFFF_FFFF_FFFF_FFFF, position
        shift += 7
        if shift > 63:
            raise ValueError(f"a number too long at byte {position}")
