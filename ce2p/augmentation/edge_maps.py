"""Edge labels of one label map, fast enough for a data worker.

The definition is CE2P's (`generate_edge` in dataset/target_generation.py; SCHP and sssegmentation have the same):
a pixel is marked when its label differs from the one above it, to its right, below right or below left, and neither of
the two is ignored; a 3x3 square then dilates the marks. `ce2p.training.edges` says the same for batches of tensors.

Two filters find the marks of all four comparisons at once: among the pixel and those four neighbours, as far as they
are not ignored, some label differs from the pixel's exactly when the greatest differs from the least. The ignore label
255 does not disturb a minimum, and made 0 it does not disturb a maximum.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from ..labels import IGNORE

_COMPARED = np.array([[0, 1, 0], [0, 1, 1], [1, 0, 1]], np.uint8)
"""The pixel in the middle and the four it is compared with."""
_SQUARE = np.ones((3, 3), np.uint8)


def edge_map(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Labels uint8 [h, w] (255 = ignore) -> uint8 [h, w], 1 along borders between two labels, 3 pixels wide, else 0.

    Ignored pixels are 0 unless the dilation reaches them, as published: the edge loss counts them as "no edge".
    """
    counted = labels != IGNORE
    greatest = cv2.dilate(labels * counted, _COMPARED)
    least = cv2.erode(labels, _COMPARED)
    marks = (greatest != least) & counted
    return np.asarray(cv2.dilate(marks.view(np.uint8), _SQUARE), np.uint8)
