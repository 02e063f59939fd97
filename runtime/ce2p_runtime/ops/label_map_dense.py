"""Every class at every place, in whole rows: the way for bands where looking for borders costs more than it saves.

The values are the reference's, operation by operation, so the labels are the reference's to the last tie. Rows of
OpenCV would be no help: `cv2.resize` and `cv2.warpAffine` round weights and sums in other ways, which differ by build.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .bilinear import AxisTaps, blend_rows, widen
from .label_map_lattice import Lattice

__all__ = ["dense_at_once", "dense_cost", "paint_dense", "sparse_cost"]

Labels = NDArray[np.uint8]
Floats = NDArray[np.float32]

_BAND_FLOATS = 1 << 19
"""Floats of lattice rows that are interpolated together: bounds the memory."""
# Costs in nanoseconds on one quiet core with AVX-512. Only their ratios count, and little hangs on them: where the two
# ways cost alike, either will do.
_SPARSE_START = 3e5
"""Of the boundary-only way, whatever the size: some two hundred calls of NumPy."""
_LABEL = 0.5
"""Per lattice point and class: its best class found."""
_CELL_CLASS = 30.0
"""Per mixed cell and class: the logits of four corners found and held against two rivals."""
_MIXED_PLACE = 25.0
"""Per place in a mixed cell with two candidates."""
_MIXED_PLACE_CLASS = 1.0
"""Per place in a mixed cell and class: noise has more candidates, the more classes there are."""
_POINT_CLASS = 1.6
"""Per lattice point and class: interpolated in whole rows."""
_WIDE_CLASS = 1.4
"""Per column of the output, lattice row and class: blended along the row."""
_PLACE_CLASS = 1.2
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
    points, out = (len(rows.used()), len(cols.used())), (len(rows.low), len(cols.low))
    visible = lattice.expected_border * points[0] * points[1]
    compared, cells, places = lattice.labels_work
    start = _SPARSE_START + compared * _LABEL + sparse_cost(lattice.classes, cells, places)
    sparse = start + sparse_cost(lattice.classes, visible, lattice.expected_border * out[0] * out[1])
    return sparse > dense_cost(lattice.classes, points, out)


def paint_dense(lattice: Lattice, rows: AxisTaps, cols: AxisTaps, out: Labels) -> None:
    """Write the best class of every (row, col) into `out` uint8 [len(rows), len(cols)]; taps as for `paint_axes`."""
    lattice_cols, cols = cols.compact()
    lattice_rows, rows = rows.compact()
    most = max(_BAND_FLOATS // (lattice.classes * len(cols.low)), 2)
    start = 0
    while start < len(rows.low):
        first, last = np.minimum.accumulate(rows.low[start:]), np.maximum.accumulate(rows.high[start:])
        stop = start + max(int(np.searchsorted(last - first, most)), 1)
        band = rows.part(start, stop)
        top, bottom = int(band.low.min()), int(band.high.max()) + 1
        wide = widen(lattice.crossings(lattice_rows[top:bottom], lattice_cols), cols)
        _paint_rows(wide, AxisTaps(band.low - top, band.high - top, band.weight), out[start:stop])
        start = stop


def _paint_rows(wide: Floats, rows: AxisTaps, out: Labels) -> None:
    """Blend rows of `wide` [n, C, columns] and write the best class of each place."""
    classes = wide.shape[1]
    # The lowest class has the greatest code: the greatest code among the winners is the first of them.
    code = (classes - 1 - np.arange(classes)).astype(np.uint8)[:, np.newaxis]
    for block, values in blend_rows(wide, rows):
        wins = (values == np.maximum.reduce(values, axis=1, keepdims=True)).view(np.uint8)
        np.multiply(wins, code, out=wins)
        np.subtract(np.uint8(classes - 1), np.maximum.reduce(wins, axis=1), out=out[block])
