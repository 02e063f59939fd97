"""The grids that labels are painted from: points with known best classes, whose logits can be asked for.

Two of them: the network's own output, and the pixels of its input, whose logits are interpolated from that output
where somebody asks. A cell is the square between four neighbouring points and is named by its upper left one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .bilinear import AxisTaps, blend, blend_rows, widen

Index = NDArray[np.intp]
Labels = NDArray[np.uint8]
Floats = NDArray[np.float32]
Corners = tuple[Floats, Floats, Floats, Floats]

MIXED = 255
"""Cell code for "look closer". Class 255 of a 256-class network is looked at too: slower, not wrong."""
_DENSE_SHARE = 6
"""Whole rows are interpolated where more than one cell in this many is asked for. A single point costs four gathers
and three blends, a point of a whole row a fifth of that, and each cell wants about 1.5 points of its own."""

_INNER_BORDER = 0.35
"""Share of mixed cells among the input pixels of a mixed cell of the output: measured 0.33 for people, 0.36 to
0.43 for smooth noise, 0.62 for white noise, at four input pixels per sample."""


def best_class(planes: Floats) -> Labels:
    """Index of the greatest value per point, the first one on ties: float32 [C, ...] -> uint8 [...], C <= 256."""
    best = planes[0].copy()
    labels = np.zeros(best.shape, np.uint8)
    better = np.empty(best.shape, bool)
    for index in range(1, len(planes)):
        take_better(planes[index], np.uint8(index), best, labels, better)
    return labels


def take_better(
    values: Floats, index: Labels | np.uint8, best: Floats, labels: Labels, better: NDArray[np.bool_]
) -> None:
    """One step of a running argmax, in place: where `values` exceed `best`, they and their class `index` are taken.

    Indices must not fall from step to step: then the new label is the greater one, and a product and a maximum of
    bytes do what a masked copy does in ten times the time. `better`: room for a mask.
    """
    np.greater(values, best, out=better)
    np.maximum(best, values, out=best)
    mask = better.view(np.uint8)
    np.multiply(mask, index, out=mask)
    np.maximum(labels, mask, out=labels)


class Lattice(ABC):
    """A grid of `shape` (rows, cols) points with logits of `classes` classes."""

    def __init__(self, shape: tuple[int, int], classes: int) -> None:
        self.shape = shape
        self.classes = classes

    @cached_property
    def codes(self) -> Labels:
        """Per cell: the class that is best at all four points, or MIXED, uint8 [rows, cols]; edges repeat."""
        labels = self.labels
        across = labels[:, :-1] != labels[:, 1:]
        mixed = np.zeros(labels.shape, bool)
        mixed[:, :-1] = across
        mixed[:-1, :-1] |= across[1:]
        mixed[:-1] |= labels[:-1] != labels[1:]
        return labels | np.negative(mixed.view(np.uint8))

    def corners(self, cells: Index) -> tuple[Index, Index, Index, Index]:
        """Flat indices of the upper left, upper right, lower left and lower right points of cells [n]."""
        rows, cols = self.shape
        row = cells // cols
        right = (cells - row * cols < cols - 1).astype(np.intp)
        down = np.where(row < rows - 1, cols, 0)
        return cells, cells + right, cells + down, cells + down + right

    @property
    @abstractmethod
    def labels(self) -> Labels:
        """The best class of every point, uint8 [rows, cols], contiguous; found when first asked for."""

    @property
    @abstractmethod
    def expected_border(self) -> float:
        """A guess at the share of mixed cells, made without `labels`."""

    @property
    @abstractmethod
    def labels_work(self) -> tuple[float, float, float]:
        """What `labels` still asks for: logits to compare; mixed cells to look at, and points to label in them."""

    @abstractmethod
    def corner_values(self, corners: tuple[Index, Index, Index, Index]) -> Corners:
        """Logits float32 [C, n] at each of `corners`, which ascend."""

    @abstractmethod
    def crossings(self, rows: Index, cols: Index) -> Floats:
        """Logits float32 [n, C, m] at every crossing of `rows` [n] and `cols` [m], both ascending."""


class LogitLattice(Lattice):
    """The network's own output: logits float32 [C, h, w], contiguous."""

    expected_border = 0.0

    def __init__(self, logits: Floats) -> None:
        super().__init__((logits.shape[1], logits.shape[2]), len(logits))
        self.logits = logits

    @cached_property
    def labels(self) -> Labels:
        return best_class(self.logits)

    @property
    def labels_work(self) -> tuple[float, float, float]:
        return float(self.logits.size), 0.0, 0.0

    def corner_values(self, corners: tuple[Index, Index, Index, Index]) -> Corners:
        planes = self.logits.reshape(self.classes, -1)
        left, right, below, across = (planes.take(corner, axis=1, mode="clip") for corner in corners)
        return left, right, below, across

    def crossings(self, rows: Index, cols: Index) -> Floats:
        # Both are distinct, so as many as there are means all, which need no copy.
        planes = self.logits if len(cols) == self.shape[1] else self.logits.take(cols, axis=2)
        stacked = planes.transpose(1, 0, 2)
        return stacked[rows[0] : rows[-1] + 1] if rows[-1] - rows[0] + 1 == len(rows) else stacked[rows]


