"""Parts grow into what the person masks left out: the refinement of M-CE2P (refine.py).

The published rule: go through the pixels row by row; from each one that belongs to a part, flood its 8-neighbours that
belong to none and are labelled with the part's class, and theirs; each flooded pixel also joins the people of the pixel
the flood began at. (SCHP copied this rule.)

What it comes to: every 8-connected region of pixels with one class and without a part goes, as a whole and however far
it reaches, to the part of the first pixel in reading order that touches it and has its class; regions that touch none
stay. A pixel that a flood has reached can begin no further one, since its own region is full. That is how ties between
two people who touch the same region are decided, and `refine` computes just that, region by region.
"""

from __future__ import annotations

from collections import deque

import cv2
import numpy as np
from numpy.typing import NDArray

from .part_instances import PartMap

Masks = NDArray[np.bool_]

_NEIGHBOURS = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))


def refine_reference(parts: PartMap, labels: NDArray[np.uint8], masks: Masks) -> tuple[PartMap, Masks]:
    """The published flood, slow. Arguments and result as `refine`."""
    ids, masks = parts.ids.copy(), masks.copy()
    height, width = ids.shape
    for i in range(height):
        for j in range(width):
            if ids[i, j] == 0:
                continue
            part, people, wanted = ids[i, j], masks[:, i, j].copy(), parts.classes[ids[i, j] - 1]
            queue = deque([(i, j)])
            while queue:
                y, x = queue.popleft()
                for dy, dx in _NEIGHBOURS:
                    v, u = y + dy, x + dx
                    if 0 <= v < height and 0 <= u < width and ids[v, u] == 0 and labels[v, u] == wanted:
                        ids[v, u] = part
                        masks[:, v, u] = people
                        queue.append((v, u))
    return PartMap(ids, parts.classes, parts.people), masks


def refine(parts: PartMap, labels: NDArray[np.uint8], masks: Masks) -> tuple[PartMap, Masks]:
    """Grown parts and person masks, both new. Equal to the published flood.

    `parts`: from `part_map(labels, masks)`; `labels`: uint8 [H, W]; `masks`: bool [P, H, W].
    """
    ids, masks = parts.ids.copy(), masks.copy()
    free = parts.ids == 0
    for wanted in np.unique(parts.classes):
        same = np.equal(labels, wanted)
        window = _window(same & free)
        if window is None:
            continue
        regions, owned = (same & free)[window], (same & ~free)[window]
        number, region = cv2.connectedComponents(regions.astype(np.uint8), connectivity=8, ltype=cv2.CV_32S)
        begin = _first_touching(owned, np.asarray(region), number)
        rows, columns = np.nonzero(regions)
        source = begin[region[rows, columns]]
        rows, columns, source = rows[source >= 0], columns[source >= 0], source[source >= 0]
        ids[window][rows, columns] = parts.ids[window].ravel()[source]
        for mask in masks:
            mask[window][rows, columns] = mask[window].ravel()[source]
    return PartMap(ids, parts.classes, parts.people), masks


def _window(pixels: NDArray[np.bool_]) -> tuple[slice, slice] | None:
    """Rows and columns around all `pixels`, bool [H, W], with one more on each side; None if there are none."""
    x, y, width, height = cv2.boundingRect(pixels.view(np.uint8))
    if width == 0:
        return None
    return slice(max(y - 1, 0), y + height + 1), slice(max(x - 1, 0), x + width + 1)


def _first_touching(owned: NDArray[np.bool_], region: NDArray[np.int32], number: int) -> NDArray[np.int64]:
    """For each region the first pixel in reading order, of those `owned`, among its 8-neighbours; -1 for none.

    `region`: int32 [H, W] with region numbers below `number`, 0 outside; entry 0 of the result is -1.
    """
    height, width = region.shape
    padded = np.pad(region, 1)
    near = cv2.dilate((region > 0).astype(np.uint8), np.ones((3, 3), np.uint8)).astype(np.bool_)
    rows, columns = np.nonzero(owned & near)
    first = np.full(number, height * width, np.int64)
    for dy, dx in _NEIGHBOURS:
        np.minimum.at(first, padded[rows + 1 + dy, columns + 1 + dx], rows * width + columns)
    first[first == height * width] = -1
    first[0] = -1
    return first
