"""The sizes that AV1 data announces: what a decoder makes room for, whatever the file around it says."""

from __future__ import annotations

from collections.abc import Iterator

from .bits import Bits

_SEQUENCE_HEADER = 1
_MOST = 4096
"""Pieces (OBUs) of one item; a still picture has three, or one more for each of its tiles."""


def announced_sizes(data: bytes) -> Iterator[tuple[int, int]]:
    """(height, width) in pixels of each sequence header in a still picture's AV1 data.

    Raises ValueError, with a clause for a message, for data that cannot be followed, and for timing, which only video
    has.
    """
    position = pieces = 0
    while position < len(data):
        pieces += 1
        if pieces > _MOST:
            raise ValueError(f"its AV1 data has more than {_MOST} pieces, as video has")
        head = data[position]
        kind, extension, sized = head >> 3 & 15, head >> 2 & 1, head >> 1 & 1
        position += 1 + extension
        length = len(data) - position
        if sized:
            length, position = _leb128(data, position)
        if position + length > len(data):
            raise ValueError("its AV1 data is cut short")
        if kind == _SEQUENCE_HEADER:
            try:
                yield _size_of(Bits(data[position : position + length]))
            except IndexError:
                raise ValueError("its AV1 header is cut short") from None
        position += length


def _leb128(data: bytes, position: int) -> tuple[int, int]:
    """A number of seven bits per byte, the lowest first, and the position after it."""
    value = 0
    for index, byte in enumerate(data[position : position + 8]):
        value |= (byte & 127) << 7 * index
        if byte < 128:
            return value, position + index + 1
    raise ValueError("its AV1 data is cut short")


def _size_of(bits: Bits) -> tuple[int, int]:
    """AV1's sequence_header_obu up to the largest size of a frame."""
    bits.take(3 + 1)  # profile, still picture
    if bits.take(1):  # the short form of still pictures
        bits.take(5)
    else:
        if bits.take(1):
            raise ValueError("its AV1 header has timing, as video has")
        delay = bits.take(1)
        for _ in range(bits.take(5) + 1):  # operating points
            bits.take(12)
            if bits.take(5) > 7:
                bits.take(1)
            if delay and bits.take(1):
                bits.take(4)
    width_bits, height_bits = bits.take(4) + 1, bits.take(4) + 1
    width, height = bits.take(width_bits) + 1, bits.take(height_bits) + 1
    return height, width
