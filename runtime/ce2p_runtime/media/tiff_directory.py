"""Directories of tags: what TIFF pictures and EXIF blocks are made of.

Decoders disagree about damaged directories: of a tag that is given twice libtiff takes the first and others the last,
so that the size that was checked is not the size that is decoded. `TiffPage.read` therefore refuses what could be read
in two ways, before any decoder sees it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _ORIENTATION = 256, 257, 258, 259, 274
_STRIPS, _STRIP_BYTES, _TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_BYTES = 273, 279, 322, 323, 324, 325
_SUBFILE, _EXTRA_SAMPLES, _JPEG_TABLES, _DNG_VERSION = 254, 338, 347, 50706

_KIND_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_INTEGERS = {1: "B", 3: "H", 4: "I"}
_REDUCED = 1
_MAX_TILE = 4096 * 4096
"""Pixels of a tile, which decoders allocate whole whatever the size of the picture; usual ones have 256 x 256."""


class DirectoryError(ValueError):
    """What is wrong with a directory, as a clause for a message."""


@dataclass(frozen=True)
class _Entry:
    tag: int
    kind: int
    count: int
    start: int
    """Offset of the values in the data."""


@dataclass(frozen=True)
class TiffPage:
    """The first page of a TIFF file."""

    height: int
    width: int
    compression: int
    turned: bool
    """Whether the decoder, which applies the orientation, swaps height and width."""
    transparent: bool
    premultiplied: bool
    """Whether colours come multiplied by their opacity: stored so, or of 8 bits, of which libtiff makes that."""
    jpeg_tables: bytes
    parts: tuple[tuple[int, int], ...]
    """Start and end of each strip or tile in the file."""
    largest_part: int
    """Pixels that a strip or tile has at most."""

    @classmethod
    def read(cls, data: bytes) -> TiffPage:
        """Raises DirectoryError for a directory that decoders may read in different ways, or that names what is not
        in the file.
        """
        order, directory = _head(data)
        entries: dict[int, _Entry] = {}
        previous = -1
        for entry in _entries(data, order, directory):
            if entry.tag <= previous:
                twice = "twice" if entry.tag in entries else "out of order"
                raise DirectoryError(f"its directory names tag {entry.tag} {twice}, which decoders read differently")
            if entry.start + entry.count * _KIND_BYTES.get(entry.kind, 0) > len(data):
                raise DirectoryError(f"the value of its tag {entry.tag} lies beyond its end")
            entries[entry.tag], previous = entry, entry.tag

        def values(tag: int, missing: tuple[int, ...] = ()) -> tuple[int, ...]:
            return _integers(data, order, entries[tag]) if tag in entries else missing

        def value(tag: int, missing: int) -> int:
            found = values(tag, (missing,))
            if len(found) != 1:
                raise DirectoryError(f"its tag {tag} has {len(found)} values, expected one")
            return found[0]

        if value(_SUBFILE, 0) & _REDUCED or _DNG_VERSION in entries:
            raise DirectoryError("its first page is only a preview, as in raw files of cameras")
        height, width = value(_HEIGHT, 0), value(_WIDTH, 0)
        tile = value(_TILE_WIDTH, 0) * value(_TILE_HEIGHT, 0)
        if tile > _MAX_TILE:
            raise DirectoryError(f"its tiles have more than {_MAX_TILE} pixels")
        extra = values(_EXTRA_SAMPLES)[:1]
        return cls(
            height=height,
            width=width,
            compression=value(_COMPRESSION, 1),
            turned=value(_ORIENTATION, 1) >= 5,
            transparent=extra in ((1,), (2,)),
            premultiplied=extra == (1,) or values(_BITS)[:1] == (8,),
            jpeg_tables=bytes(values(_JPEG_TABLES)),
            parts=_parts(values(_STRIPS, values(_TILES)), values(_STRIP_BYTES, values(_TILE_BYTES)), len(data)),
            largest_part=tile or height * width,
        )


def page_count(data: bytes) -> int:
    """Pages of a TIFF file, as far as their directories can be followed; at least 1."""
    order, directory = _head(data)
    seen: set[int] = set()
    while directory and directory not in seen and directory + 2 <= len(data):
        seen.add(directory)
        (entries,) = struct.unpack_from(order + "H", data, directory)
        after = directory + 2 + 12 * entries
        if after + 4 > len(data):
            break
        (directory,) = struct.unpack_from(order + "I", data, after)
    return max(1, len(seen))


def stored_orientation(block: bytes) -> int:
    """The orientation, 1 to 8, that an EXIF block (without its "Exif" prefix) asks for; 1 where it says none.

    Read leniently, since what cameras and editors write is often unordered: the first entry counts, as in OpenCV.
    """
    try:
        order, directory = _head(block)
        for entry in _entries(block, order, directory):
            if entry.tag == _ORIENTATION:
                found = _integers(block, order, entry)[:1]
                return found[0] if found and 1 <= found[0] <= 8 else 1
    except (DirectoryError, struct.error):
        pass
    return 1


def _head(data: bytes) -> tuple[str, int]:
    """Byte order as `struct` names it, and the offset of the first directory."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4])
    if order is None or len(data) < 8:
        raise DirectoryError("it does not start as TIFF data does")
    (directory,) = struct.unpack_from(order + "I", data, 4)
    return order, directory


def _entries(data: bytes, order: str, directory: int) -> Iterator[_Entry]:
    if directory + 2 > len(data):
        raise DirectoryError("its directory lies beyond its end")
    (count,) = struct.unpack_from(order + "H", data, directory)
    for place in range(directory + 2, directory + 2 + 12 * count, 12):
        if place + 12 > len(data):
            raise DirectoryError("its directory is cut short")
        tag, kind, values = struct.unpack_from(order + "HHI", data, place)
        inside = values * _KIND_BYTES.get(kind, 0) <= 4
        yield _Entry(tag, kind, values, place + 8 if inside else struct.unpack_from(order + "I", data, place + 8)[0])


def _integers(data: bytes, order: str, entry: _Entry) -> tuple[int, ...]:
    """The values of an entry of bytes, shorts or longs."""
    if entry.kind == 7:  # "undefined" means bytes
        return tuple(data[entry.start : entry.start + entry.count])
    if entry.kind not in _INTEGERS:
        raise DirectoryError(f"its tag {entry.tag} is of type {entry.kind}, expected a whole number")
    return struct.unpack_from(f"{order}{entry.count}{_INTEGERS[entry.kind]}", data, entry.start)


def _parts(starts: tuple[int, ...], lengths: tuple[int, ...], end: int) -> tuple[tuple[int, int], ...]:
    if not starts or len(starts) != len(lengths):
        raise DirectoryError(f"it lists {len(starts)} pieces of pixels and {len(lengths)} lengths of them")
    parts = tuple((start, start + length) for start, length in zip(starts, lengths, strict=True))
    for part in parts:
        if part[1] > end:
            raise DirectoryError(f"its pixels reach to byte {part[1]}, it has {end}")
    return parts
