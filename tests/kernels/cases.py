"""Random cases for each kernel: draw inputs, run the kernel on a device, hold the result against the reference.

The device is whatever can copy and launch: the emulation on the CPU in every test run, a GPU in `make gpu-check`. Every
output is poisoned first, so an element that no thread wrote is found. A case that fails raises AssertionError with its
sizes; what it counts comes back as a dict.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ce2p_runtime.model_files.metadata import Normalisation
from ce2p_runtime.ops import (
    crop_reference,
    edge_fusion_reference,
    label_map_reference,
    warp_labels,
    warp_normalize_reference,
)
from ce2p_runtime.ops.bilinear import bilinear_resize
from ce2p_runtime.ops.label_map import reference_values
from ce2p_runtime.ops.launches import (
    KernelSource,
    Launch,
    crop_launch,
    edge_fusion_launch,
    edge_fusion_source,
    fusion_step,
    label_map_source,
    label_nearest_launch,
    label_resize_launch,
    label_warp_launch,
    warp_normalize_launch,
    warp_normalize_source,
)

Array = NDArray[Any]
Counts = dict[str, int]

POISON = 0xA7
"""Byte that fills every output before the launch: no label, and a strange float."""
CLASS_COUNTS = range(2, 60)
FEW_CLASS_COUNTS = (2, 18, 20, 25, 59)
"""For branches of other sizes than most networks have: each pair of both is compiled by itself."""
FLOAT_ROUNDING, HALF_ROUNDING = 2.0**-24, 2.0**-11
"""Largest relative error of one rounding."""


class Device(Protocol):
    """Memory and launches."""

    def to_device(self, array: Array) -> int:
        """Copy to the device; the address stays valid until `free_all`."""

    def poisoned(self, shape: tuple[int, ...], dtype: Any) -> int:
        """New memory full of POISON bytes."""

    def to_host(self, address: int) -> Array:
        """The array at an address that `to_device` or `poisoned` gave, after everything launched so far."""

    def run(self, source: KernelSource, launch: Launch) -> None:
        """Launch a kernel of a source."""

    def free_all(self) -> None:
        """Free everything."""


def random_size(rng: np.random.Generator, largest: int) -> tuple[int, int]:
    """Height and width from 1 to `largest`: small ones often, multiples of 4 and squares too."""
    height, width = (round(largest ** rng.random()) for _ in range(2))
    return [(height, width), (height, -(-width // 4) * 4), (height, height)][rng.integers(3)]


def random_matrix(
    rng: np.random.Generator, source: tuple[int, int], target: tuple[int, int], rotated: bool
) -> NDArray[np.float64]:
    """An affine from source pixels to target pixels whose picture overlaps the target, mostly."""
    scale = max(target) / max(source) * 2.0 ** rng.uniform(-1, 1)
    angle = rng.uniform(-np.pi, np.pi) if rotated else 0.0
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    turn[np.abs(turn) < 1e-12] = 0.0
    middle = np.array([(target[1] - 1) / 2, (target[0] - 1) / 2]) + rng.normal(0, 0.2 * max(target), 2)
    shift = middle - turn @ [(source[1] - 1) / 2, (source[0] - 1) / 2]
    if rng.random() < 0.3:  # whole numbers put samples exactly on pixels
        shift = np.round(shift)
    return np.column_stack([turn, shift])


def random_logits(rng: np.random.Generator, shape: tuple[int, int, int, int], half: bool) -> Array:
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


def check_label_map(device: Device, rng: np.random.Generator) -> Counts:
    """Resize, warp and nearest kernel on one random case."""
    half, align_corners, rotated = (bool(flag) for flag in rng.integers(2, size=3))
    items, classes = int(rng.integers(1, 4)), int(rng.integers(2, 60))
    shape = (items, classes, *random_size(rng, 40))
    input_size, frame_size = random_size(rng, 140), random_size(rng, 300)
    logits = random_logits(rng, shape, half)
    matrix = random_matrix(rng, frame_size, input_size, rotated)
    source = label_map_source(half, align_corners)

    on_device = device.to_device(logits)
    resized = device.poisoned((items, *input_size), np.uint8)
    warped, nearest = (device.poisoned((items, *frame_size), np.uint8) for _ in range(2))
    device.run(source, label_resize_launch(on_device, shape, input_size, resized))
    device.run(source, label_warp_launch(on_device, shape, resized, matrix, input_size, frame_size, warped))
    near = None if rng.random() < 0.3 else matrix
    device.run(source, label_nearest_launch(resized, items, input_size, near, frame_size, nearest))
    counts = {"pixels": 0, "ties": 0}
    for item in range(items):
        exact = logits[item].astype(np.float32)
        where = f"{shape}, half={half}, align={align_corners}, rotated={rotated}, {input_size} -> {frame_size}"
        labels = device.to_host(resized)[item]
        _hold_labels(labels, exact, None, input_size, input_size, align_corners, f"resize {where}", counts)
        found = device.to_host(warped)[item]
        _hold_labels(found, exact, matrix, input_size, frame_size, align_corners, f"warp {where}", counts)
        expected = warp_labels(labels, near, frame_size)
        assert (device.to_host(nearest)[item] == expected).all(), f"nearest {where}"
    return counts


def _hold_labels(
    found: Array, logits: Array, matrix: Any, input_size: Any, frame_size: Any, align: bool, where: str, counts: Counts
) -> None:
    """Every label has the reference's greatest value, bit for bit; it is another class only in a tie."""
    expected = label_map_reference(logits, matrix, input_size, frame_size, align_corners=align)
    differ = found != expected
    counts["pixels"] += found.size
    counts["ties"] += int(differ.sum())
    if not differ.any():
        return
    assert found.max() < len(logits), f"{where}: label {found.max()} of {len(logits)} classes"
    for rows, values in reference_values(logits, matrix, input_size, frame_size, align):
        chosen = np.take_along_axis(values, found[rows][np.newaxis].astype(np.intp), axis=0)[0]
        assert (chosen == values.max(axis=0)).all(), f"{where}: a label that is not the best class"


