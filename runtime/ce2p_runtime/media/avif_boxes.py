"""The still picture that an AVIF file announces: its size, how it is to be turned, and what its data really asks for.

AVIF keeps everything in boxes (length, name, content) inside boxes. `meta` names the primary item (`pitm`), lists items
(`iinf`) with their places (`iloc`), lists properties (`iprp/ipco`) and says which belong to which item (`iprp/ipma`).
OpenCV leaves turning to others, and decodes data of any size before it scales the result to the announced one: two
kilobytes that call themselves 100 x 100 pixels can take a gigabyte. So the sizes inside the data are looked at.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from .av1_sizes import announced_sizes

Boxes = dict[bytes, tuple[int, int]]
"""Start and end of the content of boxes, by name."""

_ORIENTATIONS = {
    (0, None): 1,
    (0, 1): 2,
    (2, None): 3,
    (0, 0): 4,
    (1, 0): 5,
    (3, None): 6,
    (3, 0): 7,
    (1, None): 8,
    (2, 0): 2,
    (2, 1): 4,
    (3, 1): 5,
    (1, 1): 7,
}
"""EXIF's numbers for quarter turns counter-clockwise (`irot`), then a mirror (`imir`: 0 top to bottom, 1 sideways)."""

_ROOM = 3, 2**20
"""Pixels that all data may announce: so many times those of the picture (opacity and tiles), and so many more."""


@dataclass(frozen=True)
class AvifPicture:
    """The primary item of an AVIF file."""

    height: int
    """As stored, before it is turned."""
    width: int
    orientation: int
    """EXIF's number."""
    transparent: bool
    cropped: bool
    """Whether the file asks for a part of the picture only (`clap`)."""

    @classmethod
    def read(cls, data: bytes) -> AvifPicture:
        """Raises ValueError, with a clause for a message, for what cannot be followed or asks for more than it says."""
        try:
            top = dict(_boxes(data, 0, len(data)))
            if b"moov" in top:
                raise ValueError("it is an animation, expected a still picture")
            start, end = top[b"meta"]
            meta = dict(_boxes(data, start + 4, end))
            properties = _primary_properties(data, meta)
            width, height = struct.unpack_from(">II", data, properties[b"ispe"][0] + 4)
            turn = data[properties[b"irot"][0]] & 3 if b"irot" in properties else 0
            mirror = data[properties[b"imir"][0]] & 1 if b"imir" in properties else None
            _check_room(data, meta, height * width)
        except (KeyError, IndexError, struct.error):
            raise ValueError("its boxes do not say where its picture is and how large") from None
        transparent = b":auxiliary:alpha\0" in data[start:end]
        return cls(height, width, _ORIENTATIONS[turn, mirror], transparent, b"clap" in properties)


def _boxes(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, tuple[int, int]]]:
    """Name of each box with start and end of its content. Raises ValueError for boxes that reach beyond `end`."""
    while start < end:
        length, name = struct.unpack_from(">I4s", data, start)
        content = start + 8
        if length == 1:
            (length,) = struct.unpack_from(">Q", data, content)
            content += 8
        after = end if length == 0 else start + length
        if not content <= after <= end:
            raise ValueError(f"its {name.decode('latin-1')!r} box at byte {start} reaches to byte {after} of {end}")
        yield name, (content, after)
        start = after


def _primary_properties(data: bytes, meta: Boxes) -> Boxes:
    start, _ = meta[b"pitm"]
    (primary,) = struct.unpack_from(">I" if data[start] else ">H", data, start + 4)
    iprp = dict(_boxes(data, *meta[b"iprp"]))
    listed = list(_boxes(data, *iprp[b"ipco"]))
    return dict(listed[index - 1] for index in _associated(data, iprp[b"ipma"][0], primary) if 0 < index <= len(listed))


def _associated(data: bytes, start: int, wanted: int) -> list[int]:
    """Which properties, counted from 1, belong to an item, by the `ipma` box whose content is at `start`."""
    long_items, long_indices = data[start] > 0, data[start + 3] & 1
    (entries,) = struct.unpack_from(">I", data, start + 4)
    place = start + 8
    for _ in range(entries):
        (item,) = struct.unpack_from(">I" if long_items else ">H", data, place)
        place += 4 if long_items else 2
        count, place = data[place], place + 1
        width, mask = (2, 0x7FFF) if long_indices else (1, 0x7F)
        if item == wanted:
            pieces = [data[at : at + width] for at in range(place, place + count * width, width)]
            return [int.from_bytes(piece, "big") & mask for piece in pieces]
        place += count * width
    return []


def _check_room(data: bytes, meta: Boxes, pixels: int) -> None:
    """Raises ValueError where the AV1 data of all items together announces far more pixels than the picture has."""
    kinds = _item_kinds(data, *meta[b"iinf"])
    announced = 0
    for item, stored in _item_data(data, meta):
        if kinds.get(item) == b"av01":
            announced += sum(height * width for height, width in announced_sizes(stored))
    if not 0 < announced <= pixels * _ROOM[0] + _ROOM[1]:
        raise ValueError(f"it announces {pixels} pixels and its data {announced}")


def _item_kinds(data: bytes, start: int, end: int) -> dict[int, bytes]:
    kinds = {}
    for name, (content, _) in _boxes(data, start + (8 if data[start] else 6), end):
        if name == b"infe":
            item, _, kind = struct.unpack_from(">HH4s" if data[content] < 3 else ">IH4s", data, content + 4)
            kinds[item] = kind
    return kinds


def _item_data(data: bytes, meta: Boxes) -> Iterator[tuple[int, bytes]]:
    """Number and bytes of each item, by the `iloc` box."""
    place, _ = meta[b"iloc"]
    version = data[place]
    sizes = [data[place + 4] >> 4, data[place + 4] & 15, data[place + 5] >> 4, data[place + 5] & 15]
    offset_bytes, length_bytes, base_bytes, index_bytes = sizes if version else (*sizes[:3], 0)
    place += 6

    def number(count: int) -> int:
        nonlocal place
        place += count
        if place > len(data):
            raise IndexError
        return int.from_bytes(data[place - count : place], "big")

    total = 0
    for _ in range(number(4 if version == 2 else 2)):
        item = number(4 if version == 2 else 2)
        in_meta = number(2) & 15 == 1 if version else False
        number(2)  # which file: this one
        base = number(base_bytes) + (meta[b"idat"][0] if in_meta else 0)
        pieces = []
        for _ in range(number(2)):
            number(index_bytes)
            start = base + number(offset_bytes)
            length = number(length_bytes)
            if start + length > len(data):
                raise ValueError(f"its pixels reach to byte {start + length}, it has {len(data)}")
            piece = data[start : start + length] if length else data[start:]
            total += len(piece)
            if total > len(data):  # a small file could name its bytes a thousand times
                raise ValueError("its items lie in the same bytes")
            pieces.append(piece)
        yield item, b"".join(pieces)
