"""Whole frames: a 1080p picture in, labels of its own size out.

    python -m benchmarks.gpu.frames [--model schp:lip-r101-os16:473] [--rounds 150]

First our kernels around the fused network in PyTorch (frame_path.py), which needs nothing but PyTorch and
cuda-bindings: with and without one CUDA graph, from pinned and from any memory, and with frames that are on the device
already. Then, where they can be had, the runtime's own backends (runtime_frames.py). Every way's labels are held
against the baseline pipeline's in float32 before the clock starts.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.gpu import runtime_frames
from benchmarks.gpu.device import GpuDevice, compile_all
from benchmarks.gpu.frame_path import FramePath
from benchmarks.gpu.networks_on_disk import MODEL, NetworkFiles, prepare
from benchmarks.gpu.parts import Part, Row, first_line, part_main, working_folder
from benchmarks.gpu.runtime_frames import FRAME, MIN_AGREEMENT, baseline_of
from benchmarks.gpu.runtimes import gpu_runtimes
from benchmarks.gpu.summary import FRAME_ROW
from benchmarks.gpu.targets import FRAME_MS
from benchmarks.gpu.torch_device import TorchDevice, open_torch
from benchmarks.gpu.torch_runs import network_of, on_device
from benchmarks.scenes import photo
from ce2p.labels import label_set
from ce2p.models import parse_model_name
from ce2p_export.torch_backend import TorchBackend
from ce2p_runtime.cuda.kernels import kernel_sources
from ce2p_runtime.measuring.timing import interleave
from ce2p_runtime.model_files.metadata import ModelMetadata

SIZES = {"full": FRAME, "tiny": (108, 192)}
_BASELINE_ROUNDS = 3
Frame = NDArray[np.uint8]


def work(part: Part, options: argparse.Namespace) -> None:
    """The kernels' path, then the runtime's backends."""
    torch_device = open_torch(options.device)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    frame = photo(SIZES[options.scale])
    with working_folder(options.files) as folder:
        files = prepare(folder, options.model)
        labels = label_set(parse_model_name(files.name)[0])
        metadata = TorchBackend(files.net("trained"), labels, files.size).metadata
        baseline = baseline_of(files.net("trained"), metadata, torch_device.name)
        expected = baseline(frame)
        kernel_path(part, files, metadata, frame, expected, torch_device=torch_device, rounds=options.rounds)
        timing = interleave({"baseline": lambda: baseline(frame)}, _BASELINE_ROUNDS, warmup=1, rest=0.0)["baseline"]
        part.rows.append({"frame": "baseline pipeline, network on the GPU, fp32", "p50 ms": timing.median_ms})
        part.save()
        here, lacking = gpu_runtimes()
        ours = [name for name in here if name != "naive"] if torch_device.cuda else []
        if not ours:
            lacking = lacking if torch_device.cuda else "they run on a GPU only"
            part.rows.append({"frame": "the runtime's own backends", "note": lacking})
            return
        parsers = runtime_frames.open_parsers(part, files, ours)
        try:
            if parsers:
                runtime_frames.time_parsers(part, baseline, parsers, options.rounds)
        finally:
            for parser in parsers.values():
                parser.close()


def kernel_path(
    part: Part,
    files: NetworkFiles,
    metadata: ModelMetadata,
    frame: Frame,
    expected: Frame,
    *,
    torch_device: TorchDevice,
    rounds: int,
) -> None:
    """Rows for each form of FramePath, interleaved."""
    precision = "fp16" if torch_device.cuda else "fp32"
    half = precision == "fp16"
    torch.backends.cudnn.benchmark = True
    gpu = GpuDevice()
    compile_all([*kernel_sources(metadata, half, half).values()])
    module, _ = on_device(network_of(files, "fused")[0], files.image(), precision, torch_device)
    forms = {
        FRAME_ROW: {"graph": True, "upload": True},
        "the same, launch by launch": {"graph": False, "upload": True},
        "one graph, frame and labels stay on the device": {"graph": True, "upload": False},
    }
    paths: dict[str, FramePath] = {}
    for title, form in forms.items():
        try:
            paths[title] = FramePath(gpu, module, metadata, frame.shape[:2], torch_device, half=half, **form)
        except RuntimeError as error:  # CUDA's, also where work cannot be captured
            part.rows.append({"frame": title, "note": first_line(error)})
            part.blame("failed", f"{title}: {first_line(error)}")
            continue
        agreement = float((paths[title].parse(frame) == expected).mean())
        part.facts.setdefault("same labels", {})[title] = agreement
        assert agreement >= MIN_AGREEMENT[precision], f"{title}: {agreement:.2%} of the labels agree"
    steps: dict[str, Callable[[], object]] = {title: path.run for title, path in paths.items()}
    if FRAME_ROW in paths:
        steps["the same graph, frame and labels in any memory"] = lambda: paths[FRAME_ROW].parse(frame)
    for title, timing in interleave(steps, rounds, rest=0.0).items():
        row: Row = {"frame": title, "p50 ms": timing.median_ms, "p95 ms": timing.p95_ms, "p99 ms": timing.p99_ms}
        if title in paths:
            gpu_ms = float(np.median([paths[title].gpu_ms() for _ in range(min(rounds, 20))]))
            row |= {"GPU ms": gpu_ms, "host share": f"{max(0.0, 1 - gpu_ms / timing.median_ms):.0%}"}
            row["same labels"] = f"{part.facts['same labels'][title]:.3%}"
        if title == FRAME_ROW and files.model == MODEL:
            row |= {"predicted ms": FRAME_MS.value, "measured / predicted": timing.median_ms / FRAME_MS.value}
        part.rows.append(row)
        part.facts.setdefault("samples", {})[title] = timing.samples
    part.save()


if __name__ == "__main__":
    part_main("Frames", work, model=MODEL, rounds=150, files="", device="cuda", scale="full")