class InputLattice(Lattice):
    """The input pixels `rows` × `cols`, read from the network's output, with a ring of zeros around them.

    `inner` finds their best classes, uint8 [len(rows), len(cols)], if they are needed.
    """

    def __init__(self, source: LogitLattice, rows: AxisTaps, cols: AxisTaps, inner: Callable[[], Labels]) -> None:
        super().__init__((len(rows.low) + 2, len(cols.low) + 2), source.classes)
        self._source = source
        self._row_taps = rows
        self._col_taps = cols
        self._inner = inner

    @cached_property
    def labels(self) -> Labels:
        return np.pad(self._inner(), 1)

    @property
    def labels_work(self) -> tuple[float, float, float]:
        share, points = self._source_border, len(self._row_taps.low) * len(self._col_taps.low)
        return 0.0, share * min(self._source.shape[0] * self._source.shape[1], points), share * points

    @property
    def expected_border(self) -> float:
        return self._source_border * _INNER_BORDER

    @cached_property
    def _source_border(self) -> float:
        """Share of these pixels that lie in mixed cells of the output."""
        rows, cols = self._source.shape
        row_share = np.bincount(self._row_taps.low, minlength=rows) / len(self._row_taps.low)
        col_share = np.bincount(self._col_taps.low, minlength=cols) / len(self._col_taps.low)
        return float(row_share @ (self._source.codes == MIXED) @ col_share)

    def corner_values(self, corners: tuple[Index, Index, Index, Index]) -> Corners:
        width = self.shape[1]
        first, stop = int(corners[0][0]) // width, int(corners[3][-1]) // width + 1
        if len(corners[0]) * _DENSE_SHARE > (stop - first) * width:
            rows = self.crossings(np.arange(first, stop), np.arange(width))
            values = np.ascontiguousarray(rows.transpose(1, 0, 2)).reshape(self.classes, -1)
            place = [corner - first * width for corner in corners]
        else:
            wanted = np.zeros(self.shape[0] * width, bool)
            for corner in corners:
                wanted[corner] = True
            points = np.flatnonzero(wanted)
            number = np.empty(wanted.size, np.intp)
            number[points] = np.arange(len(points))
            values, place = self._points(points), [number[corner] for corner in corners]
        left, right, below, across = (values.take(index, axis=1, mode="clip") for index in place)
        return left, right, below, across

    def crossings(self, rows: Index, cols: Index) -> Floats:
        out = np.zeros((len(rows), self.classes, len(cols)), np.float32)
        inner_rows = np.flatnonzero((rows > 0) & (rows < self.shape[0] - 1))
        inner_cols = np.flatnonzero((cols > 0) & (cols < self.shape[1] - 1))
        if not len(inner_rows) or not len(inner_cols):
            return out
        # The ring has no taps. Both lists ascend, so what is inside it lies together.
        inside = out[inner_rows[0] : inner_rows[-1] + 1, :, inner_cols[0] : inner_cols[-1] + 1]
        source_rows, row_taps = self._row_taps.take(rows[inner_rows] - 1).compact()
        source_cols, col_taps = self._col_taps.take(cols[inner_cols] - 1).compact()
        for block, values in blend_rows(widen(self._source.crossings(source_rows, source_cols), col_taps), row_taps):
            inside[block] = values
        return out

    def _points(self, points: Index) -> Floats:
        """Logits [C, n] of single points, flat indices [n]."""
        planes, source_width = self._source.logits.reshape(self.classes, -1), self._source.shape[1]
        rows, cols = self._row_taps, self._col_taps
        row = points // self.shape[1]
        col = points - row * self.shape[1]
        ring = (row == 0) | (row == len(rows.low) + 1) | (col == 0) | (col == len(cols.low) + 1)
        row, col = np.clip(row - 1, 0, len(rows.low) - 1), np.clip(col - 1, 0, len(cols.low) - 1)
        upper, lower = rows.low[row] * source_width, rows.high[row] * source_width
        left, right, weight = cols.low[col], cols.high[col], cols.weight[col]
        above = blend(planes.take(upper + left, axis=1), planes.take(upper + right, axis=1), weight)
        below = blend(planes.take(lower + left, axis=1), planes.take(lower + right, axis=1), weight)
        result = blend(above, below, rows.weight[row])
        result[:, ring] = 0
        return result
