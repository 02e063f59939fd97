"""Each kernel's time beside its floor, and label_map beside PyTorch's way on the same GPU.

    python -m benchmarks.gpu.kernel_times [--rounds 40] [--scale full]

Each kernel's result is held against its reference before it is timed. Times are GPU times of graph replays that walk
through several sets of buffers; the floor is bytes over the measured copy bandwidth or arithmetic over the measured
rate of the unit that does it, whichever is longer. Launches of a few microseconds never reach it: the share says
something at large batches.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.gpu.ceilings import Ceilings, measure
from benchmarks.gpu.device import GpuDevice, Graph, interleave_on_gpu
from benchmarks.gpu.parts import Part, SkippedError, part_main
from benchmarks.scenes import person_logits, photo
from ce2p_runtime.geometry import frame_mapping
from ce2p_runtime.metadata import Geometry, Normalisation
from ce2p_runtime.ops import edge_fusion_reference, label_map_reference, warp_normalize_reference
from ce2p_runtime.ops.launches import (
    KernelSource,
    Launch,
    edge_fusion_launch,
    edge_fusion_source,
    label_map_source,
    label_resize_launch,
    label_warp_launch,
    warp_normalize_launch,
    warp_normalize_source,
)

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
    "full": Scale(256, ((119, 119), (60, 60), (30, 30)), (473, 473), (1080, 1920), (1, 4, 16, 64), 256 << 20, 1 << 30),
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


def fusion_case(device: GpuDevice, scale: Scale, batch: int, half: bool) -> Case:
    """edge_fusion with the shapes of a SCHP network."""
    dtype, size = (np.float16, 2) if half else (np.float32, 4)
    rng = np.random.default_rng(batch)
    one = [rng.standard_normal((scale.channels, *shape), np.float32).astype(dtype) for shape in scale.branches]
    weight = rng.standard_normal((CLASSES, scale.channels), np.float32).astype(dtype)
    bias = rng.standard_normal(CLASSES, np.float32).astype(dtype)
    points = scale.branches[0][0] * scale.branches[0][1]
    moved = batch * size * (scale.channels * sum(h * w for h, w in scale.branches) + CLASSES * points)
    heights = (scale.branches[0][0], scale.branches[1][0], scale.branches[2][0])
    source = edge_fusion_source(half, CLASSES, True, 0.01, heights)
    addresses = device.to_device(weight), device.to_device(bias)

    def launch() -> tuple[Launch, int]:
        branches = tuple(device.to_device(_repeated(branch, batch)) for branch in one)
        logits = device.poisoned((batch, CLASSES, *scale.branches[0]), dtype)
        return edge_fusion_launch(branches, scale.branches, batch, scale.channels, *addresses, logits), logits  # type: ignore[arg-type]

    launches = [launch() for _ in range(_sets(scale, moved))]
    device.run(source, launches[0][0])
    a, b, c, w, bias32 = (x.astype(np.float32) for x in (*(x[None] for x in one), weight, bias))
    expected = edge_fusion_reference(a, b, c, w, bias32, slope=0.01, align_corners=True)[0]
    _close(device.to_host(launches[0][1])[-1], expected, 2e-3 if half else 1e-5)
    # 2 per class and channel on the classifier's unit; about 20 per channel for two interpolations on the plain one.
    classifier, rest = 2.0 * batch * points * scale.channels * CLASSES, 20.0 * batch * points * scale.channels
    return Case(
        f"edge_fusion {'fp16' if half else 'fp32'}", batch, moved, rest if half else rest + classifier,
        classifier if half else 0.0, tuple(_running(device, source, made) for made, _ in launches),
    )  # fmt: skip


def warp_case(device: GpuDevice, scale: Scale, batch: int, half: bool) -> Case:
    """warp_normalize of frames into the network's input."""
    frame = photo(scale.frame)
    mapping = frame_mapping(SCHP, scale.frame, scale.network)
    size = 2 if half else 4
    # The frame's bytes that samples fall on: at most two rows and two columns per output pixel.
    used = min(scale.frame[0], 2 * scale.network[0]) * min(scale.frame[1], 2 * scale.network[1]) * 3
    moved = batch * (used + 3 * scale.network[0] * scale.network[1] * size)
    source = warp_normalize_source(half)

    def launch() -> tuple[Launch, int]:
        frames = device.to_device(_repeated(frame, batch))
        out = device.poisoned((batch, 3, *scale.network), np.float16 if half else np.float32)
        made = warp_normalize_launch(
            frames, scale.frame, scale.frame[1] * 3, mapping.forward, scale.network, IMAGENET, out, batch
        )
        return made, out

    launches = [launch() for _ in range(_sets(scale, moved))]
    device.run(source, launches[0][0])
    expected = warp_normalize_reference(frame, mapping.forward, scale.network, IMAGENET)
    _close(device.to_host(launches[0][1])[-1], expected, 1e-3 if half else 1e-6)
    return Case(
        f"warp_normalize {'fp16' if half else 'fp32'}", batch, moved, 0.0, 0.0,
        tuple(_running(device, source, made) for made, _ in launches),
    )  # fmt: skip


