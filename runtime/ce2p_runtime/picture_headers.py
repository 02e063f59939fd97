"""Size and completeness of picture files, read from their structure before any pixel is decoded.

A 190 kB PNG can unfold to 14000x14000 pixels, and OpenCV up to 4.x returns gray filling for the missing part
of a cut JPEG without a word. So the size is known and the end is found before the decoder is started.
"""

from __future__ import annotations

import re
import struct
import zlib

__all__ = ["missing_part", "picture_size"]

# Not `\xff+`: on a long run of fill bytes that is quadratic, and the last 0xff of a run is enough.
_JPEG_MARKER = re.compile(rb"\xff([^\x00\xff])", re.DOTALL)


def picture_size(data: bytes) -> tuple[int, int] | None:
    """(height, width) in pixels that a PNG, JPEG, WebP, BMP, GIF or TIFF header announces; else None.

    Sizes are as stored: EXIF orientation is not applied.
    """
    try:
        if data.startswith(b"\x89PNG"):
            width, height = struct.unpack_from(">II", data, 16)
        elif data.startswith(b"\xff\xd8"):
            return _jpeg_size(data)
        elif data.startswith(b"GIF8"):
            width, height = struct.unpack_from("<HH", data, 6)
        elif data.startswith(b"BM"):
            core = struct.unpack_from("<I", data, 14)[0] == 12
            width, height = struct.unpack_from("<HH" if core else "<ii", data, 18)
        elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return _webp_size(data)
        elif data[:4] in (b"II*\0", b"MM\0*"):
            return _tiff_size(data)
        else:
            return None
    except (struct.error, IndexError):
        return None
    return abs(height), abs(width)  # a negative height of a BMP means rows from the top


def missing_part(data: bytes) -> str | None:
    """What shows that a picture is cut short or damaged, as a clause for a message; None when nothing does.

    Looks at JPEG (end marker), PNG (end chunk, checksums of the chunks that matter), WebP (announced length)
    and GIF (end byte). For the others the decoder itself notices.
    """
    if data.startswith(b"\xff\xd8"):
        return None if _jpeg_ends(data) else "its end marker is missing"
    if data.startswith(b"\x89PNG"):
        return _png_fault(data)
    if data[:4] == b"RIFF" and len(data) >= 8:
        announced = struct.unpack_from("<I", data, 4)[0] + 8
        # The last chunk may lack its padding byte.
        return f"it announces {announced} bytes and has {len(data)}" if announced > len(data) + 1 else None
    if data.startswith(b"GIF8"):
        return None if data.rstrip(b"\0").endswith(b";") else "its end byte is missing"
    return None


def _jpeg_segments(data: bytes, position: int) -> tuple[int, int, int] | None:
    """(marker, offset of its length field, offset after its segment) of the next marker."""
    found = _JPEG_MARKER.search(data, position)
    if found is None:
        return None
    marker, start = found[1][0], found.end()
    if marker == 0x01 or 0xD0 <= marker <= 0xD9:  # these stand alone
        return marker, start, start
    if start + 2 > len(data):
        return None
    return marker, start, start + struct.unpack_from(">H", data, start)[0]


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    position = 2
    while (segment := _jpeg_segments(data, position)) is not None:
        marker, start, position = segment
        if 0xC0 <= marker <= 0xCF and marker not in (
            0xC4,
            0xC8,
            0xCC,
        ):  # a start of frame; the others are tables
            height, width = struct.unpack_from(">HH", data, start + 3)
            return height, width
        if marker in (0xD9, 0xDA):
            return None
    return None


def _jpeg_ends(data: bytes) -> bool:
    """Whether the end marker is there. Segments are stepped over: a thumbnail inside one has an end too."""
    position = 2
    while (segment := _jpeg_segments(data, position)) is not None:
        marker, _, position = segment
        if marker == 0xD9:
            return True
    return False


def _png_fault(data: bytes) -> str | None:
    position = 8
    while position + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        if end > len(data):
            break
        if kind[:1].isupper():  # critical chunks; decoders step over damage in the others
            if zlib.crc32(data[position + 4 : end - 4]) != struct.unpack_from(">I", data, end - 4)[0]:
                return f"the checksum of its {kind.decode('latin-1')} chunk at byte {position} is wrong"
            if kind == b"IEND":
                return None
        position = end
    return "its end chunk is missing"


def _webp_size(data: bytes) -> tuple[int, int] | None:
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[27:30], "little"), 1 + int.from_bytes(data[24:27], "little")
    if kind == b"VP8L":
        bits = struct.unpack_from("<I", data, 21)[0]
        return 1 + (bits >> 14 & 0x3FFF), 1 + (bits & 0x3FFF)
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return height & 0x3FFF, width & 0x3FFF
    return None


def _tiff_size(data: bytes) -> tuple[int, int] | None:
    order = "<" if data[:2] == b"II" else ">"
    (directory,) = struct.unpack_from(order + "I", data, 4)
    (entries,) = struct.unpack_from(order + "H", data, directory)
    found: dict[int, int] = {}
    for index in range(entries):
        tag, kind = struct.unpack_from(order + "HH", data, directory + 2 + 12 * index)
        if tag in (256, 257) and kind in (3, 4):  # width and height, as SHORT or LONG
            (found[tag],) = struct.unpack_from(order + ("H" if kind == 3 else "I"), data, directory + 10 + 12 * index)
    return (found[257], found[256]) if len(found) == 2 else None
