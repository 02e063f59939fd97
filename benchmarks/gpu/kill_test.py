"""The kill test: is cuDNN, with its fused convolutions, the way to the targets?

    python -m benchmarks.gpu.kill_test [--model schp:lip-r101-os16:473] [--batches 16,1] [--rounds 12]

The folded network in PyTorch, float16, channels-last, one CUDA graph: its convolutions through cuDNN's fused calls
against the same network unfused, each with `cudnn.benchmark` on and off. How many convolutions the calls cover stands
in the result. Below KILL_MS (targets.py) at batch 16 the cuDNN path is worth building on.
"""

from __future__ import annotations

import argparse
import time
from functools import partial

from benchmarks.gpu.compare import compare
from benchmarks.gpu.networks_on_disk import MODEL, NetworkFiles, prepare
from benchmarks.gpu.parts import Part, Row, part_main, working_folder
from benchmarks.gpu.targets import KILL_MS, NETWORK_MS
from benchmarks.gpu.torch_device import open_torch
from benchmarks.gpu.torch_runs import torch_run
from benchmarks.gpu.workers import Entry

_TIMING = 8.0
"""Seconds kept for timing what was set up."""
FULL_BATCH = 16
"""The batch size of KILL_MS."""


def candidate_name(kind: str, benchmark: bool) -> str:
    """What a row is called."""
    return f"{kind}, cudnn.benchmark {'on' if benchmark else 'off'}"


def groups_of(files: NetworkFiles, batches: list[int], precision: str, device: str) -> list[list[Entry]]:
    """A process for each way, with all its batches."""
    groups = []
    for kind in ("folded", "fused"):
        for benchmark in (True, False):
            name = candidate_name(kind, benchmark)
            make = partial(torch_run, name, files, kind)
            groups.append(
                [
                    Entry(name, batch, partial(make, batch, precision, device, graph=True, benchmark=benchmark))
                    for batch in batches
                ]
            )
    return groups


def work(part: Part, options: argparse.Namespace) -> None:
    """All four ways, then the verdict."""
    deadline = time.monotonic() + options.seconds
    torch_device = open_torch(options.device)
    batches = [int(batch) for batch in options.batches.split(",")]
    with working_folder(options.files) as folder:
        files = prepare(folder, options.model)
        groups = groups_of(files, batches, "fp16" if torch_device.cuda else "fp32", options.device)
        compare(part, groups, files, deadline - time.monotonic() - _TIMING, options.rounds)
    part.remark(next((facts["coverage"] for facts in part.facts["candidates"].values()), ""))
    if options.model == MODEL:
        judge(part)


def judge(part: Part) -> None:
    """Write predictions beside the rows, and the verdict into the note."""
    for row in part.rows:
        if "median ms" in row:
            kind = "fused" if str(row["network"]).startswith("fused") else "unfused"
            _beside(row, kind)
    full = [
        float(row["median ms"])
        for row in part.rows
        if "median ms" in row and row["batch"] == FULL_BATCH and str(row["network"]).startswith("fused")
    ]
    if full:
        answer = "is worth building on" if min(full) < KILL_MS.value else "is in doubt"
        part.remark(
            f"{min(full):.2f} ms at batch {FULL_BATCH}, the line is {KILL_MS.value} ms: the cuDNN path {answer}"
        )


def _beside(row: Row, kind: str) -> None:
    expected = NETWORK_MS.get((kind, int(row["batch"])))
    if expected is not None:
        row["predicted ms"] = expected.value
        row["measured / predicted"] = float(row["median ms"]) / expected.value


if __name__ == "__main__":
    part_main(
        "Kill test: cuDNN's fused convolutions",
        work,
        model=MODEL,
        batches="16,1",
        rounds=12,
        seconds=83.0,
        files="",
        device="cuda",
    )
