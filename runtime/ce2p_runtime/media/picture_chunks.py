"""The pieces that JPEG, PNG, WebP and GIF files consist of, by their lengths. Nothing is decoded."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

# Not `\xff+`: on a long run of fill bytes that is quadratic, and the last 0xff of a run is enough.
_JPEG_MARKER = re.compile(rb"\xff([^\x00\xff])", re.DOTALL)


def jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end of the content of each segment, as far as they can be followed.

    What is stepped over is not looked into: a thumbnail inside a segment has markers, too.
    """
    position = 2
    while (found := _JPEG_MARKER.search(data, position)) is not None:
        marker, start = found[1][0], found.end()
        if marker == 0x01 or 0xD0 <= marker <= 0xD9:  # these stand alone
            position = start
            yield marker, start, start
        elif start + 2 > len(data):
            return
        else:
            position = start + struct.unpack_from(">H", data, start)[0]
            yield marker, start + 2, position


def png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and end of the content of each whole chunk; four bytes of checksum follow each."""
    position = 8
    while position + 12 <= len(data):
        length, name = struct.unpack_from(">I4s", data, position)
        start, end = position + 8, position + 8 + length
        if end + 4 > len(data):
            return
        yield name, start, end
        position = end + 4


def webp_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and end of the content of each chunk. Raises ValueError for one that does not fit into the file."""
    end_of_all = min(len(data), struct.unpack_from("<I", data, 4)[0] + 8)
    position = 12
    while position + 8 <= end_of_all:
        name, length = struct.unpack_from("<4sI", data, position)
        start, end = position + 8, position + 8 + length
        if end > end_of_all:
            raise ValueError(f"its {name.decode('latin-1')!r} chunk reaches to byte {end} of {end_of_all}")
        yield name, start, end
        position = end + length % 2


@dataclass(frozen=True)
class GifImages:
    """What the blocks of a GIF file are."""

    count: int
    transparent: bool
    """Whether the first picture has a transparent colour."""


def gif_images(data: bytes) -> GifImages:
    """Follow the blocks of a GIF file to its end. Raises ValueError where that cannot be done."""
    count, transparent = 0, False
    try:
        position = 13 + _colours(data[10])
        while (kind := data[position]) != 0x3B:
            if kind == 0x21:  # an extension; 0xf9 says how the next picture is shown
                if data[position + 1] == 0xF9 and count == 0:
                    transparent = bool(data[position + 3] & 1)
                position = _after_sub_blocks(data, position + 2)
            elif kind == 0x2C:
                count += 1
                position = _after_sub_blocks(data, position + 11 + _colours(data[position + 9]))
            else:
                raise ValueError(f"no block begins at byte {position}, where one is due")
    except IndexError:
        raise ValueError("its end byte is missing") from None
    return GifImages(count, transparent)


def _colours(flags: int) -> int:
    """Bytes of the colour table that `flags` announce."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _after_sub_blocks(data: bytes, position: int) -> int:
    while (length := data[position]) != 0:
        position += length + 1
    return position + 1
