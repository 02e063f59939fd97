"""Size and completeness of picture files, read from their structure before any pixel is decoded.

A 190 kB PNG can unfold to 14000x14000 pixels, and OpenCV up to 4.x returns gray filling for the missing part
of a cut JPEG without a word. So the size is known and the end is found before a decoder is started.
"""

from __future__ import annotations

import struct
import zlib

from .avif_boxes import AvifPicture
from .picture_chunks import gif_images, jpeg_segments, png_chunks, webp_chunks
from .tiff_directory import TiffPage

MAX_JPEG_SCANS = 100
"""A progressive JPEG is decoded once over for each of its scans, so that 400 kB can cost minutes. Encoders write 10
(libjpeg's script) to about 20; 100 of them over the largest picture that is read cost some seconds.
"""

_TIFF = (b"II*\0", b"MM\0*")


def picture_size(data: bytes) -> tuple[int, int] | None:
    """(height, width) in pixels that a PNG, JPEG, WebP, AVIF, BMP, GIF or TIFF header announces; else None.

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
        elif data[:4] in _TIFF:
            page = TiffPage.read(data)
            height, width = page.height, page.width
        elif data[4:8] == b"ftyp":
            avif = AvifPicture.read(data)
            height, width = avif.height, avif.width
        else:
            return None
    except (struct.error, IndexError, ValueError):
        return None
    return abs(height), abs(width)  # a negative height of a BMP means rows from the top


def missing_part(data: bytes) -> str | None:
    """What shows that a picture is cut short or damaged, as a clause for a message; None when nothing does.

    Looks at JPEG (end marker, number of scans), PNG (end chunk, checksums of the chunks that matter), WebP (announced
    length, chunks), GIF (blocks up to the end), TIFF (directory, place of the pixels) and AVIF (boxes, sizes inside its
    data). Nothing is decoded.
    """
    try:
        if data.startswith(b"\xff\xd8"):
            return _jpeg_fault(data)
        if data.startswith(b"\x89PNG"):
            return _png_fault(data)
        if data[:4] == b"RIFF" and len(data) >= 8:
            return _webp_fault(data)
        if data.startswith(b"GIF8"):
            gif_images(data)
        if data[:4] in _TIFF:
            TiffPage.read(data)
        if data[4:8] == b"ftyp":
            AvifPicture.read(data)
    except ValueError as fault:
        return str(fault)
    return None


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    for marker, start, _ in jpeg_segments(data):
        # A start of frame; the other three are tables.
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", data, start + 1)
            return height, width
        if marker in (0xD9, 0xDA):
            return None
    return None


def _jpeg_fault(data: bytes) -> str | None:
    scans = 0
    for marker, _, _ in jpeg_segments(data):
        if marker == 0xD9:
            return None
        scans += marker == 0xDA
        if scans > MAX_JPEG_SCANS:
            return f"it has more than {MAX_JPEG_SCANS} scans, expected 1 to about 20"
    return "its end marker is missing"


def _png_fault(data: bytes) -> str | None:
    view = memoryview(data)  # one chunk may be the whole file
    for name, start, end in png_chunks(data):
        if name[:1].isupper():  # critical chunks; decoders step over damage in the others
            if zlib.crc32(view[start - 4 : end]) != struct.unpack_from(">I", data, end)[0]:
                return f"the checksum of its {name.decode('latin-1')} chunk at byte {start - 8} is wrong"
            if name == b"IEND":
                return None
    return "its end chunk is missing"


def _webp_fault(data: bytes) -> str | None:
    announced = struct.unpack_from("<I", data, 4)[0] + 8
    if announced > len(data) + 1:  # the last chunk may lack its padding byte
        return f"it announces {announced} bytes and has {len(data)}"
    for _ in webp_chunks(data):
        pass
    return None


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