def label_case(device: GpuDevice, scale: Scale, batch: int, logits: NDArray[Any]) -> Case:
    """label_map of frames: both kernels, logits to input size to the frame."""
    mapping = frame_mapping(SCHP, scale.frame, scale.network)
    assert mapping.unwarp is not None
    shape = (batch, *logits.shape)
    inner_bytes, frame_bytes = scale.network[0] * scale.network[1], scale.frame[0] * scale.frame[1]
    moved = batch * (logits.nbytes + 2 * inner_bytes + frame_bytes)
    source = label_map_source(False, True)

    def launch() -> tuple[tuple[Launch, Launch], int]:
        on_device = device.to_device(_repeated(logits, batch))
        inner = device.poisoned((batch, *scale.network), np.uint8)
        labels = device.poisoned((batch, *scale.frame), np.uint8)
        assert mapping.unwarp is not None
        both = (
            label_resize_launch(on_device, shape, scale.network, inner),
            label_warp_launch(on_device, shape, inner, mapping.unwarp, scale.network, scale.frame, labels),
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


def torch_label_maps(scale: Scale, logits: NDArray[Any]) -> dict[str, Callable[[], float]]:
    """The same labels with PyTorch on this GPU: one interpolation and argmax, and the published two steps."""
    import torch
    import torch.nn.functional as F

    if not torch.cuda.is_available():
        raise SkippedError(f"PyTorch {torch.__version__} sees no CUDA GPU")
    values = torch.from_numpy(logits).cuda()[None]
    mapping = frame_mapping(SCHP, scale.frame, scale.network)
    assert mapping.unwarp is not None
    x = torch.arange(scale.frame[1], device="cuda") * mapping.unwarp[0, 0] + mapping.unwarp[0, 2]
    y = torch.arange(scale.frame[0], device="cuda") * mapping.unwarp[1, 1] + mapping.unwarp[1, 2]
    grid = torch.stack(
        torch.meshgrid(2 * x / (scale.network[1] - 1) - 1, 2 * y / (scale.network[0] - 1) - 1, indexing="xy"), -1
    )
    grid = grid.float()[None]

    def one_step() -> torch.Tensor:
        return F.interpolate(values, scale.frame, mode="bilinear", align_corners=True).argmax(1).to(torch.uint8)

    def two_steps() -> torch.Tensor:
        inner = F.interpolate(values, scale.network, mode="bilinear", align_corners=True)
        return F.grid_sample(inner, grid, align_corners=True).argmax(1).to(torch.uint8)

    expected = label_map_reference(logits, mapping.unwarp, scale.network, scale.frame, align_corners=True)
    agreement = float((two_steps()[0].cpu().numpy() == expected).mean())
    assert agreement > 0.999, f"PyTorch's two steps agree on {agreement:.2%} of the labels only"
    return {"torch interpolate + argmax": _torch_timer(one_step), "torch two steps": _torch_timer(two_steps)}


def _torch_timer(step: Callable[[], object], repeats: int = 10) -> Callable[[], float]:
    import torch

    start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))

    def milliseconds() -> float:
        start.record()
        for _ in range(repeats):
            step()
        stop.record()
        stop.synchronize()
        return float(start.elapsed_time(stop)) / repeats

    return milliseconds


def work(part: Part, options: argparse.Namespace) -> None:
    """Measure the ceilings, then every kernel at every batch."""
    device, scale = GpuDevice(), SCALES[options.scale]
    ceilings = measure(device, scale.copied_bytes)
    part.facts.update(dataclasses.asdict(ceilings), architecture=device.architecture)
    part.note = f"copy {ceilings.bytes / 1e9:.0f} GB/s" + "".join(
        f", {name} {rate / 1e12:.0f} TFLOP/s"
        for name, rate in (("float", ceilings.float_flops), ("half", ceilings.half_flops))
        if rate
    )
    for batch in scale.batches:
        for make in (fusion_case, warp_case):
            for half in (False, True):
                _time(part, device, ceilings, make(device, scale, batch, half), options.rounds)
                device.free_all()
    _label_maps(part, device, scale, ceilings, options.rounds)


def _time(part: Part, device: GpuDevice, ceilings: Ceilings, case: Case, rounds: int) -> None:
    graph = Graph(device, case.steps)
    _row(part, ceilings, case, interleave_on_gpu({case.name: graph.milliseconds}, rounds)[case.name])


def _row(part: Part, ceilings: Ceilings, case: Case, timing: Any) -> None:
    floor = ceilings.floor_ms(case.moved, case.float_work, case.half_work)
    part.rows.append(
        {
            "kernel": case.name, "batch": case.batch, "median ms": timing.median_ms, "p95 ms": timing.p95_ms,
            "floor ms": floor, "floor / time": f"{floor / timing.median_ms:.0%}", "MB": case.moved / 1e6,
        }
    )  # fmt: skip
    part.facts.setdefault("samples", {})[f"{case.name} x{case.batch}"] = timing.samples


def _label_maps(part: Part, device: GpuDevice, scale: Scale, ceilings: Ceilings, rounds: int) -> None:
    """label_map alone at several batches, then beside PyTorch, interleaved."""
    logits = person_logits(CLASSES, scale.branches[0], scale.frame[1] / scale.frame[0], people=2)
    for batch in scale.batches[1:3]:
        _time(part, device, ceilings, label_case(device, scale, batch, logits), rounds)
        device.free_all()
    case = label_case(device, scale, 1, logits)
    graph = Graph(device, case.steps)
    candidates: dict[str, Callable[[], float]] = {case.name: graph.milliseconds}
    try:
        candidates |= torch_label_maps(scale, logits)
    except (ImportError, SkippedError) as error:
        part.note += f"; label_map has no rival here ({error})"
    timings = interleave_on_gpu(candidates, rounds)
    _row(part, ceilings, case, timings[case.name])
    for name in list(candidates)[1:]:
        ratio = timings[case.name].median_ms / timings[name].median_ms
        row = {"kernel": name, "batch": 1, "median ms": timings[name].median_ms, "p95 ms": timings[name].p95_ms}
        part.rows.append({**row, "ours / it": f"{ratio:.3f}"})
        part.facts["samples"][name] = timings[name].samples


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


if __name__ == "__main__":
    part_main("Kernel times beside their floors", work, rounds=40, scale="full")
