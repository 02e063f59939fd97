"""The geometric steps, each for a picture and its labels together.

The picture is interpolated and labels take the nearest pixel, since there is nothing between two classes; where the
picture does not reach, it is black and its labels are 255. Sizes are (h, w).

Mirroring also exchanges the classes that are named after a side: the data set's own pairs (`LabelSet.flip_pairs`). CE2P
and SCHP exchange 14/15, 16/17 and 18/19 whatever the data set; on ATR that makes bags scarves and leaves legs and shoes
as they are, so we do not follow them there.
"""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from ..labels import IGNORE, LabelSet
from .base import Augmented, Pixels

Pair = tuple[Pixels, Pixels]
"""Picture uint8 BGR [H, W, 3] and labels uint8 [H, W]."""


def resize(image: Pixels, labels: Pixels, size: tuple[int, int]) -> Pair:
    """Both stretched to `size`, the picture bilinearly."""
    target = (size[1], size[0])
    return _uint8(cv2.resize(image, target, interpolation=cv2.INTER_LINEAR)), _uint8(
        cv2.resize(labels, target, interpolation=cv2.INTER_NEAREST)
    )


def warp(
    image: Pixels,
    labels: Pixels,
    matrix: NDArray[np.float64],
    size: tuple[int, int],
    interpolation: int = cv2.INTER_LINEAR,
) -> Pair:
    """Both in a frame of `size`, to whose pixels the 2x3 `matrix` takes their own (x, y)."""
    target = (size[1], size[0])
    return _uint8(cv2.warpAffine(image, matrix, target, flags=interpolation, borderValue=0)), _uint8(
        cv2.warpAffine(labels, matrix, target, flags=cv2.INTER_NEAREST, borderValue=IGNORE)
    )


def mirror(image: Pixels, labels: Pixels, label_set: LabelSet) -> Pair:
    """Both as in a mirror, with the labels of the other side."""
    return _uint8(cv2.flip(image, 1)), swap_sides(_uint8(cv2.flip(labels, 1)), label_set)


def swap_sides(labels: Pixels, label_set: LabelSet) -> Pixels:
    """Labels uint8 [H, W] with each left class made its right one and the other way round; nothing moves."""
    return _uint8(cv2.LUT(labels, _swapped(label_set.flip_pairs))) if label_set.flip_pairs else labels


def pad(
    sample: Augmented, sides: tuple[int, int, int, int], colour: tuple[int, int, int], edge_value: int
) -> Augmented:
    """`sample` with pixels added above, below, left and right: `colour` (BGR), label 255 and `edge_value`."""
    return Augmented(
        *(
            _uint8(cv2.copyMakeBorder(pixels, *sides, cv2.BORDER_CONSTANT, value=value))
            for pixels, value in zip(sample, (colour, (IGNORE,), (edge_value,)), strict=True)
        )
    )


@cache
def _swapped(pairs: tuple[tuple[int, int], ...]) -> Pixels:
    """For each of the 256 label values, the one it becomes in a mirror."""
    table = np.arange(256, dtype=np.uint8)
    for left, right in pairs:
        table[left], table[right] = right, left
    return table


def _uint8(pixels: object) -> Pixels:
    """OpenCV declares its results as arrays of any number; these are uint8 already, and not copied."""
    return np.asarray(pixels, np.uint8)
