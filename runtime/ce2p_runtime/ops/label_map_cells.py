"""The boundary-only evaluation behind `label_map`: full arithmetic only where labels can change.

If the same class is best at all four points of a cell, it is best everywhere in it (see label_map_border), and no
logit has to be looked at: that is nearly all of a picture of people. The mixed cells that remain are looked at in bands
of lattice rows, which bound the memory; a band with too many of them is painted densely (see label_map_dense).

The class painted always has exactly the reference's greatest float32 value; the two can differ only where the
reference has two such classes.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from .bilinear import AxisTaps
from .label_map_border import CHUNK_FLOATS, Border, Visit
from .label_map_dense import dense_at_once, dense_cost, paint_dense, sparse_cost
from .label_map_lattice import MIXED, Floats, Index, Labels, Lattice

_BAND_SHARE = 8
"""A band is cut as if one cell in this many were mixed at least: that bounds the memory of one painted densely."""


def paint_axes(lattice: Lattice, rows: AxisTaps, cols: AxisTaps, out: Labels) -> None:
    """Write the best class of every (row, col) into `out` uint8 [len(rows), len(cols)], contiguous.

    `rows` and `cols` hold lattice coordinates, in either direction but monotone. Rows that share a lattice
    row share their pattern of pure and mixed cells, so that pattern is found once per lattice row.
    """
    if dense_at_once(lattice, rows, cols):
        paint_dense(lattice, rows, cols, out)
        return
    starts = np.flatnonzero(np.diff(rows.low, prepend=-1))
    counts = np.diff(starts, append=len(rows.low))
    run_rows = rows.low[starts]
    codes = lattice.codes.take(run_rows, axis=0)
    columns = np.bincount(cols.low, minlength=codes.shape[1])
    mixed = (codes == MIXED) & (columns > 0)
    cells = np.asarray(cv2.reduce(mixed.view(np.uint8), 1, cv2.REDUCE_SUM, dtype=cv2.CV_32S), np.intp)[:, 0]
    # As if the columns were spread evenly over the cells: the exact number is not worth what it costs.
    places = cells * counts * (len(cols.low) / np.count_nonzero(columns))
    for band in _bands(np.maximum(cells, codes.shape[1] // _BAND_SHARE), CHUNK_FLOATS // lattice.classes):
        part = slice(int(starts[band.start]), int(starts[band.stop - 1] + counts[band.stop - 1]))
        taps, target = rows.part(part.start, part.stop), out[part]
        points = (int(np.count_nonzero(cells[band])) + 1, codes.shape[1])
        sparse = sparse_cost(lattice.classes, float(cells[band].sum()), float(places[band].sum()))
        if sparse > dense_cost(lattice.classes, points, target.shape):
            paint_dense(lattice, taps, cols, target)
            continue
        # Picking columns as rows of the transpose moves whole lines of memory: 4 times as fast as take(axis=1).
        strip = np.asarray(cv2.transpose(cv2.transpose(codes[band]).take(cols.low, axis=0)), np.uint8)
        np.take(strip, np.repeat(np.arange(len(strip)), counts[band]), axis=0, out=target, mode="clip")
        if cells[band].any():
            order = np.argsort(run_rows[band])
            row, col = np.nonzero(mixed[band][order])
            border = Border(lattice, run_rows[band][order][row] * codes.shape[1] + col)
            _paint_border(
                border, strip, run_rows[band] * codes.shape[1], counts[band], rows=taps, cols=cols, out=target
            )


def _paint_border(
    border: Border, strip: Labels, run_cells: Index, counts: Index, rows: AxisTaps, cols: AxisTaps, out: Labels
) -> None:
    """The mixed places of a band: `strip` holds the codes of its runs, each of which begins at a
    cell of `run_cells` and is `counts` rows of `out`."""
    # The runs of most rows first: then the places that still have a row left are the first ones, at every step.
    order = np.argsort(-counts, kind="stable")
    mixed = np.flatnonzero(strip[order].reshape(-1) == MIXED)
    run = mixed // strip.shape[1]
    x = mixed - run * strip.shape[1]
    run = order.take(run)
    starts = np.cumsum(counts) - counts

    def visits(part: Index) -> Iterator[Visit]:
        first, fewer = starts.take(run[part]), -counts.take(run[part])
        target = first * out.shape[1] + x[part]
        for step in range(-int(fewer.min(initial=0))):
            here = slice(0, int(np.searchsorted(fewer, -step)))
            yield here, rows.weight.take(first[here] + step), target[here] + step * out.shape[1]

    border.resolve(run_cells[run] + cols.low[x], cols.weight[x], visits, out.reshape(-1))


def paint_points(lattice: Lattice, rows: AxisTaps, cols: AxisTaps, out: Labels) -> None:
    """The same with coordinates given per pixel, for rotated crops: all arrays have the shape of `out`."""
    cells = (rows.low * lattice.codes.shape[1] + cols.low).reshape(-1)
    flat = out.reshape(-1)
    np.take(lattice.codes.reshape(-1), cells, out=flat, mode="clip")
    mixed = np.flatnonzero(flat == MIXED)
    if not len(mixed):
        return
    cells, row_weight, col_weight = cells[mixed], rows.weight.reshape(-1)[mixed], cols.weight.reshape(-1)[mixed]
    wanted = np.zeros(lattice.labels.size, bool)
    wanted[cells] = True
    border_cells = np.flatnonzero(wanted)
    size = max(CHUNK_FLOATS // lattice.classes, 1)
    for start in range(0, len(border_cells), size):
        chunk = border_cells[start : start + size]
        here = slice(None) if len(chunk) == len(border_cells) else (cells >= chunk[0]) & (cells <= chunk[-1])
        _paint_chunk(
            Border(lattice, chunk), cells[here], row_weight[here], col_weight[here], target=mixed[here], out=flat
        )


def _paint_chunk(
    border: Border, cells: Index, row_weight: Floats, col_weight: Floats, target: Index, out: Labels
) -> None:
    def visits(part: Index) -> Iterator[Visit]:
        yield slice(None), row_weight[part], target[part]

    border.resolve(cells, col_weight, visits, out)


def _bands(weights: Index, most: int) -> Iterator[slice]:
    """Consecutive slices whose weights sum to at most `most`, or that are one long."""
    total = np.concatenate(([0], np.cumsum(weights)))
    start = 0
    while start < len(weights):
        stop = max(int(np.searchsorted(total, total[start] + most, side="right")) - 1, start + 1)
        yield slice(start, stop)
        start = stop
