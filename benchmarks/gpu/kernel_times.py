"""Each kernel's time beside its floor and its prediction, and label_map beside PyTorch's way on the same GPU.

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
from benchmarks.gpu.kernel_cases import CLASSES, SCALES, Case, Scale, fusion_case, label_case, sources, warp_case
from benchmarks.gpu.parts import Part, Row, SkippedError, first_line, part_main
from benchmarks.gpu.peak_rates import PeakRates, measure_peaks
from benchmarks.gpu.targets import LABEL_MAP_SHARE, predicted_fusion_ms
from benchmarks.scenes import person_logits
from ce2p_runtime.measuring.timing import Timing


def work(part: Part, options: argparse.Namespace) -> None:
    """Measure the ceilings, then every kernel at every batch; what was measured is written down at once."""
    device, scale = GpuDevice(), SCALES[options.scale]
    part.facts["compiled by"] = compile_all(sources(scale))
    ceilings = measure_peaks(device, scale.copied_bytes)
    part.facts.update(dataclasses.asdict(ceilings), architecture=device.architecture)
    part.note = f"copy {ceilings.bytes / 1e9:.0f} GB/s" + "".join(
        f", {name} {rate / 1e12:.0f} TFLOP/s"
        for name, rate in (("float", ceilings.float_flops), ("half", ceilings.half_flops))
        if rate
    )
    for batch in scale.batches:
        for half in (False, True):
            _fusions(part, device, scale, ceilings, batch, half, options.rounds)
            _time(part, device, ceilings, warp_case(device, scale, batch, half), options.rounds)
    _label_maps(part, device, scale, ceilings, options)


def _fusions(
    part: Part, device: GpuDevice, scale: Scale, ceilings: PeakRates, batch: int, half: bool, rounds: int
) -> None:
    """edge_fusion's variants: the short way for the networks' ratios, and the one for any sizes."""
    for any_sizes in (False, True):
        row = _time(part, device, ceilings, fusion_case(device, scale, batch, half, any_sizes), rounds)
        try:
            multiprocessors, clock_khz = device.attribute("MULTIPROCESSOR_COUNT"), device.attribute("CLOCK_RATE")
        except (RuntimeError, AttributeError) as error:
            part.facts["no predictions"] = first_line(error)
            continue
        row["predicted ms"] = predicted_fusion_ms(
            batch * scale.branches[0][0] * scale.branches[0][1],
            scale.channels,
            CLASSES,
            half=half,
            any_sizes=any_sizes,
            multiprocessors=multiprocessors,
            clock_hz=clock_khz * 1e3,
        )
        row["measured / predicted"] = float(row["median ms"]) / float(row["predicted ms"])
        part.save()


def _time(part: Part, device: GpuDevice, ceilings: PeakRates, case: Case, rounds: int) -> Row:
    """Time one kernel alone, and free what it used."""
    graph = Graph(device, case.steps)
    row = _row(part, ceilings, case, interleave_on_gpu({case.name: graph.milliseconds}, rounds)[case.name])
    device.free_all()
    return row


def _row(part: Part, ceilings: PeakRates, case: Case, timing: Timing) -> Row:
    floor = ceilings.floor_ms(case.moved, case.float_work, case.half_work)
    row: Row = {
        "kernel": case.name,
        "batch": case.batch,
        "median ms": timing.median_ms,
        "p95 ms": timing.p95_ms,
        "floor ms": floor,
        "floor / time": f"{floor / timing.median_ms:.0%}",
        "MB": case.moved / 1e6,
    }
    part.rows.append(row)
    part.facts.setdefault("samples", {})[f"{case.name} x{case.batch}"] = timing.samples
    part.save()
    return row


def _label_maps(part: Part, device: GpuDevice, scale: Scale, ceilings: PeakRates, options: argparse.Namespace) -> None:
    """label_map alone at the larger batches, then one frame beside PyTorch, interleaved."""
    logits = person_logits(CLASSES, scale.branches[0], scale.frame[1] / scale.frame[0], people=2)
    for batch in scale.batches[1:]:
        _time(part, device, ceilings, label_case(device, scale, batch, logits), options.rounds)
    case = label_case(device, scale, 1, logits)
    graph = Graph(device, case.steps)
    candidates: dict[str, Callable[[], float]] = {case.name: graph.milliseconds}
    try:
        from benchmarks.gpu.label_rivals import torch_label_maps

        candidates |= torch_label_maps(scale, logits, options.device)
    except (ImportError, SkippedError) as error:
        part.remark(f"label_map has no rival here ({first_line(error)})")
    timings = interleave_on_gpu(candidates, options.rounds)
    _row(part, ceilings, case, timings[case.name])
    for name in list(candidates)[1:]:
        share = timings[case.name].median_ms / timings[name].median_ms
        row: Row = {"kernel": name, "batch": 1, "median ms": timings[name].median_ms, "p95 ms": timings[name].p95_ms}
        part.rows.append({**row, "ours / it": f"{share:.3f} (line: {LABEL_MAP_SHARE.value})"})
        part.facts["samples"][name] = timings[name].samples
    device.free_all()


if __name__ == "__main__":
    part_main("Kernel times beside their floors", work, rounds=40, scale="full", device="cuda")
