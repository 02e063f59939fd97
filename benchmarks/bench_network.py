"""The network alone: ours (folded, fused ops) against the export of a naive script, interleaved, on each CPU backend.

    python -m benchmarks.bench_network [--models schp:lip-r101-os16:473 ...] [--rounds 15] [--threads N] [--json FILE]

Weights are random and say nothing about labels; time does not depend on them. Before anything is timed, the two files'
logits must agree (relative L2 below 1e-4), and export itself has proved ours against PyTorch. OpenVINO runs in float32
for both, asked for by name.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.record import Record, write_records
from benchmarks.rival_runtimes import in_onnxruntime, in_openvino, in_torch
from benchmarks.rivals import MAX_RELATIVE_L2
from ce2p.models import CE2P
from ce2p_export import GraphOptions, deploy, export_onnx, export_plain, open_model
from ce2p_runtime.backends import open_backend
from ce2p_runtime.measuring.timing import Timing, interleave, paired_ratio

MODELS = ("schp:lip-r101-os16:473",)
Candidates = dict[str, Callable[[], list[NDArray[Any]]]]


def candidates(net: CE2P, plain: Path, ours: Path, image: NDArray[np.float32], threads: int | None) -> Candidates:
    """Every way to run the same network on the same input; each returns its outputs, parsing logits first."""
    runs: dict[str, Callable[[NDArray[Any]], list[NDArray[Any]]]] = {
        "PyTorch": in_torch(net),
        "ONNX Runtime, naive": in_onnxruntime(plain, threads),
        "ONNX Runtime, ours": open_backend(ours, "onnxruntime", "cpu", threads).run,
        "OpenVINO, naive": in_openvino(plain, threads, "f32")[0],
        "OpenVINO, ours": open_backend(ours, "openvino", "cpu", threads).run,
    }
    return {name: partial(run, image) for name, run in runs.items()}


def bench(model: str, rounds: int, threads: int | None) -> Record:
    """One model, given as family:name:size. Raises SystemExit when two candidates disagree."""
    family, name, side = model.split(":")
    size = (int(side), int(side))
    source = open_model(name, family=family, random=True)
    deployed = deploy(source.net, size)
    image = np.random.default_rng(0).standard_normal((1, 3, *size), np.float32)
    with tempfile.TemporaryDirectory() as folder:
        ours, plain = Path(folder) / "ours.onnx", Path(folder) / "plain.onnx"
        exported = export_onnx(source, GraphOptions(size), ours)
        assert exported.proof is not None  # float32 is proved, not gated
        export_plain(source.net, plain, size)
        runs = candidates(source.net, plain, ours, image, threads)
        reference = runs["PyTorch"]()[0]
        distances = {
            key: float(np.linalg.norm(run()[0] - reference) / np.linalg.norm(reference)) for key, run in runs.items()
        }
        far = {key: value for key, value in distances.items() if not value < MAX_RELATIVE_L2}
        if far:
            raise SystemExit(f"{model}: not timed, candidates differ from PyTorch: {far}")
        timings = interleave(runs, rounds)
    settings = {
        "model": model,
        "threads": threads or "default",
        "gflops": deployed.flops_before / 1e9,
        "gflops_folded": deployed.flops_after / 1e9,
    }
    ratios = {b: paired_ratio(timings[f"{b}, ours"], timings[f"{b}, naive"]) for b in ("ONNX Runtime", "OpenVINO")}
    checks = {
        "relative_l2_to_pytorch": distances,
        "proof_max_relative_l2": exported.proof.max_relative_l2,
        "ours_over_naive": ratios,
    }
    return Record("network", settings, timings, checks)


def show(record: Record, console: Console) -> None:
    """Print one record as a table."""
    settings, ratios = record.settings, record.checks["ours_over_naive"]
    title = f"{settings['model']}: {settings['gflops']:.1f} GFLOP, folded {settings['gflops_folded']:.1f}"
    grid = Table(title=title, title_justify="left")
    for column in ("", "median ms", "p95 ms", "GFLOP/s", "relative L2"):
        grid.add_column(column, justify="right" if column else "left")
    for name, timing in record.timings.items():
        flops = settings["gflops_folded"] if name.endswith("ours") else settings["gflops"]
        distance = record.checks["relative_l2_to_pytorch"][name]
        grid.add_row(name, *_figures(timing, flops), f"{distance:.0e}")
    console.print(grid)
    console.print("ours / naive, median of paired rounds: " + ", ".join(f"{k} {v:.3f}" for k, v in ratios.items()))


def _figures(timing: Timing, gflops: float) -> tuple[str, str, str]:
    return f"{timing.median_ms:.1f}", f"{timing.p95_ms:.1f}", f"{gflops / timing.median_ms * 1e3:.0f}"


def main() -> None:
    """Command line of this benchmark."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", nargs="+", default=MODELS, metavar="FAMILY:NAME:SIZE")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    console = Console()
    records = []
    for model in options.models:
        records.append(bench(model, options.rounds, options.threads))
        show(records[-1], console)
    if options.json:
        write_records(options.json, records)


if __name__ == "__main__":
    main()
