"""Decode the bytes of one picture, with decoders that say what they met.

OpenCV decodes damaged JPEG and TIFF data as far as it goes; what libjpeg and libtiff say about it goes to the
process's standard error and to nobody else. So JPEG is decoded by simplejpeg, which is libjpeg-turbo too but reports
warnings to its caller, in any thread, and the compressed pixels of TIFF are checked beforehand. PNG has checksums;
libwebp and OpenCV's readers of GIF and BMP fail where they notice something.

What no decoder can notice, since these formats have no checksums and nearly any bits mean some pixels: damage inside
the pixels of BMP, WebP and uncompressed TIFF, and a part of it in JPEG, GIF and LZW.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .jpeg_decoding import decode_jpeg
from .tiff_checks import check_tiff


def decode_pixels(data: bytes, keep_alpha: bool) -> tuple[NDArray[np.uint8], list[str]]:
    """Pixels as they are stored, uint8 BGR [H, W, 3] or, where `keep_alpha` and there is any, BGRA [H, W, 4].

    `data`: a file in which `missing_part` found no fault. TIFF is turned upright by its decoder, nothing else is. The
    list holds what there is to say although the picture was decoded. Raises ValueError, with a clause for a message,
    and MemoryError.
    """
    notes: list[str] = []
    if data.startswith(b"\xff\xd8"):
        decoded, notes = decode_jpeg(data)
        if decoded is not None:
            return decoded, notes
    elif data[:4] in (b"II*\0", b"MM\0*"):
        notes = check_tiff(data)
    pixels = _decode(data, cv2.IMREAD_UNCHANGED) if keep_alpha else None
    if pixels is None or pixels.ndim != 3 or pixels.shape[2] != 4:
        if keep_alpha:  # of grey TIFF pictures OpenCV drops it
            notes.append("its transparency cannot be read, colours are taken as they are stored")
        pixels = _decode(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if pixels.dtype == np.uint16:
        pixels = pixels >> 8
    elif pixels.dtype != np.uint8:
        raise ValueError(f"its pixels are {pixels.dtype}, expected 8 or 16 bits")
    return np.asarray(pixels, np.uint8), notes


def _decode(data: bytes, flags: int) -> NDArray[Any]:
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        pixels = None
    if pixels is None:
        raise ValueError("its data cannot be decoded")
    return np.asarray(pixels)
