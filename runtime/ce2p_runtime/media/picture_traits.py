"""What a picture file holds beside pixels: further pictures, transparency, the way up. Nothing is decoded."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from .avif_boxes import AvifPicture
from .picture_chunks import gif_images, jpeg_segments, png_chunks, webp_chunks
from .tiff_directory import TiffPage, page_count, stored_orientation

_EXIF = b"Exif\0\0"


@dataclass(frozen=True)
class PictureTraits:
    """Read by `picture_traits` from a file in which `missing_part` found no fault."""

    images: int = 1
    """Frames of an animation, pages of a TIFF file."""
    transparent: bool = False
    """Whether pixels may be transparent. Of BMP never, as in viewers: what its fourth byte means is left open."""
    premultiplied: bool = False
    """Whether the decoder gives colours multiplied by their opacity."""
    orientation: int = 1
    """EXIF's number for how the stored pixels are to be turned, 1 to 8; of TIFF 1, since its decoder turns them."""
    swapped: bool = False
    """Whether the decoder itself swaps height and width."""
    cropped: bool = False
    """Whether the file asks that only a part of it be shown."""


def picture_traits(data: bytes) -> PictureTraits:
    """The traits of a JPEG, PNG, WebP, AVIF, GIF, TIFF or BMP file. Raises ValueError for a file that is damaged."""
    if data.startswith(b"\xff\xd8"):
        return PictureTraits(orientation=_jpeg_orientation(data))
    if data.startswith(b"\x89PNG"):
        return _png_traits(data)
    if data[:4] == b"RIFF":
        return _webp_traits(data)
    if data.startswith(b"GIF8"):
        images = gif_images(data)
        return PictureTraits(images.count, images.transparent)
    if data[:4] in (b"II*\0", b"MM\0*"):
        page = TiffPage.read(data)
        return PictureTraits(page_count(data), page.transparent, page.premultiplied, swapped=page.turned)
    if data[4:8] == b"ftyp":
        avif = AvifPicture.read(data)
        return PictureTraits(1, avif.transparent, orientation=avif.orientation, cropped=avif.cropped)
    return PictureTraits()


def turned(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Stored pixels, [H, W] or [H, W, C], turned upright by EXIF's orientation."""
    if orientation >= 5:
        pixels = np.asarray(cv2.transpose(pixels), np.uint8)
    # After transposing: 5 is that alone, 6 and 8 turn clockwise and counter-clockwise, 7 is the other diagonal.
    flip = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}.get(orientation)
    return pixels if flip is None else np.asarray(cv2.flip(pixels, flip), np.uint8)


def _jpeg_orientation(data: bytes) -> int:
    for marker, start, end in jpeg_segments(data):
        if marker == 0xE1 and data.startswith(_EXIF, start):
            return stored_orientation(data[start + len(_EXIF) : end])
        if marker == 0xDA:
            break
    return 1


def _png_traits(data: bytes) -> PictureTraits:
    images, orientation = 1, 1
    transparent = data[25] in (4, 6)
    for name, start, end in png_chunks(data):
        if name == b"acTL" and end - start >= 4:
            (images,) = struct.unpack_from(">I", data, start)
        elif name == b"eXIf":
            orientation = stored_orientation(data[start:end])
        transparent |= name == b"tRNS"
    return PictureTraits(max(1, images), transparent, orientation=orientation)


def _webp_traits(data: bytes) -> PictureTraits:
    images, orientation, transparent = 0, 1, False
    for name, start, end in webp_chunks(data):
        if name == b"VP8X":
            transparent = bool(data[start] & 0x10)
        elif name == b"VP8L":
            transparent |= bool(data[start + 4] & 0x10)
        elif name == b"ANMF":
            images += 1
        elif name == b"EXIF":
            block = data[start:end]
            orientation = stored_orientation(block.removeprefix(_EXIF))
    return PictureTraits(max(1, images), transparent, orientation=orientation)
