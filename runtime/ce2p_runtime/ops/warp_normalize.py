"""warp_normalize: from a uint8 BGR frame to the network's input, in one pass over the crop.

Meaning, for input pixel (x, y) and tensor channel c:

    (u, v) = matrix⁻¹·(x, y, 1)                                   frame coordinates
    p[c]   = round(bilinear sample of the frame at (u, v))        uint8, ties to even; samples outside are 0
    out[c] = (p[c]·scale - mean[c]) / std[c]

as SCHP's datasets/simple_extractor_dataset.py does it with cv2.warpAffine, ToTensor and Normalize: the
rounding to uint8 is part of the published meaning, and padding becomes -mean/std. `matrix=None` is the plain
resize (cv2.resize, INTER_LINEAR: pixel areas stretched, borders held, no smoothing when shrinking).

`warp_normalize_reference` is this in NumPy; weights are float32. The quick way uses OpenCV, whose
interpolation differs a little. Measured, in grey levels and share of the values:

                                  photograph-like   white noise     because of
    OpenCV 5 warp    at most 1    0.02 %            0.2 %           float32 coordinates
    OpenCV 4 warp    at most 7    2 to 4 %          35 to 41 %      coordinates rounded to 1/32 pixel
    cv2.resize       at most 1    13 %              13 %            11-bit weights

A coordinate off by 1/64 pixel moves a value by 1/64 of the local contrast along each axis: 9 levels at the
very most.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from ..model_files.metadata import Normalisation
from .bilinear import AxisTaps, affine_taps, blend, resize_taps
from .launches import ArrayAt, FusedOp, Given, KernelSource, Launch

Size = tuple[int, int]
Matrix = NDArray[np.float64]
Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]


def crop_reference(frame: Pixels, matrix: Matrix | None, size: Size) -> Pixels:
    """The definition up to the rounding: arguments, result and errors as `crop`."""
    _check_frame(frame, size)
    if matrix is None:
        rows = resize_taps(frame.shape[0], size[0], align_corners=False)
        cols = resize_taps(frame.shape[1], size[1], align_corners=False)
        return _sample(frame, _upright(rows), cols)
    inverse = _inverted(matrix)
    x, y = np.arange(size[1], dtype=np.float64), np.arange(size[0], dtype=np.float64)[:, np.newaxis]
    u = x * inverse[0, 0] + y * inverse[0, 1] + inverse[0, 2]
    v = x * inverse[1, 0] + y * inverse[1, 1] + inverse[1, 2]
    padded = np.pad(frame, ((1, 1), (1, 1), (0, 0)))
    return _sample(padded, affine_taps(v, 0, frame.shape[0] - 1), affine_taps(u, 0, frame.shape[1] - 1))


def warp_normalize_reference(frame: Pixels, matrix: Matrix | None, size: Size, normalisation: Normalisation) -> Floats:
    """The definition: arguments, result and errors as `warp_normalize`."""
    pixels = crop_reference(frame, matrix, size).astype(np.float64)
    if normalisation.colour_order == "rgb":
        pixels = pixels[..., ::-1]
    values = (pixels * normalisation.scale - normalisation.mean) / normalisation.std
    return np.ascontiguousarray(values.transpose(2, 0, 1), dtype=np.float32)


def crop(frame: Pixels, matrix: Matrix | None, size: Size, out: Pixels | None = None) -> Pixels:
    """The input pixels alone, for networks whose graph holds the normalisation: uint8 BGR [S_h, S_w, 3].

    `frame`: uint8 BGR [H, W, 3]. `matrix`: 2x3, frame pixel (x, y) to input pixel (`FrameMapping.forward`),
    or None for the plain resize. `size`: (S_h, S_w) in pixels. `out`: contiguous array of the result's shape
    to write into. Raises ValueError for other shapes or types, sizes below 1, or a matrix that is not 2x3 and
    finite.
    """
    _check_frame(frame, size)
    _check_out(out, (*size, 3), np.uint8)
    if out is None:
        out = np.empty((*size, 3), np.uint8)
    if matrix is None:
        cv2.resize(frame, size[::-1], dst=out, interpolation=cv2.INTER_LINEAR)
    else:
        cv2.warpAffine(frame, _checked(matrix), size[::-1], dst=out, flags=cv2.INTER_LINEAR)
    return out


def warp_normalize(
    frame: Pixels, matrix: Matrix | None, size: Size, normalisation: Normalisation, out: Floats | None = None
) -> Floats:
    """Network input float32 [3, S_h, S_w] of a frame; arguments and errors as `crop`.

    `out`: contiguous float32 array [3, S_h, S_w] to write into, such as one item of a batch.
    """
    _check_out(out, (3, *size), np.float32)
    if out is None:
        out = np.empty((3, *size), np.float32)
    planes = cv2.split(crop(frame, matrix, size))
    if normalisation.colour_order == "rgb":
        planes = planes[::-1]
    table = normalisation_table(normalisation)
    for channel in range(3):
        cv2.LUT(planes[channel], table[channel], dst=out[channel])
    return out


@lru_cache(maxsize=8)
def normalisation_table(normalisation: Normalisation) -> Floats:
    """float32 [3, 256], read-only: each grey level's normalised value per tensor channel, rounded once."""
    levels = np.arange(256, dtype=np.float64)
    rows = [
        (levels * normalisation.scale - mean) / std
        for mean, std in zip(normalisation.mean, normalisation.std, strict=True)
    ]
    table = np.array(rows, dtype=np.float32)
    table.setflags(write=False)
    return table


