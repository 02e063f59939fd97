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

import numpy as np
from numpy.typing import NDArray

from .bilinear import bilinear_resize

__all__ = ["edge_fusion_reference"]

Floats = NDArray[np.float32]


def edge_fusion_reference(
    a: Floats,
    b: Floats,
    c: Floats,
    weight: Floats,
    bias: Floats,
    *,
    slope: float,
    align_corners: bool,
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
