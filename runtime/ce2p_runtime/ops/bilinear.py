"""Bilinear interpolation along one axis: the taps and weights every op here shares.

A target coordinate falls at `u` between the source samples `low = floor(u)` and `high = low + 1`; its value
is `(1 - t)·source[low] + t·source[high]` with `t = u - low`. Two dimensions interpolate the width first, then
the height, which is PyTorch's order (`upsample_bilinear2d`). Coordinates are float64 here and float32 in
PyTorch and OpenCV 5; the weights are float32 in all of them, so results agree to a few 1e-5 of the local
slope per sample.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SOLVER_NOISE_PX = 1e-6
_BLOCK_FLOATS = 1 << 16
"""Floats per block of rows: three such arrays stay in the second-level cache."""
_LONG_ROW = 1 << 13
"""Floats of a row that is worth two calls of its own, which save copies of the rows it is blended from."""


@dataclass(frozen=True)
class AxisTaps:
    """Where each of n target samples reads along one source axis."""

    low: NDArray[np.intp]
    """[n], index of the sample at or before the coordinate."""
    high: NDArray[np.intp]
    """[n], index of the next sample; equal to `low` at the end of the axis."""
    weight: NDArray[np.float32]
    """[n], share of `high`, in [0, 1]."""

    def part(self, start: int, stop: int) -> AxisTaps:
        """The taps of target samples start..stop-1."""
        return AxisTaps(self.low[start:stop], self.high[start:stop], self.weight[start:stop])

    def take(self, targets: NDArray[np.intp]) -> AxisTaps:
        """The taps of some target samples."""
        return AxisTaps(self.low[targets], self.high[targets], self.weight[targets])

    def used(self) -> NDArray[np.intp]:
        """The source samples that are read, ascending."""
        read = np.zeros(int(self.high.max(initial=-1)) + 1, bool)
        read[self.low] = True
        read[self.high] = True
        return np.flatnonzero(read)

    def compact(self) -> tuple[NDArray[np.intp], AxisTaps]:
        """The source samples that are read, ascending, and these taps into an axis of only those."""
        used = self.used()
        position = np.empty(int(used[-1]) + 1, np.intp)
        position[used] = np.arange(len(used))
        return used, AxisTaps(position[self.low], position[self.high], self.weight)


def blend(low: NDArray[Any], high: NDArray[Any], weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """`(1 - weight)·low + weight·high` in float32, always in these operations, which is what makes results
    bit-equal."""
    blended: NDArray[Any] = low * (1 - weight) + high * weight
    return blended.astype(np.float32, copy=False)


def resize_taps(source: int, target: int, align_corners: bool) -> AxisTaps:
    """Taps of a resize from `source` to `target` samples, with PyTorch's meaning of `align_corners`.

    True: `u = i·(source-1)/(target-1)`, end samples meet (one target sample reads source 0). False: `u =
    (i+0.5)·source/target - 0.5`, held at the first and last sample. Raises ValueError when a size is below 1.
    """
    if source < 1 or target < 1:
        raise ValueError(f"cannot resize {source} samples to {target}: both must be at least 1")
    index = np.arange(target, dtype=np.float64)
    if align_corners:
        coordinate = index * ((source - 1) / (target - 1)) if target > 1 else index
    else:
        coordinate = (index + 0.5) * (source / target) - 0.5
    # PyTorch clamps the coordinate at the near end and the index at the far end: the value is the same.
    coordinate = np.clip(coordinate, 0.0, source - 1.0)
    low = np.floor(coordinate)
    high = np.minimum(low + 1.0, source - 1.0)
    return AxisTaps(low.astype(np.intp), high.astype(np.intp), (coordinate - low).astype(np.float32))


def widen(values: NDArray[np.float32], cols: AxisTaps) -> NDArray[np.float32]:
    """Interpolate the last axis: float32 [n, C, w] -> float32 [n, C, len(cols)], bit-equal to `blend`."""
    out = np.empty((*values.shape[:2], len(cols.low)), np.float32)
    rest = 1 - cols.weight
    for block in _blocks(len(out), out.shape[1] * out.shape[2]):
        low = np.multiply(values[block].take(cols.low, axis=2, mode="clip"), rest, out=out[block])
        high = values[block].take(cols.high, axis=2, mode="clip")
        np.add(low, np.multiply(high, cols.weight, out=high), out=low)
    return out


def blend_rows(values: NDArray[np.float32], rows: AxisTaps) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Interpolate the first axis of float32 [n, C, w], bit-equal to `blend`.

    Yields (which of `rows`, float32 [m, C, w]) block by block, each of which stays in the cache and is written over
    by the next.
    """
    floats = values.shape[1] * values.shape[2]
    low_room, high_room = np.empty((2, min(_block_rows(floats), len(rows.low)), *values.shape[1:]), np.float32)
    for block in _blocks(len(rows.low), floats):
        low, high = low_room[: block.stop - block.start], high_room[: block.stop - block.start]
        if floats >= _LONG_ROW:
            for place, row in enumerate(range(block.start, block.stop)):
                np.multiply(values[rows.low[row]], 1 - rows.weight[row], out=low[place])
                np.multiply(values[rows.high[row]], rows.weight[row], out=high[place])
        else:
            weight = rows.weight[block, np.newaxis, np.newaxis]
            np.take(values, rows.low[block], axis=0, out=low, mode="clip")
            np.take(values, rows.high[block], axis=0, out=high, mode="clip")
            np.multiply(low, 1 - weight, out=low)
            np.multiply(high, weight, out=high)
        yield block, np.add(low, high, out=low)


