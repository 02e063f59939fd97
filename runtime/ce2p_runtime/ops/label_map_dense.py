"""Every class at every place, in whole rows: the way for bands where looking for borders costs more than it saves.

The values are the reference's, operation by operation, so the labels are the reference's to the last tie. Rows of
OpenCV would be no help: `cv2.resize` and `cv2.warpAffine` round weights and sums in other ways, which differ by build.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .bilinear import AxisTaps
from .label_map_lattice import Lattice

__all__ = ["dense_at_once", "dense_cost", "paint_dense", "sparse_cost"]

Index = NDArray[np.intp]
Labels = NDArray[np.uint8]
Floats = NDArray[np.float32]

_BLOCK_FLOATS = 1 << 16
"""Floats per [rows, C, columns] array: four of them stay in the second-level cache."""
_BAND_FLOATS = 1 << 20
"""Floats of lattice rows that are interpolated together: bounds the memory."""
# Costs in nanoseconds on one quiet core with AVX-512. Only their ratios count, and little hangs on them: where the two
# ways cost alike, either will do.
_SPARSE_START = 3e5
"""Of the boundary-only way, whatever the size: some two hundred calls of NumPy."""
_LABEL = 1.0
"""Per lattice point and class: its best class found."""
_CELL_CLASS = 30.0
"""Per mixed cell and class: the logits of four corners found and held against two rivals."""
_MIXED_PLACE = 25.0
"""Per place in a mixed cell with two candidates."""
_MIXED_PLACE_CLASS = 1.0
"""Per place in a mixed cell and class: noise has more candidates, the more classes there are."""
_POINT_CLASS = 1.0
"""Per lattice point and class: interpolated in whole rows."""
_WIDE_CLASS = 0.9
"""Per column of the output, lattice row and class: blended along the row."""
_PLACE_CLASS = 1.0
"""Per place and class: blended between rows, compared."""


def sparse_cost(classes: int, cells: float, places: float) -> float:
    """Of the boundary-only way through a band with that many mixed cells, and places of the output in them."""
    return cells * classes * _CELL_CLASS + places * (_MIXED_PLACE + classes * _MIXED_PLACE_CLASS)


def dense_cost(classes: int, points: tuple[int, int], out: tuple[int, int]) -> float:
    """Of painting densely: `points` are the lattice rows and columns read, `out` the rows and columns painted."""
    wide = points[0] * (points[1] * _POINT_CLASS + out[1] * _WIDE_CLASS)
    return classes * (wide + out[0] * out[1] * _PLACE_CLASS)


def dense_at_once(lattice: Lattice, rows: AxisTaps, cols: AxisTaps) -> bool:
    """Whether to paint densely without asking where the borders are: they are expected to be nearly everywhere, or
    there are so few places to paint that finding the lattice's best classes costs more."""
    points, out = (len(_used(rows)), lattice.shape[1]), (len(rows.low), len(cols.low))
    visible = lattice.expected_border * points[0] * points[1]
    start = _SPARSE_START + lattice.classes * lattice.shape[0] * lattice.shape[1] * _LABEL
    sparse = start + sparse_cost(lattice.classes, visible, lattice.expected_border * out[0] * out[1])
    return sparse > dense_cost(lattice.classes, points, out)


def paint_dense(lattice: Lattice, rows: AxisTaps, cols: AxisTaps, out: Labels) -> None:
    """Write the best class of every (row, col) into `out` uint8 [len(rows), len(cols)]; taps as for `paint_axes`."""
    used = _used(rows)
    position = np.zeros(lattice.shape[0], np.intp)
    position[used] = np.arange(len(used))
    low, high = position[rows.low], position[rows.high]
    most = max(_BAND_FLOATS // (lattice.classes * max(lattice.shape[1], len(cols.low))), 2)
    start = 0
    while start < len(low):
        first, last = np.minimum.accumulate(low[start:]), np.maximum.accumulate(high[start:])
        stop = start + max(int(np.searchsorted(last - first, most)), 1)
        top, bottom = int(low[start:stop].min()), int(high[start:stop].max()) + 1
        wide = _widened(lattice.rows(used[top:bottom]), cols)
        _paint_rows(wide, low[start:stop] - top, high[start:stop] - top, rows.weight[start:stop], out[start:stop])
        start = stop


def _used(taps: AxisTaps) -> NDArray[np.intp]:
    """The samples that are read, ascending."""
    return np.flatnonzero(np.bincount(np.concatenate((taps.low, taps.high))))


def _widened(values: Floats, cols: AxisTaps) -> Floats:
    """float32 [n, C, cols of the lattice] -> [n, C, columns of the output]."""
    out = np.empty((*values.shape[:2], len(cols.low)), np.float32)
    step = max(_BLOCK_FLOATS // (out.shape[1] * out.shape[2]), 1)
    rest = 1 - cols.weight
    for start in range(0, len(out), step):
        part, block = values[start : start + step], out[start : start + step]
        np.multiply(part.take(cols.low, axis=2, mode="clip"), rest, out=block)
        high = part.take(cols.high, axis=2, mode="clip")
        np.add(block, np.multiply(high, cols.weight, out=high), out=block)
    return out


def _paint_rows(wide: Floats, low: Index, high: Index, weight: Floats, out: Labels) -> None:
    """Blend rows `low` and `high` of `wide` [n, C, columns], take the best class of each place."""
    classes, width = wide.shape[1:]
    # The lowest class has the greatest code: the greatest code among the winners is the first of them.
    code = (classes - 1 - np.arange(classes)).astype(np.uint8)[:, np.newaxis]
    step = max(_BLOCK_FLOATS // (classes * width), 1)
    for start in range(0, len(low), step):
        rows = slice(start, start + step)
        share = weight[rows, np.newaxis, np.newaxis]
        upper, lower = wide.take(low[rows], axis=0), wide.take(high[rows], axis=0)
        np.multiply(upper, 1 - share, out=upper)
        np.add(upper, np.multiply(lower, share, out=lower), out=upper)
        wins = (upper == np.maximum.reduce(upper, axis=1, keepdims=True)).view(np.uint8)
        np.multiply(wins, code, out=wins)
        np.subtract(np.uint8(classes - 1), np.maximum.reduce(wins, axis=1), out=out[rows])
