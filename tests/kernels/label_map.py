"""Random cases of label_map's kernels: every label has the reference's greatest value, bit for bit."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

from ce2p_runtime.ops import label_map_reference, warp_labels
from ce2p_runtime.ops.bilinear import bilinear_resize
from ce2p_runtime.ops.label_map import (
    label_map_source,
    label_nearest_launch,
    label_resize_launch,
    label_warp_launch,
    reference_values,
)
from ce2p_runtime.ops.launches import KernelSource
from tests.kernels.cases import Array, Counts, Device, random_matrix, random_size

SWEPT = 600
"""Random cases in every test run."""


def variants() -> dict[str, KernelSource]:
    """Each way that the source is compiled."""
    return {
        f"{'half' if half else 'float'}-{'corners' if align else 'half_pixel'}": label_map_source(half, align)
        for half, align in product((False, True), (False, True))
    }


def _random_logits(rng: np.random.Generator, shape: tuple[int, int, int, int], half: bool) -> Array:
    """Smooth fields as networks give, plain noise, or few whole numbers, which tie everywhere."""
    kind = rng.integers(3)
    if kind == 0:
        coarse = rng.normal(0, 4, (*shape[:2], -(-shape[2] // 6), -(-shape[3] // 6))).astype(np.float32)
        logits = bilinear_resize(coarse, shape[2:], align_corners=True)
    elif kind == 1:
        logits = rng.normal(0, 3, shape).astype(np.float32)
    else:
        logits = rng.integers(-1, 2, shape).astype(np.float32)
    return np.ascontiguousarray(logits.astype(np.float16 if half else np.float32))


def check(device: Device, rng: np.random.Generator) -> Counts:
    """Resize, warp and nearest kernel on one random case."""
    half, align_corners, rotated = (bool(flag) for flag in rng.integers(2, size=3))
    items, classes = int(rng.integers(1, 4)), int(rng.integers(2, 60))
    shape = (items, classes, *random_size(rng, 40))
    input_size, frame_size = random_size(rng, 140), random_size(rng, 300)
    logits = _random_logits(rng, shape, half)
    matrix = random_matrix(rng, frame_size, input_size, rotated)
    source = label_map_source(half, align_corners)

    on_device = device.to_device(logits)
    resized = device.poisoned((items, *input_size), np.uint8)
    warped, nearest = (device.poisoned((items, *frame_size), np.uint8) for _ in range(2))
    device.run(source, label_resize_launch(on_device, resized))
    device.run(source, label_warp_launch(on_device, resized, matrix, warped))
    near = None if rng.random() < 0.3 else matrix
    device.run(source, label_nearest_launch(resized, near, nearest))
    counts = {"values": 0, "ties": 0}
    for item in range(items):
        exact = logits[item].astype(np.float32)
        where = f"{shape}, half={half}, align={align_corners}, rotated={rotated}, {input_size} -> {frame_size}"
        labels = device.to_host(resized)[item]
        _hold_labels(
            labels,
            exact,
            None,
            input_size,
            frame_size=input_size,
            align=align_corners,
            where=f"resize {where}",
            counts=counts,
        )
        found = device.to_host(warped)[item]
        _hold_labels(
            found,
            exact,
            matrix,
            input_size,
            frame_size=frame_size,
            align=align_corners,
            where=f"warp {where}",
            counts=counts,
        )
        expected = warp_labels(labels, near, frame_size)
        assert (device.to_host(nearest)[item] == expected).all(), f"nearest {where}"
    return counts


def _hold_labels(
    found: Array, logits: Array, matrix: Any, input_size: Any, frame_size: Any, align: bool, where: str, counts: Counts
) -> None:
    """Every label has the reference's greatest value, bit for bit; it is another class only in a tie."""
    expected = label_map_reference(logits, matrix, input_size, frame_size, align_corners=align)
    differ = found != expected
    counts["values"] += found.size
    counts["ties"] += int(differ.sum())
    if not differ.any():
        return
    assert found.max() < len(logits), f"{where}: label {found.max()} of {len(logits)} classes"
    for rows, values in reference_values(logits, matrix, input_size, frame_size, align):
        chosen = np.take_along_axis(values, found[rows][np.newaxis].astype(np.intp), axis=0)[0]
        assert (chosen == values.max(axis=0)).all(), f"{where}: a label that is not the best class"