def _block_rows(floats: int) -> int:
    return max(_BLOCK_FLOATS // floats, 1)


def _blocks(count: int, floats: int) -> Iterator[slice]:
    step = _block_rows(floats)
    return (slice(start, min(start + step, count)) for start in range(0, count, step))


def affine_taps(coordinate: NDArray[np.float64], first: int, last: int) -> AxisTaps:
    """Taps into an axis of samples first..last with one zero sample added at either end.

    `coordinate`: float64, any shape, in samples of the unpadded axis. Indices count the padded axis (0 is the
    zero before `first`). Coordinates a sample or more outside read the closing zero twice: OpenCV's
    BORDER_CONSTANT 0.
    """
    floor = np.floor(coordinate)
    weight = (coordinate - floor).astype(np.float32)
    closing = last - first + 2
    inside = (floor >= first - 1) & (floor <= last)
    low = np.where(inside, floor - (first - 1), closing).astype(np.intp)
    return AxisTaps(low, np.minimum(low + 1, closing), weight)


def bilinear_resize(values: NDArray[np.float32], size: tuple[int, int], align_corners: bool) -> NDArray[np.float32]:
    """Resize the last two axes: float32 [..., h, w] -> float32 [..., *size], as
    `F.interpolate(mode="bilinear")`."""
    rows = resize_taps(values.shape[-2], size[0], align_corners)
    cols = resize_taps(values.shape[-1], size[1], align_corners)
    values = blend(values[..., cols.low], values[..., cols.high], cols.weight)
    return blend(values[..., rows.low, :], values[..., rows.high, :], rows.weight[:, np.newaxis])


def settle_matrix(matrix: NDArray[np.float64], frame_size: tuple[int, int]) -> NDArray[np.float64]:
    """A 2x3 matrix as float64, its shear set to 0 where it moves no pixel of the (H, W) frame by 1e-6 pixels.

    Linear solvers (cv2.getAffineTransform) leave 1e-17 where a zero belongs; with true zeros rows and columns
    separate. Raises ValueError for another shape or values that are not finite.
    """
    settled = np.array(matrix, dtype=np.float64)
    if settled.shape != (2, 3) or not np.isfinite(settled).all():
        raise ValueError(f"expected a finite 2x3 matrix, got shape {settled.shape}: {settled.tolist()}")
    height, width = frame_size
    if abs(settled[0, 1]) * height < _SOLVER_NOISE_PX and abs(settled[1, 0]) * width < _SOLVER_NOISE_PX:
        settled[0, 1] = settled[1, 0] = 0.0
    return settled
