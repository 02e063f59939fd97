"""Whole frames by the runtime itself, `HumanParser` on each GPU backend that is there, beside the baseline pipeline.

The baseline pipeline is what the public extractors do, with the network on the GPU: warp with OpenCV, normalise,
forward pass, upsample, copy back, warp every class with OpenCV, argmax.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.baseline_pipeline import BaselinePipeline
from benchmarks.gpu.exports import int8_file, our_files
from benchmarks.gpu.network_runs import graphed_backend
from benchmarks.gpu.networks_on_disk import NetworkFiles
from benchmarks.gpu.parts import EXPECTED, Part, Row, first_line
from benchmarks.scenes import photo
from ce2p.models import CE2P
from ce2p_export.tensorrt import EngineError
from ce2p_runtime import HumanParser
from ce2p_runtime.measuring.timing import interleave
from ce2p_runtime.media.sources import SourceFrame
from ce2p_runtime.model_files.metadata import ModelMetadata

FRAME = (1080, 1920)
STREAM_FRAMES = 60
MIN_AGREEMENT = {"fp32": 0.999, "fp16": 0.97, "int8": 0.7}
"""Of labels with the baseline pipeline in float32. Random weights leave many near ties, hence the low bounds for fp16
and int8; how good an INT8 file is, the gate says, on a trained network."""
Labels = NDArray[np.uint8]


def baseline_of(net: CE2P, metadata: ModelMetadata, device: str) -> Callable[[NDArray[np.uint8]], Labels]:
    """The extractor's steps, with the geometry and constants of `metadata`."""
    module = net.to(device).eval()
    return BaselinePipeline(lambda image: module(torch.from_numpy(image).to(device)).parsing, metadata)


def open_parsers(part: Part, files: NetworkFiles, here: list[str]) -> dict[str, HumanParser]:
    """A parser for each of our files and each backend of `here` (see runtimes.gpu_runtimes); those that cannot run
    become rows with the reason."""
    makers: dict[str, Callable[[], HumanParser]] = {}
    for precision, file in our_files(files, 1).items():
        ways: dict[str, dict[str, Callable[[Path], HumanParser]]] = {
            "onnxruntime": {"onnxruntime": _by("onnxruntime"), "onnxruntime graph": _graphed},
            "tensorrt-rtx": {"tensorrt-rtx": _by("tensorrt-rtx")},
            "tensorrt": {"tensorrt": lambda file: _by("tensorrt")(_engine(file))},
        }
        for runtime in here:
            for way, make in ways.get(runtime, {}).items():
                makers[f"ours {way} {precision}"] = lambda make=make, file=file: make(file)  # type: ignore[misc]
    if "tensorrt" in here:
        makers["ours tensorrt int8"] = lambda: _by("tensorrt")(_engine(int8_file(files, 1)))
    parsers = {}
    for title, open_it in makers.items():
        try:
            parsers[title] = open_it()
        except Exception as error:  # every library raises its own kinds
            if not isinstance(error, (*EXPECTED, EngineError)) and "int8" not in title:
                part.blame("failed", f"{title}: {first_line(error)}")
            part.rows.append({"frame": title, "note": first_line(error)})
    return parsers


def _by(backend: str) -> Callable[[Path], HumanParser]:
    return lambda file: HumanParser(file, backend=backend, device="cuda")


def _graphed(file: Path) -> HumanParser:
    return HumanParser.on(graphed_backend(file), name=file.name)


def _engine(file: Path) -> Path:
    from ce2p_export.tensorrt import BuildSettings, build_engine_file

    target = file.with_suffix(".engine")
    return target if target.exists() else build_engine_file(file, BuildSettings(), target).path


def time_parsers(
    part: Part, baseline: Callable[[NDArray[np.uint8]], Labels], parsers: dict[str, HumanParser], rounds: int
) -> None:
    """Hold every parser's labels against the baseline's, then time all of them in turn, and a stream of frames."""
    frames = [photo(FRAME, seed) for seed in range(4)]
    expected = baseline(frames[0])
    agreement: dict[str, float] = {}
    for title, parser in parsers.items():
        agreement[title] = float((parser(frames[0]).labels == expected).mean())
        assert agreement[title] >= MIN_AGREEMENT[parser.metadata.precision], f"{title}: {agreement[title]:.2%} agree"
    timings = interleave(
        {
            title: lambda parser=parser: parser(frames[0])  # type: ignore[misc]
            for title, parser in parsers.items()
        },
        rounds,
        rest=0.002,
    )
    for title, timing in timings.items():
        gpu_ms = sum(parsers[title](frames[0]).timings.values())
        row: Row = {
            "frame": title,
            "p50 ms": timing.median_ms,
            "p95 ms": timing.p95_ms,
            "p99 ms": timing.p99_ms,
            "GPU ms": gpu_ms,
            "host share": f"{max(0.0, 1 - gpu_ms / timing.median_ms):.0%}",
            "same labels": f"{agreement[title]:.4%}",
            "stream frames/s": _stream_rate(parsers[title], frames),
        }
        part.rows.append(row)
        part.facts[title] = str(parsers[title])
        part.facts.setdefault("samples", {})[title] = timing.samples
        part.save()


def _stream_rate(parser: HumanParser, frames: list[NDArray[np.uint8]]) -> float:
    """Frames per second of a stream, with as many frames in flight as the parser keeps."""
    stream = (SourceFrame(frames[i % len(frames)], Path("frame"), i) for i in range(STREAM_FRAMES))
    started = time.perf_counter()
    count = sum(1 for _ in parser.parse_frames(stream))
    return count / (time.perf_counter() - started)
