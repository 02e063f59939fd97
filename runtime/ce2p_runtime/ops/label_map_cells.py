"""The boundary-only evaluation behind `label_map`: full arithmetic only where labels can change.

Between four neighbouring lattice points a bilinear value is a convex combination of theirs. If the same class
is best at all four, it is best everywhere in the cell, and no logit has to be looked at. In the cells that
remain, a class that loses to one same class at all four points cannot win inside; nearly always two classes
are left, and only those two are interpolated. The rest ("hard" cells) is interpolated for all classes.

Rounding keeps these arguments intact, because float32 products with a weight >= 0 and float32 sums are
monotone, and because the same operations run in the same order as in the reference. So the class returned
always has exactly the reference's greatest float32 value; the two can differ only where the reference has two
such classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from .bilinear import AxisTaps, blend

__all__ = ["Lattice", "best_class", "paint_axes", "paint_points"]

Index = NDArray[np.intp]
Labels = NDArray[np.uint8]
Floats = NDArray[np.float32]
# One visit to mixed places: which of them, weights of the lower lattice row there, flat output indices.
Visit = tuple["slice | Index", Floats, Index]

_MIXED = 255
"""Cell code for "look closer". Class 255 of a 256-class network is looked at too: slower, not wrong."""
_CHUNK_FLOATS = 1 << 19
"""Floats per temporary [C, n] array: 2 MB, to stay in the cache and to bound the memory for noisy logits."""


@dataclass(frozen=True)
class Lattice:
    """A grid of points with known best classes, whose logits can be asked for."""

    labels: Labels
    """[rows, cols], contiguous."""
    values: Callable[[Index], Floats]
    """Flat point indices [n] -> float32 logits [C, n]."""
    classes: int


def best_class(planes: Floats) -> Labels:
    """Index of the greatest value per point, the first one on ties: float32 [C, ...] -> uint8 [...]."""
    best = planes[0].copy()
    labels = np.zeros(best.shape, np.uint8)
    for index in range(1, len(planes)):
        np.copyto(labels, index, where=planes[index] > best)
        np.maximum(best, planes[index], out=best)
    return labels


def paint_axes(lattice: Lattice, rows: AxisTaps, cols: AxisTaps, out: Labels) -> None:
    """Write the best class of every (row, col) into `out` uint8 [len(rows), len(cols)], contiguous.

    `rows` and `cols` hold lattice coordinates, in either direction but monotone. Rows that share a lattice
    row share their pattern of pure and mixed cells, so that pattern is found once per lattice row.
    """
    width = out.shape[1]
    codes = _cell_codes(lattice.labels)
    starts = np.flatnonzero(np.diff(rows.low, prepend=-1))
    counts = np.diff(starts, append=len(rows.low))
    run_rows = rows.low[starts]
    # Picking columns as rows of the transpose moves whole lines of memory: 4 times as fast as take(axis=1).
    strip = cv2.transpose(cv2.transpose(codes.take(run_rows, axis=0)).take(cols.low, axis=0))
    np.take(strip, np.repeat(np.arange(len(starts)), counts), axis=0, out=out, mode="clip")
    mixed = np.flatnonzero(strip.reshape(-1) == _MIXED)
    if not len(mixed):
        return
    border = _Border(lattice, np.flatnonzero((codes == _MIXED) & _used(codes.shape, run_rows, cols.low)))
    run = mixed // width
    x = mixed - run * width
    cells = run_rows[run] * codes.shape[1] + cols.low[x]

    def visits(part: Index) -> Iterator[Visit]:
        first, count, column = starts[run[part]], counts[run[part]], x[part]
        always = int(count.min(initial=0))
        for step in range(int(count.max(initial=0))):
            which: slice | Index = slice(None) if step < always else np.flatnonzero(count > step)
            y = first[which] + step
            yield which, rows.weight[y], y * width + column[which]

    border.resolve(cells, cols.weight[x], visits, out.reshape(-1))


def paint_points(lattice: Lattice, rows: AxisTaps, cols: AxisTaps, out: Labels) -> None:
    """The same with coordinates given per pixel, for rotated crops: all arrays have the shape of `out`."""
    codes = _cell_codes(lattice.labels)
    cells = (rows.low * codes.shape[1] + cols.low).reshape(-1)
    flat = out.reshape(-1)
    np.take(codes.reshape(-1), cells, out=flat, mode="clip")
    mixed = np.flatnonzero(flat == _MIXED)
    if not len(mixed):
        return
    border = _Border(lattice, np.unique(cells[mixed]))
    row_weight = rows.weight.reshape(-1)

    def visits(part: Index) -> Iterator[Visit]:
        yield slice(None), row_weight[mixed[part]], mixed[part]

    border.resolve(cells[mixed], cols.weight.reshape(-1)[mixed], visits, flat)


def _cell_codes(labels: Labels) -> Labels:
    """Per cell, named by its upper left point: the class of all four points, or _MIXED; edges repeat."""
    across = labels[:, :-1] != labels[:, 1:]
    mixed = np.zeros(labels.shape, bool)
    mixed[:, :-1] = across
    mixed[:-1, :-1] |= across[1:]
    mixed[:-1] |= labels[:-1] != labels[1:]
    return labels | np.negative(mixed.view(np.uint8))


def _used(shape: tuple[int, ...], rows: Index, cols: Index) -> NDArray[np.bool_]:
    """bool of `shape`: the crossings of `rows` and `cols`."""
    row_used, col_used = np.zeros((shape[0], 1), bool), np.zeros(shape[1], bool)
    row_used[rows] = True
    col_used[cols] = True
    return row_used & col_used


class _Border:
    """The mixed cells of a lattice, sorted into those with two possible classes and the hard ones."""

    def __init__(self, lattice: Lattice, cells: Index) -> None:
        self._lattice = lattice
        self._ordinal = np.zeros(lattice.labels.size, np.intp)
        self._ordinal[cells] = np.arange(len(cells))
        self._pair = np.empty((2, len(cells)), np.uint8)
        self._hard = np.empty(len(cells), bool)
        # Logits of the two classes, ordered so that rows 0-3 are the left points and rows 4-7 the right ones:
        # first class upper and lower, second class upper and lower.
        self._table = np.empty((8, len(cells)), np.float32)
        chunk = max(_CHUNK_FLOATS // lattice.classes, 1)
        for start in range(0, len(cells), chunk):
            self._sort(cells[start : start + chunk], slice(start, start + chunk))

    def _corners(self, cells: Index) -> tuple[Index, Index, Index, Index]:
        """Flat indices of the upper left, upper right, lower left and lower right points."""
        rows, cols = self._lattice.labels.shape
        row = cells // cols
        right = (cells - row * cols < cols - 1).astype(np.intp)
        down = np.where(row < rows - 1, cols, 0)
        return cells, cells + right, cells + down, cells + down + right

    def _corner_values(self, corners: tuple[Index, Index, Index, Index]) -> list[Floats]:
        """Logits [C, n] of each corner, every lattice point evaluated once."""
        wanted = np.zeros(self._lattice.labels.size, bool)
        for corner in corners:
            wanted[corner] = True
        points = np.flatnonzero(wanted)
        place = np.empty(wanted.size, np.intp)
        place[points] = np.arange(len(points))
        values = self._lattice.values(points)
        return [values.take(place[corner], axis=1) for corner in corners]

    def _sort(self, cells: Index, where: slice) -> None:
        corners = self._corners(cells)
        labels = [self._lattice.labels.reshape(-1)[corner] for corner in corners]
        values = self._corner_values(corners)
        one, two = labels[0], labels[0].copy()
        for label in labels[1:]:
            np.copyto(two, label, where=label != one)
        first, second = np.minimum(one, two), np.maximum(one, two)
        each = np.arange(len(cells))
        a, b = ([v[c, each] for v in values] for c in (first, second))
        loses = _loses_everywhere(values, a, first) | _loses_everywhere(values, b, second)
        loses[first, each] = loses[second, each] = True
        self._hard[where] = ~loses.all(axis=0)
        self._pair[0, where], self._pair[1, where] = first, second
        self._table[:, where] = (a[0], a[2], b[0], b[2], a[1], a[3], b[1], b[3])

    def resolve(self, cells: Index, weight: Floats, visits: Callable[[Index], Iterator[Visit]], out: Labels) -> None:
        """Label the places in `cells` [n] at column weights `weight` [n]; `visits` spreads them over rows."""
        ordinal = self._ordinal[cells]
        hard = self._hard[ordinal]
        for part in _chunks(np.flatnonzero(~hard), _CHUNK_FLOATS // 16):
            self._resolve_pairs(ordinal[part], weight[part], visits(part), out)
        for part in _chunks(np.flatnonzero(hard), _CHUNK_FLOATS // self._lattice.classes):
            self._resolve_hard(cells[part], weight[part], visits(part), out)

    def _resolve_pairs(self, ordinal: Index, weight: Floats, visits: Iterator[Visit], out: Labels) -> None:
        points = self._table.take(ordinal, axis=1)
        upper_lower = blend(points[:4], points[4:], weight)
        pair = self._pair.take(ordinal, axis=1)
        for which, lower_weight, target in visits:
            a_upper, a_lower, b_upper, b_lower = upper_lower[:, which]
            a, b = blend(a_upper, a_lower, lower_weight), blend(b_upper, b_lower, lower_weight)
            out[target] = np.where(a >= b, pair[0, which], pair[1, which])

    def _resolve_hard(self, cells: Index, weight: Floats, visits: Iterator[Visit], out: Labels) -> None:
        upper_left, upper_right, lower_left, lower_right = self._corner_values(self._corners(cells))
        upper, lower = blend(upper_left, upper_right, weight), blend(lower_left, lower_right, weight)
        for which, lower_weight, target in visits:
            out[target] = best_class(blend(upper[:, which], lower[:, which], lower_weight))


def _loses_everywhere(values: list[Floats], rival: list[Floats], rival_class: Labels) -> NDArray[np.bool_]:
    """bool [C, n]: whether a class is below its rival at all four points; a tie is the lower index's."""
    lead = values[0] - rival[0]
    for value, against in zip(values[1:], rival[1:], strict=True):
        np.maximum(lead, value - against, out=lead)
    after = np.arange(len(lead))[:, np.newaxis] > rival_class
    loses: NDArray[np.bool_] = (lead < 0) | ((lead == 0) & after)
    return loses


def _chunks(indices: Index, size: int) -> Iterator[Index]:
    for start in range(0, len(indices), max(size, 1)):
        yield indices[start : start + max(size, 1)]