def warp_normalize_source(half: bool) -> KernelSource:
    """ce2p_warp_normalize (float or half output) and ce2p_crop."""
    return KernelSource.of(WARP_NORMALIZE.name, CE2P_HALF=int(half))


def warp_normalize_launch(
    frames: ArrayAt, pitch: int, matrix: Matrix | None, normalisation: Normalisation, out: ArrayAt
) -> Launch:
    """Frames of one size to the network's input [N, 3, S_h, S_w]; meaning and errors as `warp_normalize`.

    `frames`: uint8 BGR [N, H, W, 3], whose rows lie `pitch` bytes apart; `out`: aligned to 16 bytes.
    """
    gain = [normalisation.scale / std for std in normalisation.std]
    offset = [-mean / std for mean, std in zip(normalisation.mean, normalisation.std, strict=True)]
    size, reverse_channels = out.shape[2:], normalisation.colour_order == "rgb"
    source = _frame_arguments(frames, pitch, matrix, size)
    arguments = (*source, *map(np.float32, (*gain, *offset)), reverse_channels, *size, out)
    return Launch.over(WARP_NORMALIZE.name, "ce2p_warp_normalize", arguments, items=frames.shape[0], size=size)


def crop_launch(frames: ArrayAt, pitch: int, matrix: Matrix | None, out: ArrayAt) -> Launch:
    """Frames of one size to input pixels, uint8 BGR [N, S_h, S_w, 3]; otherwise as `warp_normalize_launch`."""
    size = out.shape[1:3]
    arguments = (*_frame_arguments(frames, pitch, matrix, size), *size, out)
    return Launch.over(WARP_NORMALIZE.name, "ce2p_crop", arguments, items=frames.shape[0], size=size)


def _frame_arguments(frames: ArrayAt, pitch: int, matrix: Matrix | None, size: tuple[int, ...]) -> tuple[Given, ...]:
    """What both kernels begin with: the frames, and where input pixels lie in them."""
    _, height, width, _ = frames.shape
    if min(height, width, *size) < 1 or pitch < width * 3:
        raise ValueError(
            f"expected a frame, an input and rows of {width * 3} bytes, got {(height, width)}, {size}, {pitch}"
        )
    inverse = np.zeros((2, 3)) if matrix is None else _inverted(matrix)
    return (frames, height, width, pitch, matrix is None, *inverse.flat)


WARP_NORMALIZE = FusedOp(
    "warp_normalize",
    around_network=lambda metadata, input_half, output_half: warp_normalize_source(input_half),
    in_graph=False,
)


def _inverted(matrix: Matrix) -> Matrix:
    """The 2x3 matrix that takes input pixels back to the frame."""
    return np.asarray(cv2.invertAffineTransform(_checked(matrix)), dtype=np.float64)


def _upright(rows: AxisTaps) -> AxisTaps:
    """Row taps as a column, so that they broadcast against column taps."""
    return AxisTaps(rows.low[:, np.newaxis], rows.high[:, np.newaxis], rows.weight[:, np.newaxis])


def _sample(frame: Pixels, rows: AxisTaps, cols: AxisTaps) -> Pixels:
    """Bilinear samples of uint8 [H, W, 3] at a grid of taps, rounded to uint8 [S_h, S_w, 3]."""
    row_weight, col_weight = rows.weight[..., np.newaxis], cols.weight[..., np.newaxis]
    upper = blend(frame[rows.low, cols.low], frame[rows.low, cols.high], col_weight)
    lower = blend(frame[rows.high, cols.low], frame[rows.high, cols.high], col_weight)
    return np.rint(blend(upper, lower, row_weight)).astype(np.uint8)


def _checked(matrix: Matrix) -> Matrix:
    array = np.asarray(matrix, dtype=np.float64)
    if array.shape != (2, 3) or not np.isfinite(array).all():
        raise ValueError(f"expected a finite 2x3 matrix, got shape {array.shape}: {array.tolist()}")
    return array


def _check_frame(frame: Pixels, size: Size) -> None:
    pixels = frame.ndim == 3 and frame.shape[2] == 3 and frame.dtype == np.uint8
    if not pixels or min(frame.shape) < 1 or min(size) < 1:
        raise ValueError(f"expected a uint8 BGR frame [H, W, 3] and a size, got {frame.dtype} {frame.shape}, {size}")


def _check_out(out: NDArray[np.generic] | None, shape: tuple[int, ...], dtype: type[np.generic]) -> None:
    """OpenCV silently allocates another array when `out` does not fit: refuse instead."""
    if out is not None and (out.shape != shape or out.dtype != dtype or not out.flags.c_contiguous):
        raise ValueError(f"out must be a contiguous {dtype.__name__} array {shape}, got {out.dtype} {out.shape}")
