"""Every class at every place: the way for bands, or turned frames, where looking for borders costs more than it saves.

The values are the reference's, operation by operation, so the labels are the reference's to the last tie. Rows of
OpenCV would be no help: `cv2.resize` and `cv2.warpAffine` round weights and sums in other ways, which differ by build.
"""

from __future__ import annotations

import numpy as np

from .bilinear import AxisTaps, blend_rows, widen
from .label_map_lattice import Floats, Index, Labels, Lattice, take_better

_BAND_FLOATS = 1 << 19
"""Floats of lattice rows that are interpolated together: bounds the memory."""
_LATTICE_FLOATS = 1 << 24
"""Most floats of a lattice that is interpolated as a whole, 64 MB: bounds the memory."""
_PLACES = 1 << 15
"""Places with coordinates of their own that are blended together."""
# Costs in nanoseconds on one core with AVX-512 and 2 MB of second-level cache, fitted to label maps of 2 to 59 classes
# and 60x80 to 1080x1920 pixels with either way forced. Only their ratios count, and little hangs on them: where the two
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
_LOOSE_PLACE_CLASS = 4.0
"""Per place with coordinates of its own, and class: four neighbours gathered and blended. Measured 7; but where much
is border, the boundary-only way takes twice what is expected of it, and only there the two come near each other."""
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
    out = (len(rows.low), len(cols.low))
    cells = lattice.shape[0] * lattice.shape[1]
    if _expected_cost(lattice, cells, out[0] * out[1]) <= dense_cost(lattice.classes, (0, 0), out):
        return False
    points = (len(rows.used()), len(cols.used()))
    sparse = _expected_cost(lattice, points[0] * points[1], out[0] * out[1])
    return sparse > dense_cost(lattice.classes, points, out)


def points_at_once(lattice: Lattice, places: int) -> bool:
    """The same for that many places with coordinates of their own, anywhere in the lattice, whose logits must fit."""
    points = lattice.shape[0] * lattice.shape[1]
    if points * lattice.classes > _LATTICE_FLOATS:
        return False
    dense = points * _POINT_CLASS + places * _LOOSE_PLACE_CLASS
    return _expected_cost(lattice, min(points, places), places) > lattice.classes * dense


def _expected_cost(lattice: Lattice, cells: float, places: float) -> float:
    """Of the boundary-only way before the lattice's labels are known, for so many cells and places looked at."""
    compared, inner_cells, inner_places = lattice.labels_work
    labels = compared * _LABEL + sparse_cost(lattice.classes, inner_cells, inner_places)
    border = lattice.expected_border
    return _SPARSE_START + labels + sparse_cost(lattice.classes, border * cells, border * places)


def paint_points_dense(values: Floats, rows: AxisTaps, cols: AxisTaps, out: Labels) -> None:
    """The same at places with coordinates of their own: all arrays have the shape of `out`, contiguous.

    `values`: the whole lattice's logits, float32 [rows, C, cols], closed by a ring of zeros.
    """
    step, width = values.shape[1] * values.shape[2], values.shape[2]
    flat, row_weight, col_weight = out.reshape(-1), rows.weight.reshape(-1), cols.weight.reshape(-1)
    place = (rows.low * step + cols.low).reshape(-1)
    for start in range(0, out.size, _PLACES):
        part = slice(start, start + _PLACES)
        _paint_places(
            values.reshape(-1), (width, step), place[part], row_weight[part], right=col_weight[part], labels=flat[part]
        )


def _paint_places(
    values: Floats, strides: tuple[int, int], place: Index, lower: Floats, right: Floats, labels: Labels
) -> None:
    """The best class of each place, whose upper left neighbour of class 0 lies at `place` in `values`; strides are
    those of classes and rows."""
    width, step = strides
    upper, left = 1 - lower, 1 - right
    sides = np.empty((4, len(place)), np.float32)
    best, better = np.empty(len(place), np.float32), np.empty(len(place), bool)
    for index in range(step // width):
        # The lattice ends in zeros: what follows the last column or row is one of them, too.
        for side, offset in zip(sides, (0, 1, step, step + 1), strict=True):
            np.take(values[index * width + offset :], place, out=side, mode="clip")
        np.multiply(sides[::2], left, out=sides[::2])
        np.multiply(sides[1::2], right, out=sides[1::2])
        above, below = np.add(sides[::2], sides[1::2], out=sides[::2])
        np.add(np.multiply(above, upper, out=above), np.multiply(below, lower, out=below), out=above)
        if index == 0:
            best[:], labels[:] = above, 0
        else:
            take_better(above, np.uint8(index), best, labels, better)


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