def check_warp_normalize(device: Device, rng: np.random.Generator) -> Counts:
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

    frames = device.to_device(rows)
    tensor, pixels = device.poisoned((items, 3, *size), dtype), device.poisoned((items, *size, 3), np.uint8)
    device.run(source, warp_normalize_launch(frames, frame_size, pitch, matrix, size, normalisation, tensor, items))
    device.run(source, crop_launch(frames, frame_size, pitch, matrix, size, pixels, items))
    where = f"{frame_size} pitch {pitch} -> {size}, half={half}, resize={resize}, rotated={rotated}"
    for item in range(items):
        frame = np.ascontiguousarray(rows[item, :, : frame_size[1] * 3].reshape(*frame_size, 3))
        assert (device.to_host(pixels)[item] == crop_reference(frame, matrix, size)).all(), f"crop {where}"
        expected = warp_normalize_reference(frame, matrix, size, normalisation)
        error = np.abs(device.to_host(tensor)[item].astype(np.float64) - expected)
        assert (error <= _normalise_bound(expected, normalisation, half)).all(), f"{error.max():.2e}: {where}"
    return {"pixels": items * size[0] * size[1]}


def _normalise_bound(expected: Array, normalisation: Normalisation, half: bool) -> Array:
    """p·gain + offset with both constants rounded to float: three roundings, none larger than the terms allow.

    |offset| <= mean/std and |p·gain| <= |out| + |offset|. Half adds the rounding of the result.
    """
    offset = np.max(np.divide(normalisation.mean, normalisation.std))
    terms = np.abs(expected) + 2 * offset
    bound: Array = 3 * FLOAT_ROUNDING * terms
    return bound + np.abs(expected) * HALF_ROUNDING + 2.0**-25 if half else bound


def check_edge_fusion(device: Device, rng: np.random.Generator, class_counts: Sequence[int] = CLASS_COUNTS) -> Counts:
    """One random case of the network's last stage, with one of the given class counts."""
    half, align_corners = (bool(flag) for flag in rng.integers(2, size=2))
    items, channels = int(rng.integers(1, 4)), int(rng.integers(1, 70))
    sizes = _branch_sizes(rng)
    heights = (sizes[0][0], sizes[1][0], sizes[2][0])
    usual = [fusion_step(height, heights[0], align_corners) for height in heights[1:]] == [2, 4]
    count = int(rng.choice(class_counts if usual else [c for c in class_counts if c in FEW_CLASS_COUNTS]))
    dtype = np.float16 if half else np.float32
    slope = 0.01
    branches = [rng.normal(0, 1, (items, channels, *size)).astype(dtype) for size in sizes]
    weight = rng.normal(0, 1, (count, channels)).astype(dtype)
    bias = rng.normal(0, 1, count).astype(dtype)

    addresses = tuple(device.to_device(branch) for branch in branches)
    logits = device.poisoned((items, count, *sizes[0]), dtype)
    launch = edge_fusion_launch(
        (addresses[0], addresses[1], addresses[2]),
        sizes,
        items,
        channels,
        device.to_device(weight),
        device.to_device(bias),
        logits,
    )
    device.run(edge_fusion_source(half, count, align_corners, slope, heights), launch)
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
