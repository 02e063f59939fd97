"""Masks from COCO's `segmentation` field: polygons and run lengths, compressed or not.

Run lengths count pixels column by column, starting with those outside. The compressed form writes each count, from the
third on as the difference to the one two before, in groups of 5 bits from the lowest; a group is the character
48 + bits + 32 if more follow, and bit 4 of the last one is the sign (cocoapi, common/maskApi.c). They are read here:
pycocotools (2.0.11) returns memory that nobody wrote for lengths that add up to too few pixels.

Polygons are drawn by pycocotools, whose rule for the pixels along an outline is the standard's own. It trusts them: its
coordinates are C integers and its memory grows with the outline. So both are limited before it is called.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import ModuleType
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ..base.text import install_hint
from ..errors import MediaError

Mask = NDArray[np.bool_]
Size = tuple[int, int]

_MOST_POLYGONS, _MOST_POINTS = 1_000, 20_000
"""Of one person, and of one polygon. COCO's largest have a few hundred; each one costs a pass over the picture."""
_LONGEST_OUTLINE = 1_000_000
"""Pixels, along the longer axis of each edge. The largest picture's border has 80,000; memory is 60 bytes for each."""
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
    """The mask, bool [H, W], of one closed polygon [x0, y0, x1, y1, ...] in pixels, by the even-odd rule.

    (0, 0) is the outer corner of the first pixel; points may lie outside the picture. Raises ValueError, and MediaError
    where pycocotools is not installed.
    """
    numbers = [value for value in polygon if isinstance(value, (int, float)) and math.isfinite(value)]
    if len(numbers) != len(polygon) or not 6 <= len(numbers) <= 2 * _MOST_POINTS or len(numbers) % 2:
        raise ValueError(
            f"its polygon has {len(polygon)} entries, expected at least 3 pairs of finite numbers, at most "
            f"{_MOST_POINTS:,}"
        )
    points = np.asarray(numbers, np.float64).reshape(-1, 2)
    outline = float(np.abs(points - np.roll(points, 1, axis=0)).max(axis=1).sum())
    if outline > _LONGEST_OUTLINE or np.abs(points).max() > _LONGEST_OUTLINE:
        raise ValueError(
            f"its polygon has an outline of {outline:,.0f} pixels, or starts as far away; expected at most "
            f"{_LONGEST_OUTLINE:,}"
        )
    drawing = _pycocotools()
    drawn: NDArray[np.uint8] = drawing.decode(drawing.merge(drawing.frPyObjects([numbers], *size)))
    return drawn.astype(np.bool_)


def _pycocotools() -> ModuleType:
    try:
        from pycocotools import mask
    except ImportError as error:
        raise MediaError(
            f"COCO's polygons are drawn by pycocotools, which cannot be imported ({error}); {install_hint('people')}"
        ) from error
    return cast(ModuleType, mask)
