"""Each op's time beside its floor and its prediction, and label_map beside PyTorch's way on the same GPU.

    python -m benchmarks.gpu.kernel_times [--rounds 40] [--scale full]

Each kernel's result is held against its reference before it is timed. Times are GPU times of graph replays that walk
through several sets of buffers; the floor is bytes over the measured copy bandwidth or arithmetic over the measured
rate of the unit that does it, whichever is longer. Launches of a few microseconds never reach it: the share says
something at large batches. edge_fusion's variants have a prediction from their instructions beside them (targets.py).
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable

from benchmarks.gpu.device import GpuDevice, Graph, compile_all, interleave_on_gpu
from benchmarks.gpu.parts import Part, Row, SkippedError, first_line, part_main
from benchmarks.gpu.peak_rates import PeakRates, measure_peaks
from benchmarks.ops.cases import SCALES, GpuCase
from ce2p_runtime.ops import FUSED_OPS


def work(part: Part, options: argparse.Namespace) -> None:
    """Measure the ceilings, then every kernel at every batch; what was measured is written down at once."""
    device, scale = GpuDevice(), SCALES[options.scale]
    modules = [op.part("benchmarks.ops") for op in FUSED_OPS.values()]
    part.facts["compiled by"] = compile_all([source for module in modules for source in module.gpu_sources(scale)])
    ceilings = measure_peaks(device, scale.copied_bytes)
    part.facts.update(dataclasses.asdict(ceilings), architecture=device.architecture)
    part.note = f"copy {ceilings.bytes / 1e9:.0f} GB/s" + "".join(
        f", {name} {rate / 1e12:.0f} TFLOP/s"
        for name, rate in (("float", ceilings.float_flops), ("half", ceilings.half_flops))
        if rate
    )
    for batch in scale.batches:
        for module in modules:
            for case in module.gpu_cases(device, scale, batch):
                _time(part, device, ceilings, case, options)
                device.free_all()


def _time(part: Part, device: GpuDevice, ceilings: PeakRates, case: GpuCase, options: argparse.Namespace) -> None:
    """Time one op, interleaved with its rivals where it has any."""
    candidates: dict[str, Callable[[], float]] = {case.name: Graph(device, case.steps).milliseconds}
    if case.rivals is not None:
        try:
            candidates |= case.rivals(options.device)
        except (ImportError, SkippedError) as error:
            part.remark(f"{case.name} has no rival here ({first_line(error)})")
    timings = interleave_on_gpu(candidates, options.rounds)
    ours = timings.pop(case.name)
    floor = ceilings.floor_ms(case.moved, case.float_work, case.half_work)
    row: Row = {
        "kernel": case.name,
        "batch": case.batch,
        "median ms": ours.median_ms,
        "p95 ms": ours.p95_ms,
        "floor ms": floor,
        "floor / time": f"{floor / ours.median_ms:.0%}",
        "MB": case.moved / 1e6,
    }
    part.rows.append(row)
    samples = part.facts.setdefault("samples", {})
    samples[f"{case.name} x{case.batch}"] = ours.samples
    _predict(part, device, case, row)
    for name, timing in timings.items():
        line = f" (line: {case.share.value})" if case.share is not None else ""
        rival: Row = {"kernel": name, "batch": case.batch, "median ms": timing.median_ms, "p95 ms": timing.p95_ms}
        part.rows.append({**rival, "ours / it": f"{ours.median_ms / timing.median_ms:.3f}{line}"})
        samples[name] = timing.samples
    part.save()


def _predict(part: Part, device: GpuDevice, case: GpuCase, row: Row) -> None:
    if case.predicted_ms is None:
        return
    try:
        multiprocessors, clock_khz = device.attribute("MULTIPROCESSOR_COUNT"), device.attribute("CLOCK_RATE")
    except (RuntimeError, AttributeError) as error:
        part.facts["no predictions"] = first_line(error)
        return
    row["predicted ms"] = case.predicted_ms(multiprocessors=multiprocessors, clock_hz=clock_khz * 1e3)
    row["measured / predicted"] = float(row["median ms"]) / float(row["predicted ms"])


if __name__ == "__main__":
    part_main("Kernel times beside their floors", work, rounds=40, scale="full", device="cuda")
