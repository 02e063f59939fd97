"""What kernel_times measures: each kernel on one batch with its ideal bytes and work, held against its reference first.

A wrong kernel raises AssertionError here, so its times are never taken.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.gpu.device import GpuDevice
from benchmarks.scenes import photo
from ce2p_runtime.geometry import frame_mapping
from ce2p_runtime.model_files.metadata import Geometry, Normalisation
from ce2p_runtime.ops import edge_fusion_reference, label_map_reference, warp_normalize_reference
from ce2p_runtime.ops.edge_fusion import edge_fusion_launch, edge_fusion_source
from ce2p_runtime.ops.label_map import label_map_source, label_resize_launch, label_warp_launch
from ce2p_runtime.ops.launches import ArrayAt, KernelSource, Launch
from ce2p_runtime.ops.warp_normalize import warp_normalize_launch, warp_normalize_source

__all__ = ["CLASSES", "SCALES", "SCHP", "Case", "Scale", "fusion_case", "label_case", "sources", "warp_case"]

CLASSES = 20
SCHP = Geometry("affine", half_pixel=False, centre="float", unwarp="logits")
IMAGENET = Normalisation("bgr", 1 / 255, (0.406, 0.456, 0.485), (0.225, 0.224, 0.229))

Size = tuple[int, int]


@dataclass(frozen=True)
class Scale:
    """How large everything is."""

    channels: int
    branches: tuple[Size, Size, Size]
    """Of a, b and c of edge_fusion; the first is also the size of the logits."""
    network: Size
    frame: Size
    batches: tuple[int, ...]
    rotated_bytes: int
    """Buffer sets are added until they hold this much: more than any cache, so that replays read memory."""
    copied_bytes: int
    """Of the copy that measures bandwidth."""


SCALES = {
    "full": Scale(256, ((119, 119), (60, 60), (30, 30)), (473, 473), (1080, 1920), (1, 16), 256 << 20, 1 << 30),
    # To try this program itself where kernels are slow.
    "tiny": Scale(24, ((25, 25), (13, 13), (7, 7)), (97, 97), (108, 192), (1, 2), 1 << 18, 1 << 20),
}


@dataclass(frozen=True)
class Case:
    """One kernel, or the two of label_map, on one batch."""

    name: str
    batch: int
    moved: float
    """Ideal bytes: every input read once, every output written once."""
    float_work: float
    half_work: float
    steps: tuple[Callable[[], object], ...]
    """Each runs it on another set of buffers."""


def sources(scale: Scale) -> list[KernelSource]:
    """All that is compiled for these cases."""
    halves = (False, True)
    fusion = [_fusion_source(scale, half, any_sizes) for half in halves for any_sizes in halves]
    return [*fusion, *map(warp_normalize_source, halves), label_map_source(False, True)]


def _fusion_source(scale: Scale, half: bool, any_sizes: bool) -> KernelSource:
    heights = [height for height, _ in scale.branches]
    if any_sizes:  # three equal heights have a ratio that the kernel has no shorter way for
        heights = heights[:1] * 3
    return edge_fusion_source(half, CLASSES, True, 0.01, (heights[0], heights[1], heights[2]))


def fusion_case(device: GpuDevice, scale: Scale, batch: int, half: bool, any_sizes: bool = False) -> Case:
    """edge_fusion with the shapes of a SCHP network; `any_sizes`: by the way that serves branches of any sizes."""
    dtype, size = (np.float16, 2) if half else (np.float32, 4)
    rng = np.random.default_rng(batch)
    one = [rng.standard_normal((scale.channels, *shape), np.float32).astype(dtype) for shape in scale.branches]
    weight = rng.standard_normal((CLASSES, scale.channels), np.float32).astype(dtype)
    bias = rng.standard_normal(CLASSES, np.float32).astype(dtype)
    points = scale.branches[0][0] * scale.branches[0][1]
    moved = batch * size * (scale.channels * sum(h * w for h, w in scale.branches) + CLASSES * points)
    source = _fusion_source(scale, half, any_sizes)
    classifier = device.to_device(weight), device.to_device(bias)

    def launch() -> tuple[Launch, ArrayAt]:
        branches = [device.to_device(_repeated(branch, batch)) for branch in one]
        logits = device.poisoned((batch, CLASSES, *scale.branches[0]), dtype)
        return edge_fusion_launch(branches, *classifier, logits), logits

    launches = [launch() for _ in range(_sets(scale, moved))]
    device.run(source, launches[0][0])
    a, b, c, w, bias32 = (x.astype(np.float32) for x in (*(x[None] for x in one), weight, bias))
    expected = edge_fusion_reference(a, b, c, w, bias32, slope=0.01, align_corners=True)[0]
    _close(device.to_host(launches[0][1])[-1], expected, 2e-3 if half else 1e-5)
    name = f"edge_fusion {'fp16' if half else 'fp32'}{', any sizes' if any_sizes else ''}"
    # 2 per class and channel on the classifier's unit; about 20 per channel for two interpolations on the plain one.
    products, rest = 2.0 * batch * points * scale.channels * CLASSES, 20.0 * batch * points * scale.channels
    return Case(
        name,
        batch,
        moved,
        rest if half else rest + products,
        products if half else 0.0,
        tuple(_running(device, source, made) for made, _ in launches),
    )


def warp_case(device: GpuDevice, scale: Scale, batch: int, half: bool) -> Case:
    """warp_normalize of frames into the network's input."""
    frame = photo(scale.frame)
    mapping = frame_mapping(SCHP, scale.frame, scale.network)
    size = 2 if half else 4
    # The frame's bytes that samples fall on: at most two rows and two columns per output pixel.
    used = min(scale.frame[0], 2 * scale.network[0]) * min(scale.frame[1], 2 * scale.network[1]) * 3
    moved = batch * (used + 3 * scale.network[0] * scale.network[1] * size)
    source = warp_normalize_source(half)

    def launch() -> tuple[Launch, ArrayAt]:
        frames = device.to_device(_repeated(frame, batch))
        out = device.poisoned((batch, 3, *scale.network), np.float16 if half else np.float32)
        return warp_normalize_launch(frames, scale.frame[1] * 3, mapping.forward, IMAGENET, out), out

    launches = [launch() for _ in range(_sets(scale, moved))]
    device.run(source, launches[0][0])
    expected = warp_normalize_reference(frame, mapping.forward, scale.network, IMAGENET)
    _close(device.to_host(launches[0][1])[-1], expected, 1e-3 if half else 1e-6)
    return Case(
        f"warp_normalize {'fp16' if half else 'fp32'}",
        batch,
        moved,
        0.0,
        0.0,
        tuple(_running(device, source, made) for made, _ in launches),
    )


