"""Decode JPEG data with libjpeg-turbo's own word on its damage."""

from __future__ import annotations

import numpy as np
import simplejpeg  # type: ignore[import-untyped]
from numpy.typing import NDArray

_HARMLESS = ("Invalid SOS parameters", "Warning: unknown JFIF revision", "Unknown Adobe color transform")
"""What libjpeg warns of in files that are odd but whole; some cameras write them."""


def decode_jpeg(data: bytes) -> tuple[NDArray[np.uint8] | None, list[str]]:
    """uint8 BGR [H, W, 3], or None where OpenCV is to decode it: CMYK, and what is odd.

    Pixels are those that OpenCV gives, bit by bit. The list holds what there is to say although nothing failed. Raises
    ValueError, with libjpeg's words, for what libjpeg warns of unless it is harmless.
    """
    try:
        _, _, colour_space, _ = simplejpeg.decode_jpeg_header(data, strict=False)
    except KeyError:  # TurboJPEG names the usual ratios of chroma to luma only
        return None, ["its chroma subsampling is a rare one, so that damage to its data would go unnoticed"]
    inks = colour_space in ("CMYK", "YCCK")
    try:
        pixels = simplejpeg.decode_jpeg(data, "CMYK" if inks else "BGR")
    except ValueError as error:
        if str(error).startswith(_HARMLESS):
            return None, [f"libjpeg warns of its data ({error}), behind which damage would go unnoticed"]
        raise
    # How inks become colours is left to OpenCV, as for every other reader of the file.
    return (None if inks else np.asarray(pixels, np.uint8)), []
