"""label_map: from low-resolution logits to labels at the frame's own size, without the logits in between.

Meaning (two steps, as SCHP's simple_extractor.py and its `transform_logits` publish their scores):

    U[c] = bilinear upsampling of logits[c] from h×w to S_h×S_w      (PyTorch semantics of align_corners)
    V[c](x, y) = bilinear sample of U[c] at matrix·(x, y, 1)          (samples outside U are 0)
    label(x, y) = argmax over c of V[c](x, y)                         (the lowest class wins a tie)

`matrix=None` is the plain resize geometry of M-CE2P and sssegmentation: V[c] is one bilinear resize of
logits[c] from h×w to the frame. `unwarp="labels"` is what CE2P's and SCHP's evaluate.py score: argmax of U
first, then the label map is warped with nearest neighbour and border 0 (`transform_parsing`).

`label_map_reference` is this definition in NumPy float32. `label_map` skips what cannot change the answer:
its label always has exactly the reference's greatest float32 value, so the two differ only at pixels where
two classes of the reference are bitwise equal (rounding ties). Nearest neighbour takes the sample at
floor(u + 0.5), computed in float64.

How it skips: label_map_lattice.py has the two grids that are sampled, logits and input pixels; label_map_cells.py
paints the cells that one class fills and hands the rest to label_map_border.py, or to label_map_dense.py where
so little is skipped that computing all classes costs less.

The public pipeline run with OpenCV 5 (float32 coordinates, about 3e-5 pixel off) gave the same label at all
but 1 of 27 million pixels of person-like logits; with OpenCV 4, whose bilinear warp rounds coordinates to
1/32 pixel, at 99.97 % or more. Nearest neighbour agreed at 99.96 % or more: samples exactly between two
pixels go by float32 rounding in OpenCV 5 and by steps of 1/1024 pixel in OpenCV 4 (which gave all pixels
alike for CE2P's geometry up to 1080p).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .bilinear import AxisTaps, affine_taps, bilinear_resize, blend, resize_taps, settle_matrix
from .label_map_cells import paint_axes, paint_points
from .label_map_dense import paint_points_dense, points_at_once
from .label_map_lattice import Floats, InputLattice, Labels, LogitLattice
from .launches import ArrayAt, FusedOp, Given, KernelSource, Launch

Size = tuple[int, int]
Matrix = NDArray[np.float64]

_BLOCK_PIXELS = 1 << 16
"""Pixels per block of rows where whole coordinate grids or all classes are held at once: bounds memory."""


def label_map_reference(
    logits: Floats,
    matrix: Matrix | None,
    input_size: Size,
    frame_size: Size,
    *,
    align_corners: bool,
    unwarp: Literal["logits", "labels"] = "logits",
) -> Labels:
    """The definition, slow: arguments, result and errors as `label_map`."""
    logits = _checked(logits, input_size, frame_size)
    if unwarp == "labels":
        labels = np.argmax(bilinear_resize(logits, input_size, align_corners), axis=0).astype(np.uint8)
        return _nearest_reference(labels, matrix, frame_size)
    out = np.empty(frame_size, np.uint8)
    for rows, values in reference_values(logits, matrix, input_size, frame_size, align_corners):
        out[rows] = np.argmax(values, axis=0)
    return out


def reference_values(
    logits: Floats, matrix: Matrix | None, input_size: Size, frame_size: Size, align_corners: bool
) -> Iterator[tuple[slice, Floats]]:
    """Yield (rows, V float32 [C, rows, W]) of the definition, block by block of frame rows."""
    height, width = frame_size
    step = max(_BLOCK_PIXELS // width, 1)
    blocks = [slice(top, min(top + step, height)) for top in range(0, height, step)]
    if matrix is None:
        resized = bilinear_resize(logits, frame_size, align_corners)
        yield from ((rows, resized[:, rows]) for rows in blocks)
        return
    matrix = settle_matrix(matrix, frame_size)
    upsampled = bilinear_resize(logits, input_size, align_corners)
    padded = np.pad(upsampled, ((0, 0), (1, 1), (1, 1)))
    for rows in blocks:
        x, y = _grid(matrix, rows, width)
        row, col = affine_taps(y, 0, input_size[0] - 1), affine_taps(x, 0, input_size[1] - 1)
        upper = blend(padded[:, row.low, col.low], padded[:, row.low, col.high], col.weight)
        lower = blend(padded[:, row.high, col.low], padded[:, row.high, col.high], col.weight)
        yield rows, blend(upper, lower, row.weight)


def label_map(
    logits: Floats,
    matrix: Matrix | None,
    input_size: Size,
    frame_size: Size,
    *,
    align_corners: bool,
    unwarp: Literal["logits", "labels"] = "logits",
) -> Labels:
    """Labels uint8 [H, W] of a frame from logits float32 [C, h, w], 1 <= C <= 256, all finite.

    `matrix`: 2x3, frame pixel (x, y) to input pixel (`FrameMapping.unwarp`), or None for the plain resize
    geometry. `input_size`: (S_h, S_w) the network saw; `frame_size`: (H, W); both in pixels. Any matrix
    works; one without rotation and shear, as every whole-frame crop has, takes the quick way. Raises
    ValueError for other shapes, sizes below 1 or a matrix that is not 2x3 and finite.
    """
    logits = _checked(logits, input_size, frame_size)
    if unwarp == "labels":
        return warp_labels(_resized_labels(logits, input_size, align_corners), matrix, frame_size)
    if matrix is None:
        return _resized_labels(logits, frame_size, align_corners)
    out = np.empty(frame_size, np.uint8)
    matrix = settle_matrix(matrix, frame_size)
    first_row, last_row, first_col, last_col = _visible(matrix, input_size, frame_size)
    if first_row > last_row or first_col > last_col:
        out[:] = 0
        return out
    rows = resize_taps(logits.shape[1], input_size[0], align_corners).part(first_row, last_row + 1)
    cols = resize_taps(logits.shape[2], input_size[1], align_corners).part(first_col, last_col + 1)
    source = LogitLattice(logits)
    lattice = InputLattice(source, rows, cols, lambda: _painted(source, rows, cols))
    if matrix[0, 1] == 0 and matrix[1, 0] == 0:
        x, y = _axes(matrix, frame_size)
        paint_axes(lattice, affine_taps(y, first_row, last_row), affine_taps(x, first_col, last_col), out)
        return out
    values = None
    if points_at_once(lattice, out.size):
        values = lattice.crossings(np.arange(lattice.shape[0]), np.arange(lattice.shape[1]))
    step = max(_BLOCK_PIXELS // frame_size[1], 1)
    for top in range(0, frame_size[0], step):
        block = slice(top, min(top + step, frame_size[0]))
        x, y = _grid(matrix, block, frame_size[1])
        taps = affine_taps(y, first_row, last_row), affine_taps(x, first_col, last_col)
        if values is None:
            paint_points(lattice, *taps, out[block])
        else:
            paint_points_dense(values, *taps, out[block])
    return out


def warp_labels(labels: Labels, matrix: Matrix | None, frame_size: Size) -> Labels:
    """Nearest neighbour warp of labels uint8 [S_h, S_w] to the frame, uint8 [H, W]; 0 outside.

    `matrix` as for `label_map`. None (plain resize): frame pixel i takes input pixel floor((i + 0.5)·S/size).
    Raises ValueError as `label_map` does.
    """
    if labels.ndim != 2 or labels.dtype != np.uint8 or min(labels.shape + tuple(frame_size)) < 1:
        raise ValueError(f"expected uint8 labels [S_h, S_w], got {labels.dtype} {labels.shape} for frame {frame_size}")
    if matrix is None:
        matrix = _area_matrix(labels.shape, frame_size)
    matrix = settle_matrix(matrix, frame_size)
    # One zero row and column at the end serve every sample outside.
    padded = np.pad(labels, ((0, 1), (0, 1)))
    if matrix[0, 1] == 0 and matrix[1, 0] == 0:
        x, y = _axes(matrix, frame_size)
        rows, cols = _nearest(y, labels.shape[0]), _nearest(x, labels.shape[1])
        return padded.take(cols, axis=1).take(rows, axis=0)
    out = np.empty(frame_size, np.uint8)
    step = max(_BLOCK_PIXELS // frame_size[1], 1)
    for top in range(0, frame_size[0], step):
        x, y = _grid(matrix, slice(top, min(top + step, frame_size[0])), frame_size[1])
        out[top : top + step] = padded[_nearest(y, labels.shape[0]), _nearest(x, labels.shape[1])]
    return out


def label_map_source(half: bool, align_corners: bool) -> KernelSource:
    """ce2p_label_resize, ce2p_label_warp and ce2p_label_nearest, for float or half logits."""
    return KernelSource.of(LABEL_MAP.name, CE2P_HALF=int(half), CE2P_ALIGN_CORNERS=int(align_corners))


def label_resize_launch(logits: ArrayAt, labels: ArrayAt) -> Launch:
    """Logits [N, C, h, w] to labels uint8 [N, H, W]: best class of the bilinear resize."""
    arguments: tuple[Given, ...] = (logits, *logits.shape[1:], *labels.shape[1:], labels)
    return Launch.over(LABEL_MAP.name, "ce2p_label_resize", arguments, items=logits.shape[0], size=labels.shape[1:])


def label_warp_launch(logits: ArrayAt, input_labels: ArrayAt, matrix: Matrix, labels: ArrayAt) -> Launch:
    """Labels of frames, uint8 [N, H, W], as `label_map` defines them with a matrix.

    `input_labels`: what `label_resize_launch` made of the same logits at the input's size, uint8 [N, S_h, S_w].
    """
    arguments = (logits, *logits.shape[1:], *_warp_arguments(input_labels, matrix, labels))
    return Launch.over(LABEL_MAP.name, "ce2p_label_warp", arguments, items=labels.shape[0], size=labels.shape[1:])


def label_nearest_launch(input_labels: ArrayAt, matrix: Matrix | None, labels: ArrayAt) -> Launch:
    """Labels of frames, uint8 [N, H, W], from input labels by nearest neighbour: `warp_labels`."""
    if matrix is None:
        matrix = _area_matrix(input_labels.shape[1:], labels.shape[1:])
    arguments = _warp_arguments(input_labels, matrix, labels)
    return Launch.over(LABEL_MAP.name, "ce2p_label_nearest", arguments, items=labels.shape[0], size=labels.shape[1:])


def _warp_arguments(input_labels: ArrayAt, matrix: Matrix, labels: ArrayAt) -> tuple[Given, ...]:
    _, height, width = labels.shape
    settled = settle_matrix(matrix, (height, width))
    return (input_labels, *input_labels.shape[1:], *settled.flat, height, width, labels)


LABEL_MAP = FusedOp(
    "label_map",
    around_network=lambda metadata, input_half, output_half: label_map_source(output_half, metadata.align_corners),
    in_graph=True,
)


def _checked(logits: Floats, input_size: Size, frame_size: Size) -> Floats:
    """The logits as contiguous float32 [C, h, w]."""
    if logits.ndim != 3 or not 1 <= logits.shape[0] <= 256 or min(logits.shape[1:]) < 1:
        raise ValueError(f"expected logits [C, h, w] with 1 <= C <= 256, got shape {logits.shape}")
    if min(input_size) < 1 or min(frame_size) < 1:
        raise ValueError(
            f"input size {input_size} and frame size {frame_size} must be at least 1 pixel along each side"
        )
    return np.ascontiguousarray(logits, dtype=np.float32)


def _axes(matrix: Matrix, frame_size: Size) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Input x of every frame column and input y of every frame row, for a matrix without shear."""
    x = np.arange(frame_size[1], dtype=np.float64) * matrix[0, 0] + matrix[0, 2]
    y = np.arange(frame_size[0], dtype=np.float64) * matrix[1, 1] + matrix[1, 2]
    return x, y


