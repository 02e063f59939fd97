"""How each CUDA kernel is launched: name, grid, block and arguments, as plain data.

One place decides this for everybody who runs a kernel: the runtime (pycuda), the TensorRT plugins, the GPU benchmarks,
and the tests, which compile the same .cu files as C++ and run them on the CPU. Nothing here imports CUDA.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..model_files.metadata import Normalisation
from .bilinear import settle_matrix
from .label_map import area_matrix
from .warp_normalize import invert_affine

__all__ = [
    "BLOCK",
    "FUSION_TILE",
    "LABEL_TILE",
    "Argument",
    "KernelSource",
    "Launch",
    "crop_launch",
    "edge_fusion_launch",
    "edge_fusion_source",
    "fusion_step",
    "label_map_source",
    "label_nearest_launch",
    "label_resize_launch",
    "label_warp_launch",
    "warp_normalize_launch",
    "warp_normalize_source",
]

Argument: TypeAlias = np.uint64 | np.int32 | np.float32 | np.float64
"""A kernel argument: device address, int, float or double."""
Size: TypeAlias = tuple[int, int]
Matrix: TypeAlias = NDArray[np.float64]

BLOCK = (256, 1, 1)
"""Threads per block of every kernel."""
_FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class KernelSource:
    """A .cu file with the constants it is compiled for."""

    file: Path
    defines: tuple[tuple[str, str], ...]
    """(name, value) of each -D, sorted by name."""


@dataclass(frozen=True)
class Launch:
    """One kernel launch."""

    kernel: str
    grid: tuple[int, int, int]
    arguments: tuple[Argument, ...]
    block: tuple[int, int, int] = BLOCK


LABEL_TILE: Size = (16, 128)
"""Rows and columns of output pixels per block of the kernels that write pictures (kTileRows, kTileCols)."""
FUSION_TILE: Size = (8, 32)
"""The same for ce2p_edge_fusion (kRows, kCols)."""


def warp_normalize_source(half: bool) -> KernelSource:
    """ce2p_warp_normalize (float or half output) and ce2p_crop."""
    return _source("warp_normalize.cu", CE2P_HALF=int(half))


def label_map_source(half: bool, align_corners: bool) -> KernelSource:
    """ce2p_label_resize, ce2p_label_warp and ce2p_label_nearest, for float or half logits."""
    return _source("label_map.cu", CE2P_HALF=int(half), CE2P_ALIGN_CORNERS=int(align_corners))


def edge_fusion_source(
    half: bool, classes: int, align_corners: bool, slope: float, heights: tuple[int, int, int]
) -> KernelSource:
    """ce2p_edge_fusion for one network; `heights` of a, b and c in pixels. Raises ValueError above 64 classes."""
    if not 1 <= classes <= 64:
        raise ValueError(f"edge_fusion is made for 1 to 64 classes, got {classes}")
    return _source(
        "edge_fusion.cu",
        CE2P_HALF=int(half),
        CE2P_CLASSES=classes,
        CE2P_ALIGN_CORNERS=int(align_corners),
        CE2P_SLOPE=f"{float(slope)!r}f",
        CE2P_STEP8=fusion_step(heights[1], heights[0], align_corners),
        CE2P_STEP16=fusion_step(heights[2], heights[0], align_corners),
    )


def fusion_step(source: int, target: int, align_corners: bool) -> int:
    """How edge_fusion.cu may read a branch of `source` rows for `target` rows: 2 or 4 rows share three, or 0: any way.

    Row r of an 8-row tile falls r·scale below the tile's first row, whose place between two source rows is anything in
    [0, 1). The kernel expects floor(phase + r·scale) in {near, near + 1} with near = (r - 1) // step, hence
    near <= r·scale and r·scale <= near + 1 for r = 1 to 7: scale in [3/7, 1/2] for 2, in [1/5, 1/4] for 4.
    """
    scale = source / target
    if align_corners:
        scale = (source - 1) / (target - 1) if target > 1 else 0.0
    if 3 / 7 <= scale <= 1 / 2:
        return 2
    return 4 if 1 / 5 <= scale <= 1 / 4 else 0


def warp_normalize_launch(
    frames: int,
    frame_size: Size,
    pitch: int,
    matrix: Matrix | None,
    input_size: Size,
    normalisation: Normalisation,
    out: int,
    items: int = 1,
) -> Launch:
    """Frames of one size to the network's input [items, 3, S_h, S_w]; meaning and errors as `warp_normalize`.

    `frames`: device address of uint8 BGR [items, H, pitch] with packed pixels; `pitch`: bytes from row to row; `out`:
    device address, aligned to 16 bytes.
    """
    gain = [normalisation.scale / std for std in normalisation.std]
    offset = [-mean / std for mean, std in zip(normalisation.mean, normalisation.std, strict=True)]
    arguments = (
        *_frame_arguments(frames, frame_size, pitch, matrix, input_size),
        *map(np.float32, gain),
        *map(np.float32, offset),
        np.int32(normalisation.colour_order == "rgb"),
        *_ints(*input_size),
        np.uint64(out),
    )
    return Launch("ce2p_warp_normalize", _grid(input_size, LABEL_TILE, items), arguments)


def crop_launch(
    frames: int, frame_size: Size, pitch: int, matrix: Matrix | None, input_size: Size, out: int, items: int = 1
) -> Launch:
    """Frames of one size to input pixels, uint8 BGR [items, S_h, S_w, 3]; otherwise as `warp_normalize_launch`."""
    source = _frame_arguments(frames, frame_size, pitch, matrix, input_size)
    return Launch("ce2p_crop", _grid(input_size, LABEL_TILE, items), (*source, *_ints(*input_size), np.uint64(out)))


def label_resize_launch(logits: int, shape: tuple[int, int, int, int], size: Size, labels: int) -> Launch:
    """Logits [N, C, h, w] = `shape` to uint8 labels [N, *size]: best class of the bilinear resize."""
    items, classes, height, width = shape
    arguments = (np.uint64(logits), *_ints(classes, height, width, *size), np.uint64(labels))
    return Launch("ce2p_label_resize", _grid(size, LABEL_TILE, items), arguments)


def label_warp_launch(
    logits: int,
    shape: tuple[int, int, int, int],
    input_labels: int,
    matrix: Matrix,
    input_size: Size,
    frame_size: Size,
    labels: int,
) -> Launch:
    """Labels of frames, uint8 [N, *frame_size], as `label_map` defines them with a matrix.

    `input_labels`: what `label_resize_launch` made of the same logits at `input_size`, uint8 [N, S_h, S_w].
    """
    items, classes, height, width = shape
    arguments = (
        np.uint64(logits),
        *_ints(classes, height, width),
        np.uint64(input_labels),
        *_ints(*input_size),
        *_doubles(settle_matrix(matrix, frame_size)),
        *_ints(*frame_size),
        np.uint64(labels),
    )
    return Launch("ce2p_label_warp", _grid(frame_size, LABEL_TILE, items), arguments)


def label_nearest_launch(
    input_labels: int, items: int, input_size: Size, matrix: Matrix | None, frame_size: Size, labels: int
) -> Launch:
    """Labels of frames, uint8 [N, *frame_size], from input labels by nearest neighbour: `warp_labels`."""
    if matrix is None:
        matrix = area_matrix(input_size, frame_size)
    arguments = (
        np.uint64(input_labels),
        *_ints(*input_size),
        *_doubles(settle_matrix(matrix, frame_size)),
        *_ints(*frame_size),
        np.uint64(labels),
    )
    return Launch("ce2p_label_nearest", _grid(frame_size, LABEL_TILE, items), arguments)


def edge_fusion_launch(
    branches: tuple[int, int, int],
    sizes: tuple[Size, Size, Size],
    items: int,
    channels: int,
    weight: int,
    bias: int,
    logits: int,
) -> Launch:
    """Branches a, b, c (addresses and (h, w) of each, all [items, channels, h, w]) to logits [items, C, h4, w4]."""
    arguments = (
        *map(np.uint64, (*branches, weight, bias)),
        *_ints(channels, *sizes[0], *sizes[1], *sizes[2]),
        np.uint64(logits),
    )
    return Launch("ce2p_edge_fusion", _grid(sizes[0], FUSION_TILE, items), arguments)


def _source(name: str, **defines: str | int) -> KernelSource:
    return KernelSource(_FOLDER / name, tuple(sorted((key, str(value)) for key, value in defines.items())))


def _grid(size: Size, tile: Size, items: int) -> tuple[int, int, int]:
    if items < 1 or min(size) < 1:
        raise ValueError(f"expected at least one item and pixel, got {items} items of size {size}")
    return (-(-size[1] // tile[1]), -(-size[0] // tile[0]), items)


def _ints(*values: int) -> tuple[np.int32, ...]:
    return tuple(np.int32(value) for value in values)


def _doubles(matrix: Matrix) -> tuple[np.float64, ...]:
    return tuple(np.float64(value) for value in matrix.reshape(-1))


def _frame_arguments(
    frames: int, frame_size: Size, pitch: int, matrix: Matrix | None, input_size: Size
) -> tuple[Argument, ...]:
    """What ce2p_warp_normalize and ce2p_crop begin with: the frames, and where input pixels lie in them."""
    height, width = frame_size
    if min(*frame_size, *input_size) < 1 or pitch < width * 3:
        raise ValueError(
            f"expected a frame, an input and rows of {width * 3} bytes, got {frame_size}, {input_size}, {pitch}"
        )
    inverse = np.zeros((2, 3)) if matrix is None else invert_affine(matrix)
    return (np.uint64(frames), *_ints(height, width, pitch, matrix is None), *_doubles(inverse))
