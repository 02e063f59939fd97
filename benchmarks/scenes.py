"""Made-up network outputs that look like real ones: people in parts with smooth borders, not noise.

How fast a label map is made depends on how much border it has, so benchmarks and tests need logits with the
borders of a real parsing: a few people, each in a dozen parts, edges about one logit sample wide, and mild
smooth disturbance.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

# A figure in a unit box: (centre y, centre x, radius y, radius x, LIP class), painted in this order.
_PARTS = (
    (0.66, 0.40, 0.17, 0.09, 16),
    (0.66, 0.60, 0.17, 0.09, 17),
    (0.53, 0.50, 0.12, 0.22, 9),
    (0.38, 0.27, 0.17, 0.06, 14),
    (0.38, 0.73, 0.17, 0.06, 15),
    (0.36, 0.50, 0.17, 0.23, 5),
    (0.23, 0.50, 0.03, 0.10, 11),
    (0.11, 0.50, 0.10, 0.16, 2),
    (0.13, 0.50, 0.08, 0.12, 13),
    (0.05, 0.50, 0.04, 0.15, 1),
    (0.12, 0.50, 0.015, 0.11, 4),
    (0.55, 0.22, 0.03, 0.05, 3),
    (0.84, 0.38, 0.04, 0.11, 18),
    (0.84, 0.62, 0.04, 0.11, 19),
)
_FINE = 4
"""The scene is painted at this multiple of the logits' resolution, then averaged down."""


def person_logits(
    classes: int, size: tuple[int, int], frame_aspect: float = 1.0, people: int = 1, seed: int = 0
) -> NDArray[np.float32]:
    """Logits float32 [classes, h, w] of `people` figures side by side in the part of the crop that the frame
    fills.

    `frame_aspect`: width / height of the frame, letterboxed into the crop. With fewer than 20 classes the
    parts share.
    """
    rng = np.random.default_rng(seed)
    labels = _painted(classes, (size[0] * _FINE, size[1] * _FINE), frame_aspect, people, rng)
    logits = np.empty((classes, *size), np.float32)
    for index in range(classes):
        share = cv2.GaussianBlur((labels == index).astype(np.float32), (0, 0), 0.8 * _FINE)
        disturbance = cv2.GaussianBlur(rng.standard_normal(size).astype(np.float32), (0, 0), 2.0)
        area = cv2.resize(share, (size[1], size[0]), interpolation=cv2.INTER_AREA)
        logits[index] = 10 * area + 2 * disturbance
    return logits


def photo(size: tuple[int, int], seed: int = 0) -> NDArray[np.uint8]:
    """A uint8 BGR frame [H, W, 3] with structure at every scale, as photographs have, and a little noise."""
    rng = np.random.default_rng(seed)
    total = np.zeros((*size, 3), np.float32)
    for cells in (4, 16, 64, 256):
        coarse = rng.standard_normal((cells, cells, 3)).astype(np.float32)
        total += cv2.resize(coarse, (size[1], size[0]), interpolation=cv2.INTER_CUBIC) * (90 / cells**0.5)
    total += rng.standard_normal((*size, 3)).astype(np.float32) * 2
    clipped: NDArray[np.uint8] = np.clip(total + 128, 0, 255).astype(np.uint8)
    return clipped


def _painted(
    classes: int, size: tuple[int, int], frame_aspect: float, people: int, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """The label map uint8 [H, W] that the logits stand for."""
    labels = np.zeros(size, np.uint8)
    fill_h, fill_w = size[0] * min(1.0, 1 / frame_aspect), size[1] * min(1.0, frame_aspect)
    height, width = fill_h * 0.9, min(fill_w / people, fill_h * 0.6)
    for person in range(people):
        left = (size[1] - fill_w) / 2 + (person + 0.5) * fill_w / people - width / 2
        top = (size[0] - fill_h) / 2 + fill_h * rng.uniform(0.02, 0.08)
        for y, x, radius_y, radius_x, part in _PARTS:
            centre = (round(left + x * width), round(top + y * height))
            axes = (max(1, round(radius_x * width)), max(1, round(radius_y * height)))
            cv2.ellipse(
                labels,
                centre,
                axes,
                float(rng.uniform(-8, 8)),
                startAngle=0,
                endAngle=360,
                color=part % classes,
                thickness=-1,
            )
    return labels
