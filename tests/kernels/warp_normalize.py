"""Random cases of warp_normalize's kernels, with their bounds."""

from __future__ import annotations

import numpy as np

from ce2p_runtime.model_files.metadata import Normalisation
from ce2p_runtime.ops import crop_reference, warp_normalize_reference
from ce2p_runtime.ops.launches import ArrayAt, KernelSource
from ce2p_runtime.ops.warp_normalize import crop_launch, warp_normalize_launch, warp_normalize_source
from tests.kernels.cases import FLOAT_ROUNDING, HALF_ROUNDING, Array, Counts, Device, random_matrix, random_size

SWEPT = 750
"""Random cases in every test run."""


def variants() -> dict[str, KernelSource]:
    """Each way that the source is compiled."""
    return {"float": warp_normalize_source(False), "half": warp_normalize_source(True)}


def check(device: Device, rng: np.random.Generator) -> Counts:
    """Input tensor and crop of one random case; frames with padded rows, several at once."""
    half, resize, rotated = (bool(flag) for flag in rng.integers(2, size=3))
    items = int(rng.integers(1, 4))
    frame_size, size = random_size(rng, 200), random_size(rng, 200)
    pitch = frame_size[1] * 3 + int(rng.integers(0, 9)) * int(rng.integers(2))
    rows = rng.integers(0, 256, (items, frame_size[0], pitch), dtype=np.uint8)
    matrix = None if resize else random_matrix(rng, frame_size, size, rotated)
    normalisation = Normalisation(
        ("bgr", "rgb")[rng.integers(2)],
        (1.0, 1 / 255)[rng.integers(2)],
        tuple(rng.uniform(0.3, 0.6, 3)),
        tuple(rng.uniform(0.2, 0.3, 3)),
    )
    source = warp_normalize_source(half)
    dtype = np.float16 if half else np.float32

    frames = ArrayAt(device.to_device(rows).address, (items, *frame_size, 3))
    tensor, pixels = device.poisoned((items, 3, *size), dtype), device.poisoned((items, *size, 3), np.uint8)
    device.run(source, warp_normalize_launch(frames, pitch, matrix, normalisation, tensor))
    device.run(source, crop_launch(frames, pitch, matrix, pixels))
    where = f"{frame_size} pitch {pitch} -> {size}, half={half}, resize={resize}, rotated={rotated}"
    for item in range(items):
        frame = np.ascontiguousarray(rows[item, :, : frame_size[1] * 3].reshape(*frame_size, 3))
        assert (device.to_host(pixels)[item] == crop_reference(frame, matrix, size)).all(), f"crop {where}"
        expected = warp_normalize_reference(frame, matrix, size, normalisation)
        error = np.abs(device.to_host(tensor)[item].astype(np.float64) - expected)
        assert (error <= _normalise_bound(expected, normalisation, half)).all(), f"{error.max():.2e}: {where}"
    return {"values": items * size[0] * size[1]}


def _normalise_bound(expected: Array, normalisation: Normalisation, half: bool) -> Array:
    """p·gain + offset with both constants rounded to float: three roundings, none larger than the terms allow.

    |offset| <= mean/std and |p·gain| <= |out| + |offset|. Half adds the rounding of the result.
    """
    offset = np.max(np.divide(normalisation.mean, normalisation.std))
    terms = np.abs(expected) + 2 * offset
    bound: Array = 3 * FLOAT_ROUNDING * terms
    return bound + np.abs(expected) * HALF_ROUNDING + 2.0**-25 if half else bound
