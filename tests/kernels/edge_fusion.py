"""Random cases of edge_fusion's kernel, with their bound."""

from __future__ import annotations

from itertools import product

import numpy as np

from ce2p_runtime.ops import edge_fusion_reference
from ce2p_runtime.ops.edge_fusion import edge_fusion_launch, edge_fusion_source, fusion_step
from ce2p_runtime.ops.launches import KernelSource
from tests.kernels.cases import CLASS_COUNTS, FLOAT_ROUNDING, HALF_ROUNDING, Array, Counts, Device, random_size

SWEPT = 125
"""Random cases in every test run."""
FEW_CLASS_COUNTS = (2, 18, 20, 25, 59)
"""For branches of other sizes than most networks have: each pair of both is compiled by itself."""
SHAPES = (
    ("os16", True, (119, 60, 30)),
    ("os16_half_pixel", False, (128, 64, 32)),
    ("os8", True, (119, 60, 60)),
    ("any", True, (50, 40, 30)),
)
"""Name, align_corners and the heights of the branches: each way the kernel reads them."""
FULLEST = (12, 20, 59)
"""The class counts that leave a thread the most sums, and so the fewest registers for reading the branches: in one and
in two groups of classes where it has 128 registers (up to 20 classes), and of all where it has 255."""


def variants() -> dict[str, KernelSource]:
    """Each class count and each way to read the branches; together where a thread has the most sums."""
    return {
        f"{classes}-{'half' if half else 'float'}-{name}": edge_fusion_source(half, classes, align, 0.01, heights)
        for classes, half, (name, align, heights) in product(CLASS_COUNTS, (False, True), SHAPES)
        if name == "os16" or classes in FULLEST
    }


def check(device: Device, rng: np.random.Generator) -> Counts:
    """One random case of the network's last stage, with one of the device's class counts."""
    half, align_corners = (bool(flag) for flag in rng.integers(2, size=2))
    items, channels = int(rng.integers(1, 4)), int(rng.integers(1, 70))
    sizes = _branch_sizes(rng)
    heights = (sizes[0][0], sizes[1][0], sizes[2][0])
    as_in_networks = [fusion_step(height, heights[0], align_corners) for height in heights[1:]] == [2, 4]
    counts = device.class_counts if as_in_networks else [n for n in device.class_counts if n in FEW_CLASS_COUNTS]
    count = int(rng.choice(counts))
    dtype = np.float16 if half else np.float32
    slope = 0.01
    branches = [rng.normal(0, 1, (items, channels, *size)).astype(dtype) for size in sizes]
    weight = rng.normal(0, 1, (count, channels)).astype(dtype)
    bias = rng.normal(0, 1, count).astype(dtype)

    logits = device.poisoned((items, count, *sizes[0]), dtype)
    given = [device.to_device(branch) for branch in branches], device.to_device(weight), device.to_device(bias)
    device.run(edge_fusion_source(half, count, align_corners, slope, heights), edge_fusion_launch(*given, logits))
    a, b, c, weight, bias = (x.astype(np.float32) for x in (*branches, weight, bias))
    # With the unit matrix as classifier the reference gives the fused values themselves.
    unit, zero = np.eye(channels, dtype=np.float32), np.zeros(channels, np.float32)
    fused = edge_fusion_reference(a, b, c, unit, zero, slope=slope, align_corners=align_corners)
    # And on absolute values, how large the terms were before they cancelled.
    sizes_of_terms = edge_fusion_reference(abs(a), abs(b), abs(c), unit, zero, slope=1.0, align_corners=align_corners)
    columns = fused.reshape(items, channels, -1).astype(np.float64)
    expected = (weight.astype(np.float64) @ columns + bias[:, np.newaxis]).reshape(items, count, *sizes[0])
    columns = sizes_of_terms.reshape(items, channels, -1).astype(np.float64)
    terms = (np.abs(weight).astype(np.float64) @ columns + np.abs(bias)[:, np.newaxis]).reshape(expected.shape)
    error = np.abs(device.to_host(logits).astype(np.float64) - expected)
    bound = _fusion_bound(expected, terms, channels, half)
    where = f"{items}x{channels} {sizes} -> {count} classes, half={half}, align={align_corners}"
    assert (error <= bound).all(), f"{np.nanmax(error / bound):.2f} of the bound: {where}"
    return {"values": expected.size}


def _branch_sizes(rng: np.random.Generator) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    """Of a, b and c: as networks of output stride 16 or 8 have them, or anything."""
    a = random_size(rng, 60)
    kind = rng.integers(3)
    if kind == 2:
        return a, random_size(rng, 40), random_size(rng, 20)
    half, quarter = ((-(-a[0] // step), -(-a[1] // step)) for step in (2, 4))
    return a, half, quarter if kind else half


def _fusion_bound(expected: Array, terms: Array, channels: int, half: bool) -> Array:
    """A sum of K products in float, in any order, is off by at most about K roundings of the sum of magnitudes.

    Eight more cover the interpolations, the bias and the partial sums. Half rounds each fused value once and the logit
    once.
    """
    bound: Array = (channels + 8) * FLOAT_ROUNDING * terms
    return bound + HALF_ROUNDING * (terms + np.abs(expected)) + 2.0**-24 if half else bound
