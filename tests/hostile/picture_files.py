"""Small picture files of every kind that is read, to be damaged, and files that ask for far more than they hold."""

from __future__ import annotations

import io
import struct
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage import data

from ce2p_runtime.media.picture_chunks import jpeg_segments

__all__ = ["many_scans", "picture_files", "small_photograph", "tiff"]

_START_OF_SCAN = 0xDA


@cache
def small_photograph() -> NDArray[np.uint8]:
    """uint8 BGR [80, 96, 3]: a face."""
    return np.asarray(cv2.cvtColor(data.astronaut()[60:140, 180:276], cv2.COLOR_RGB2BGR), np.uint8)


@cache
def picture_files() -> dict[str, bytes]:
    """The photograph in every format and compression that matters, by name."""
    image = small_photograph()
    by_pillow = Image.fromarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))

    def pillow(format_name: str, **options: Any) -> bytes:
        buffer = io.BytesIO()
        by_pillow.save(buffer, format_name, **options)
        return buffer.getvalue()

    def opencv(suffix: str, *options: int) -> bytes:
        return bytes(cv2.imencode(suffix, image, options)[1].tobytes())

    return {
        "JPEG": opencv(".jpg"),
        "JPEG with restart markers": opencv(".jpg", cv2.IMWRITE_JPEG_RST_INTERVAL, 4),
        "progressive JPEG": opencv(".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
        "PNG": opencv(".png"),
        "lossy WebP": opencv(".webp", cv2.IMWRITE_WEBP_QUALITY, 80),
        "lossless WebP": pillow("WEBP", lossless=True),
        "GIF": pillow("GIF"),
        # The oldest OpenCV that is supported may not know it.
        **({"AVIF": opencv(".avif")} if cv2.haveImageWriter(".avif") else {}),
        "BMP": opencv(".bmp"),
        "TIFF": pillow("TIFF"),
        "TIFF, LZW": pillow("TIFF", compression="tiff_lzw"),
        "TIFF, deflate": pillow("TIFF", compression="tiff_adobe_deflate"),
        "TIFF, JPEG": pillow("TIFF", compression="jpeg"),
    }


def many_scans(side: int, scans: int) -> bytes:
    """A grey progressive JPEG of `side` x `side` pixels whose last scan is repeated until it has `scans`."""
    options = (cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    jpeg = cv2.imencode(".jpg", np.full((side, side, 3), 90, np.uint8), options)[1].tobytes()
    starts = [start - 4 for marker, start, _ in jpeg_segments(jpeg) if marker == _START_OF_SCAN]
    return jpeg[:-2] + jpeg[starts[-1] : -2] * (scans - len(starts)) + jpeg[-2:]


def tiff(*tags: tuple[int, int], pixels: bytes = bytes(100)) -> bytes:
    """A grey, uncompressed TIFF file with these tags (number, value) in this order, its strip among them.

    Without tags it is a whole file of 10 x 10 pixels.
    """
    usual = {256: 10, 257: 10, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 10, 279: len(pixels)}
    listed = tags or tuple(usual.items())
    directory = struct.pack("<H", len(listed))
    for tag, value in listed:
        directory += struct.pack("<HHII", tag, 4, 1, value)
    return b"II*\0" + struct.pack("<I", 8 + len(pixels)) + pixels + directory + bytes(4)
