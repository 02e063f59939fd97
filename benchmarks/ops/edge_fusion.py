"""edge_fusion on the GPU. On a CPU it is part of the network's graph, so it has no way of its own there."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import product

import numpy as np

from benchmarks.gpu.targets import predicted_fusion_ms
from benchmarks.ops.cases import CLASSES, CpuCase, CpuSizes, GpuCase, Scale, close, gpu_case
from ce2p_runtime.ops import edge_fusion_reference
from ce2p_runtime.ops.edge_fusion import edge_fusion_launch, edge_fusion_source
from ce2p_runtime.ops.launches import ArrayAt, KernelSource, Launch
from tests.kernels.cases import Device

_WAYS = list(product((False, True), (False, True)))
"""(half precision, whether by the way that serves branches of any sizes)."""


def cpu_cases(sizes: CpuSizes) -> Iterator[CpuCase]:
    """None."""
    return iter(())


def gpu_sources(scale: Scale) -> list[KernelSource]:
    """All that is compiled for the cases."""
    return [_source(scale, *way) for way in _WAYS]


def gpu_cases(device: Device, scale: Scale, batch: int) -> Iterator[GpuCase]:
    """The shapes of a SCHP network, in float and half, the short way and the one for any sizes."""
    return (_case(device, scale, batch, *way) for way in _WAYS)


def _source(scale: Scale, half: bool, any_sizes: bool) -> KernelSource:
    heights = [height for height, _ in scale.branches]
    if any_sizes:  # three equal heights have a ratio that the kernel has no shorter way for
        heights = heights[:1] * 3
    return edge_fusion_source(half, CLASSES, True, 0.01, heights)


def _case(device: Device, scale: Scale, batch: int, half: bool, any_sizes: bool) -> GpuCase:
    dtype, size = (np.float16, 2) if half else (np.float32, 4)
    rng = np.random.default_rng(batch)
    one = [rng.standard_normal((scale.channels, *shape), np.float32).astype(dtype) for shape in scale.branches]
    weight = rng.standard_normal((CLASSES, scale.channels), np.float32).astype(dtype)
    bias = rng.standard_normal(CLASSES, np.float32).astype(dtype)
    classifier = device.to_device(weight), device.to_device(bias)

    def allocate() -> tuple[list[Launch], ArrayAt]:
        branches = [device.to_device(np.broadcast_to(branch, (batch, *branch.shape))) for branch in one]
        logits = device.poisoned((batch, CLASSES, *scale.branches[0]), dtype)
        return [edge_fusion_launch(branches, *classifier, logits)], logits

    points = scale.branches[0][0] * scale.branches[0][1]
    # 2 per class and channel on the classifier's unit; about 20 per channel for two interpolations on the plain one.
    products, rest = 2.0 * batch * points * scale.channels * CLASSES, 20.0 * batch * points * scale.channels
    a, b, c, w, bias32 = (x.astype(np.float32) for x in (*(x[None] for x in one), weight, bias))
    expected = edge_fusion_reference(a, b, c, w, bias32, slope=0.01, align_corners=True)[0]
    return gpu_case(
        device,
        scale,
        _source(scale, half, any_sizes),
        name=f"edge_fusion {'fp16' if half else 'fp32'}{', any sizes' if any_sizes else ''}",
        batch=batch,
        moved=batch * size * (scale.channels * sum(h * w for h, w in scale.branches) + CLASSES * points),
        float_work=rest if half else rest + products,
        half_work=products if half else 0.0,
        allocate=allocate,
        hold=close(expected, 2e-3 if half else 1e-5),
        predicted_ms=partial(
            predicted_fusion_ms, batch * points, scale.channels, CLASSES, half=half, any_sizes=any_sizes
        ),
    )
