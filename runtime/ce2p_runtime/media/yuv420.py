"""From BGR pixels to the planes that video encoders take: Y'CbCr 4:2:0 of BT.709 in limited range, rounded."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["bgr_to_yuv420"]

_BLUE, _RED = 0.0722, 0.2126  # weights of luma, ITU-R BT.709
_LUMA = np.array([_BLUE, 1 - _BLUE - _RED, _RED])
# Rows give Y, Cb, Cr of (B, G, R, 1), all 0-255: luma takes the levels 16-235, chroma 16-240 around 128.
_MATRIX = np.vstack(
    [
        np.append(_LUMA * 219 / 255, 16),
        np.append((np.array([1, 0, 0]) - _LUMA) / (2 * (1 - _BLUE)) * 224 / 255, 128),
        np.append((np.array([0, 0, 1]) - _LUMA) / (2 * (1 - _RED)) * 224 / 255, 128),
    ]
)


def bgr_to_yuv420(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The planes of `image`, uint8 BGR [H, W, 3] with even sides, one below the other: uint8 [H * 3 / 2, W].

    A chroma sample is the mean of its 2x2 pixels. FFmpeg's own conversion cuts fractions off, by which pictures get
    darker, unless it is told to round; then it takes more than twice as long as this.
    """
    height, width = image.shape[:2]
    planes = np.empty((height * 3 // 2, width), np.uint8)
    yuv = cv2.transform(image, _MATRIX)
    cv2.extractChannel(yuv, 0, planes[:height])
    halves = cv2.resize(yuv, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    chroma = planes[height:].reshape(2, height // 2, width // 2)
    chroma[0], chroma[1] = halves[..., 1], halves[..., 2]
    return planes