def _grid(matrix: Matrix, rows: slice, width: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Input x and y [rows, W] of every pixel in a block of frame rows."""
    x = np.arange(width, dtype=np.float64)
    y = np.arange(rows.start, rows.stop, dtype=np.float64)[:, np.newaxis]
    return (x * matrix[0, 0] + y * matrix[0, 1] + matrix[0, 2], x * matrix[1, 0] + y * matrix[1, 1] + matrix[1, 2])


def _visible(matrix: Matrix, input_size: Size, frame_size: Size) -> tuple[int, int, int, int]:
    """First and last input row, first and last input column, that any frame pixel samples."""
    bottom, right = frame_size[0] - 1.0, frame_size[1] - 1.0
    x, y = matrix @ np.array([[0, right, 0, right], [0, 0, bottom, bottom], [1, 1, 1, 1]])
    # One sample of slack: the product above may round differently from the per-pixel coordinates.
    return (
        int(np.clip(np.floor(y.min()) - 1, 0, input_size[0])),
        int(np.clip(np.floor(y.max()) + 2, -1, input_size[0] - 1)),
        int(np.clip(np.floor(x.min()) - 1, 0, input_size[1])),
        int(np.clip(np.floor(x.max()) + 2, -1, input_size[1] - 1)),
    )


def _resized_labels(logits: Floats, size: Size, align_corners: bool) -> Labels:
    """Best class of every pixel of the resized logits, uint8 of `size`."""
    rows = resize_taps(logits.shape[1], size[0], align_corners)
    cols = resize_taps(logits.shape[2], size[1], align_corners)
    return _painted(LogitLattice(logits), rows, cols)


def _painted(lattice: LogitLattice, rows: AxisTaps, cols: AxisTaps) -> Labels:
    """Best class at every crossing of `rows` and `cols`, uint8 [len(rows), len(cols)]."""
    labels = np.empty((len(rows.low), len(cols.low)), np.uint8)
    paint_axes(lattice, rows, cols, labels)
    return labels


def _nearest(coordinate: NDArray[np.float64], size: int) -> NDArray[np.intp]:
    """Index of the nearest of `size` samples, or `size` where that lies outside."""
    index = np.floor(coordinate + 0.5)
    return np.where((index >= 0) & (index < size), index, size).astype(np.intp)


def _area_matrix(source: Sequence[int], frame_size: Sequence[int]) -> Matrix:
    """Frame pixel to source pixel for a plain resize of pixel areas."""
    scale_y, scale_x = source[0] / frame_size[0], source[1] / frame_size[1]
    return np.array([[scale_x, 0, 0.5 * scale_x - 0.5], [0, scale_y, 0.5 * scale_y - 0.5]])


def _nearest_reference(labels: Labels, matrix: Matrix | None, frame_size: Size) -> Labels:
    """Nearest neighbour by its definition, pixel grid in full."""
    matrix = settle_matrix(_area_matrix(labels.shape, frame_size) if matrix is None else matrix, frame_size)
    x, y = _grid(matrix, slice(0, frame_size[0]), frame_size[1])
    col, row = np.floor(x + 0.5), np.floor(y + 0.5)
    inside = (col >= 0) & (col < labels.shape[1]) & (row >= 0) & (row < labels.shape[0])
    out = np.zeros(frame_size, np.uint8)
    out[inside] = labels[row[inside].astype(np.intp), col[inside].astype(np.intp)]
    return out
