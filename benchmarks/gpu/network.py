"""The network alone, data on the GPU: our ways beside PyTorch's, torch.compile's and ONNX Runtime's, batch by batch.

    python -m benchmarks.gpu.network [--model schp:lip-r101-os16:473] [--waves "1,16;4,64"] [--seconds 140]

All candidates of a batch size run interleaved, each in a process of its own (see workers.py). Each one's logits are
compared with PyTorch in float32 on the CPU before the clock starts; one that is too far off is listed as wrong and not
timed. What cannot run here is listed with the reason. Beside each speed stands how many of the logits' pixels keep
their label; weights are random, so near ties are common.

torch.compile runs on the folded and on the unfolded network, with `cudnn.benchmark` on, as everything else in PyTorch
here. `--waves`: batch sizes that are set up together, the most telling ones first; a wave gets no more than its share
of `--seconds`, and what is not ready then is left out and says so.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks.gpu.compare import compare
from benchmarks.gpu.exports import export_files
from benchmarks.gpu.network_runs import from_backend, from_graph, from_naive_onnx
from benchmarks.gpu.networks_on_disk import MODEL, NetworkFiles, prepare
from benchmarks.gpu.parts import Part, SkippedError, part_main, working_folder
from benchmarks.gpu.runtimes import gpu_runtimes
from benchmarks.gpu.summary import COMPILED_FOLDED
from benchmarks.gpu.torch_device import open_torch
from benchmarks.gpu.torch_runs import compiled_run, torch_run
from benchmarks.gpu.workers import Entry
from ce2p_runtime.measuring.timing import Timing

OURS = "PyTorch fp16 graph, folded and fused"
COMPILED = "torch.compile fp16, unfolded"
_TIMING_SHARE = 0.2
"""Of a wave's seconds: kept for timing what was set up."""
Times = dict[tuple[str, int], Timing]


def groups_of(files: NetworkFiles, batches: list[int], device: str) -> list[list[Entry]]:
    """PyTorch's ways: a process for each network with all its batches; for torch.compile one for each batch, too."""
    half = "fp16" if device == "cuda" else "fp32"
    ways = {  # a process for each network; within it, in this order
        "fused": {OURS: (half, True)},
        "folded": {"PyTorch fp16 graph, folded": (half, True)},
        "trained": {"PyTorch fp16 graph": (half, True), "PyTorch fp16": (half, False), "PyTorch fp32": ("fp32", False)},
    }
    groups = []
    for kind, of_kind in ways.items():
        entries = []
        for name, (precision, graph) in of_kind.items():
            make = partial(torch_run, name, files, kind, precision=precision, device=device, graph=graph)
            entries += [Entry(name, batch, partial(make, batch=batch, benchmark=True)) for batch in batches]
        groups.append(entries)
    for batch in batches:
        for name, kind in ((COMPILED_FOLDED, "folded"), (COMPILED, "trained")):
            compiled = partial(compiled_run, name, files, kind, batch, device)
            groups.append([Entry(name, batch, compiled, takes_turns=True)])
    return groups


def exported_groups(files: NetworkFiles, batches: list[int], device: str) -> list[list[Entry]]:
    """A process for each way to run exported files that is there, and for each that is not one that says why."""
    here, lacking = gpu_runtimes()
    if device != "cuda":
        here, lacking = [], "exported files are measured on a GPU only"
    groups: dict[str, list[Entry]] = {}

    def add(name: str, batch: int, make: Callable[..., Any], *arguments: Any) -> None:
        groups.setdefault(name, []).append(Entry(name, batch, partial(make, *arguments)))

    for batch in batches:
        if lacking:
            add("exported files", batch, _missing, lacking)
        if not here:
            continue
        made = export_files(files, batch)
        if "naive" in here:
            add("ORT CUDA naive", batch, from_naive_onnx, "ORT CUDA naive", made.naive, files, batch)
        for precision, file in (("fp32", made.fp32), ("fp16", made.fp16)):
            if "onnxruntime" in here:
                title = f"ours onnxruntime {precision}"
                add(title, batch, from_backend, title, file, files, batch, "onnxruntime")
                add(f"{title} graph", batch, from_graph, f"{title} graph", file, files, batch)
            if "tensorrt-rtx" in here and batch == 1:  # above batch 1 it compiles for too long
                title = f"ours tensorrt-rtx {precision}"
                add(title, batch, from_backend, title, file, files, batch, "tensorrt-rtx")
        if "tensorrt" in here:
            for engine, path in made.engines.items():
                title = f"ours TensorRT {engine}"
                add(title, batch, from_backend, title, path, files, batch, "tensorrt")
            for title, reason in made.missing.items():
                add(title, batch, _missing, reason)
    return list(groups.values())


def _missing(reason: str) -> Any:
    raise SkippedError(reason)


def work(part: Part, options: argparse.Namespace) -> None:
    """Every wave in turn, each with its share of the time that is left."""
    torch_device = open_torch(options.device)
    deadline = time.monotonic() + options.seconds
    waves = [[int(batch) for batch in wave.split(",")] for wave in options.waves.split(";")]
    times: Times = {}
    with working_folder(options.files) as folder:
        files = prepare(folder, options.model)
        for number, batches in enumerate(waves):
            seconds = (deadline - time.monotonic()) / (len(waves) - number)
            # The first wave holds what the headline needs: it may use what later ones would have had.
            seconds *= 1.5 if number == 0 and len(waves) > 1 else 1.0
            if seconds < options.least:
                part.remark(f"no time was left for batches {', '.join(map(str, batches))}")
                continue
            groups = [
                *groups_of(files, batches, torch_device.name),
                *exported_groups(files, batches, torch_device.name),
            ]
            try:
                times |= compare(part, groups, files, seconds * (1 - _TIMING_SHARE), options.rounds)
            except SkippedError as error:
                part.remark(str(error))
    if not times:
        raise SkippedError("no candidate could run; see the rows")
    _ratios(part, times)


def _ratios(part: Part, times: Times) -> None:
    """Each median as a share of torch.compile's on the folded network, from the same interleaved run."""
    for row in part.rows:
        rival = times.get((COMPILED_FOLDED, int(row["batch"])))
        if rival is not None and "median ms" in row:
            row["of compiled, folded"] = round(float(row["median ms"]) / rival.median_ms, 3)


if __name__ == "__main__":
    part_main(
        "Networks", work, model=MODEL, waves="1,16;4,64", rounds=6, seconds=140.0, least=10.0, files="", device="cuda"
    )