def label_case(device: GpuDevice, scale: Scale, batch: int, logits: NDArray[Any]) -> Case:
    """label_map of frames: both kernels, logits to input size to the frame."""
    mapping = frame_mapping(SCHP, scale.frame, scale.network)
    assert mapping.unwarp is not None
    inner_bytes, frame_bytes = scale.network[0] * scale.network[1], scale.frame[0] * scale.frame[1]
    moved = batch * (logits.nbytes + 2 * inner_bytes + frame_bytes)
    source = label_map_source(False, True)

    def launch() -> tuple[tuple[Launch, Launch], ArrayAt]:
        on_device = device.to_device(_repeated(logits, batch))
        inner = device.poisoned((batch, *scale.network), np.uint8)
        labels = device.poisoned((batch, *scale.frame), np.uint8)
        assert mapping.unwarp is not None
        both = (
            label_resize_launch(on_device, inner),
            label_warp_launch(on_device, inner, mapping.unwarp, labels),
        )
        return both, labels

    launches = [launch() for _ in range(_sets(scale, moved))]
    for made in launches[0][0]:
        device.run(source, made)
    expected = label_map_reference(logits, mapping.unwarp, scale.network, scale.frame, align_corners=True)
    differ = int((device.to_host(launches[0][1])[-1] != expected).sum())
    assert differ <= expected.size * 1e-5, f"label_map: {differ} of {expected.size} labels differ"
    steps = tuple(_running(device, source, *both) for both, _ in launches)
    return Case(f"label_map {scale.frame[0]}p x {CLASSES}", batch, moved, 0.0, 0.0, steps)


def _running(device: GpuDevice, source: KernelSource, *launches: Launch) -> Callable[[], None]:
    def run() -> None:
        for launch in launches:
            device.run(source, launch)

    return run


def _sets(scale: Scale, moved: float) -> int:
    """How many buffer sets are more than a cache holds; no more than 64."""
    return int(min(max(scale.rotated_bytes // moved, 2), 64))


def _repeated(array: NDArray[Any], batch: int) -> NDArray[Any]:
    return np.ascontiguousarray(np.broadcast_to(array, (batch, *array.shape)))


def _close(found: NDArray[Any], expected: NDArray[Any], limit: float) -> None:
    distance = float(np.linalg.norm(found.astype(np.float64) - expected) / np.linalg.norm(expected))
    assert distance < limit, f"relative L2 {distance:.1e} to the reference, expected below {limit:.0e}"
