"""edge_fusion: the last stage of the network, from three branches to class logits in one go.

    logits = W · leaky(a + up(b) + up(c)) + bias

The public networks concatenate three upsampled branches and apply a 1x1 convolution, BatchNorm, activation
and the 1x1 classifier. A 1x1 convolution commutes with bilinear upsampling, so the exporter applies its part
to each branch at the branch's own resolution (with BatchNorm folded in): `a`, `b` and `c` are those results,
and `up` brings `b` and `c` to the size of `a`. `leaky(v) = v if v >= 0 else slope·v`: slope 0.01 for
InPlaceABN, 0 for ReLU.

On the CPU the backends run this from the graph (ONNX op `ce2p::CE2PEdgeFusion` with its function body); this
module is the definition that the body and the CUDA kernel are tested against.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .bilinear import bilinear_resize
from .launches import ArrayAt, FusedOp, Given, KernelSource, Launch

Floats = NDArray[np.float32]

EDGE_FUSION = FusedOp("edge_fusion", around_network=None, in_graph=True)
FUSION_TILE = (8, 32)
"""Rows and columns of output pixels per block of ce2p_edge_fusion (kRows, kCols)."""


def edge_fusion_reference(
    a: Floats, b: Floats, c: Floats, weight: Floats, bias: Floats, *, slope: float, align_corners: bool
) -> Floats:
    """Logits float32 [N, C, h4, w4] of the three branches, everything float32.

    `a` [N, K, h4, w4], `b` [N, K, h8, w8], `c` [N, K, h16, w16]; classifier `weight` [C, K] and `bias` [C].
    `align_corners` is the network's bilinear convention. Raises ValueError when the shapes do not fit
    together.
    """
    _check_shapes(a, b, c, weight, bias)
    size = (a.shape[2], a.shape[3])
    fused = a + bilinear_resize(b, size, align_corners) + bilinear_resize(c, size, align_corners)
    fused = np.where(fused >= 0, fused, fused * np.float32(slope))
    items, channels = fused.shape[:2]
    logits = weight @ fused.reshape(items, channels, -1) + bias[:, np.newaxis]
    return logits.reshape(items, len(weight), *size)


def edge_fusion_source(
    half: bool, classes: int, align_corners: bool, slope: float, heights: Sequence[int]
) -> KernelSource:
    """ce2p_edge_fusion for one network; `heights` of a, b and c in pixels. Raises ValueError above 64 classes."""
    if not 1 <= classes <= 64:
        raise ValueError(f"edge_fusion is made for 1 to 64 classes, got {classes}")
    return KernelSource.of(
        EDGE_FUSION.name,
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


def edge_fusion_launch(branches: Sequence[ArrayAt], weight: ArrayAt, bias: ArrayAt, logits: ArrayAt) -> Launch:
    """Branches a, b, c [N, K, h, w], weight [C, K] and bias [C] to logits [N, C, h4, w4]."""
    items, channels, *size = branches[0].shape
    sizes = (side for branch in branches for side in branch.shape[2:])
    arguments: tuple[Given, ...] = (*branches, weight, bias, channels, *sizes, logits)
    return Launch.over(EDGE_FUSION.name, "ce2p_edge_fusion", arguments, items=items, size=tuple(size), tile=FUSION_TILE)


def _check_shapes(a: Floats, b: Floats, c: Floats, weight: Floats, bias: Floats) -> None:
    shapes = {"a": a.shape, "b": b.shape, "c": c.shape, "weight": weight.shape, "bias": bias.shape}
    if not (
        a.ndim == b.ndim == c.ndim == 4
        and a.shape[:2] == b.shape[:2] == c.shape[:2]
        and weight.ndim == 2
        and weight.shape[1] == a.shape[1]
        and bias.shape == weight.shape[:1]
    ):
        raise ValueError(f"expected a, b, c [N, K, h, w], weight [C, K] and bias [C] that fit together, got {shapes}")
    wrong = {name: str(x.dtype) for name, x in zip("abc", (a, b, c), strict=True) if x.dtype != np.float32}
    if wrong or weight.dtype != np.float32 or bias.dtype != np.float32:
        raise ValueError(f"expected float32 everywhere, got {wrong or {'weight': weight.dtype, 'bias': bias.dtype}}")
