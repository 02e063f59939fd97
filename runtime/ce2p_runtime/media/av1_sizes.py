"""The sizes that AV1 data announces: what a decoder makes room for, whatever the file around it says."""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["announced_sizes"]

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
            yield _size_of(_Bits(data[position : position + length]))
        position += length


class _Bits:
    """Reads numbers bit by bit, the highest first."""

    def __init__(self, data: bytes) -> None:
        self._value, self._left = int.from_bytes(data, "big"), 8 * len(data)

    def read(self, count: int) -> int:
        if count > self._left:
            raise ValueError("its AV1 header is cut short")
        self._left -= count
        return self._value >> self._left & (1 << count) - 1


def _leb128(data: bytes, position: int) -> tuple[int, int]:
    """A number of seven bits per byte, the lowest first, and the position after it."""
    value = 0
    for index, byte in enumerate(data[position : position + 8]):
        value |= (byte & 127) << 7 * index
        if byte < 128:
            return value, position + index + 1
    raise ValueError("its AV1 data is cut short")


def _size_of(bits: _Bits) -> tuple[int, int]:
    """AV1's sequence_header_obu up to the largest size of a frame."""
    bits.read(3 + 1)  # profile, still picture
    if bits.read(1):  # the short form of still pictures
        bits.read(5)
    else:
        if bits.read(1):
            raise ValueError("its AV1 header has timing, as video has")
        delay = bits.read(1)
        for _ in range(bits.read(5) + 1):  # operating points
            bits.read(12)
            if bits.read(5) > 7:
                bits.read(1)
            if delay and bits.read(1):
                bits.read(4)
    width_bits, height_bits = bits.read(4) + 1, bits.read(4) + 1
    width, height = bits.read(width_bits) + 1, bits.read(height_bits) + 1
    return height, width
