"""An exact bilinear warp: OpenCV 4 rounds coordinates to 1/32 pixel, the larger error in a comparison."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["exact_warp"]


def exact_warp(plane: NDArray[Any], matrix: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.float64]:
    """float64 [H, W] of `size`: pixel (x, y) samples `plane` at matrix·(x, y, 1); outside, the plane is 0.

    What `cv2.warpAffine(plane, matrix, size[::-1], flags=INTER_LINEAR | WARP_INVERSE_MAP)` means.
    """
    x, y = np.meshgrid(np.arange(size[1]), np.arange(size[0]))
    u, v = (row[0] * x + row[1] * y + row[2] for row in np.asarray(matrix, np.float64))
    left, top = np.floor(u).astype(np.int64), np.floor(v).astype(np.int64)
    right, lower = u - left, v - top  # weights of the neighbours to the right and below
    framed = np.pad(plane.astype(np.float64), 1)

    def at(row: NDArray[np.int64], column: NDArray[np.int64]) -> NDArray[np.float64]:
        return framed[np.clip(row + 1, 0, framed.shape[0] - 1), np.clip(column + 1, 0, framed.shape[1] - 1)]

    above = at(top, left) * (1 - right) + at(top, left + 1) * right
    below = at(top + 1, left) * (1 - right) + at(top + 1, left + 1) * right
    return above * (1 - lower) + below * lower
