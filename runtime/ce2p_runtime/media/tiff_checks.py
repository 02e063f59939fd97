"""Look for damage in the compressed pixels of TIFF files, of which OpenCV says nothing to its caller."""

from __future__ import annotations

import io
import zlib

from .jpeg_decoding import decode_jpeg
from .picture_headers import missing_part, picture_size
from .tiff_directory import TiffPage

_UNCOMPRESSED, _JPEG, _DEFLATE = 1, 7, (8, 32946)
_PIECE = 2**20
"""Bytes that are unpacked at a time: what they are does not matter here."""


def check_tiff(data: bytes) -> list[str]:
    """Raises ValueError, with a clause for a message, for damage in the first page's pixels.

    The list says what could not be looked at. Deflate has checksums and JPEG (one file for each strip or tile) has
    libjpeg's warnings; LZW and the rest are tried by Pillow where that is installed.
    """
    page = TiffPage.read(data)
    if page.compression == _UNCOMPRESSED:
        return []
    if page.compression == _JPEG:
        return [note for start, end in page.parts for note in _check_jpeg(data[start:end], page)]
    if page.compression in _DEFLATE:
        for start, end in page.parts:
            _check_deflate(data[start:end])
        return []
    return _check_by_pillow(data)


def _check_jpeg(part: bytes, page: TiffPage) -> list[str]:
    """A strip or tile is a JPEG file without the tables, which are stored once for all."""
    jpeg = page.jpeg_tables[:-2] + part[2:] if page.jpeg_tables else part
    fault, size = missing_part(jpeg), picture_size(jpeg)
    if fault is not None:
        raise ValueError(fault)
    if size is None or size[0] * size[1] > page.largest_part:
        raise ValueError("a piece of its pixels is larger than its place")
    return decode_jpeg(jpeg)[1]


def _check_deflate(part: bytes) -> None:
    unpacking = zlib.decompressobj()
    while not unpacking.eof and part:
        try:
            unpacking.decompress(part, _PIECE)
        except zlib.error as error:
            raise ValueError(f"its compressed pixels: {error}") from None
        part = unpacking.unconsumed_tail
    if not unpacking.eof:
        raise ValueError("its compressed pixels are cut short")


def _check_by_pillow(data: bytes) -> list[str]:
    unseen = "its compressed pixels were not checked for damage"
    try:
        from PIL import TiffImagePlugin
    except ImportError:
        return [f"{unseen}, for which Pillow must be installed"]
    try:
        # Not `Image.open`, whose limit on pixels is the whole process's.
        image = TiffImagePlugin.TiffImageFile(io.BytesIO(data))
    except MemoryError:
        raise
    except Exception:  # Pillow raises anything for what it does not know
        return [f"{unseen}, since Pillow does not know their kind"]
    try:
        image.load()
    except MemoryError:
        raise
    except Exception as error:
        raise ValueError(f"its compressed pixels: {error}") from None
    return []
