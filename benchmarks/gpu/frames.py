"""Whole frames: a 1080p picture in, labels of its own size out, ours on the GPU beside the usual way on the same GPU.

    python -m benchmarks.gpu.frames [--model schp:lip-r101-os16:473] [--rounds 20]

The usual way is what the public extractors do, with the network on the GPU: warp with OpenCV, normalise, forward pass,
upsample, copy back, warp every class with OpenCV, argmax.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.export_command import export_by_command
from benchmarks.gpu.candidates import graphed_backend
from benchmarks.gpu.network import our_files
from benchmarks.gpu.parts import EXPECTED, Part, SkippedError, part_main, working_folder
from benchmarks.scenes import photo
from benchmarks.usual import UsualPipeline
from ce2p.models import CE2P, CE2PConfig, parse_model_name, untrained
from ce2p_export.tensorrt import EngineError
from ce2p_runtime import HumanParser
from ce2p_runtime.media.sources import SourceFrame
from ce2p_runtime.timing import interleave

FRAME = (1080, 1920)
STREAM_FRAMES = 60
MIN_AGREEMENT = {"fp32": 0.999, "fp16": 0.97, "int8": 0.7}
"""Of labels with the usual way in float32. Random weights leave many near ties, hence the low bounds for fp16 and int8;
how good an INT8 file is, the gate says, on a trained network."""
Labels = NDArray[np.uint8]


def usual_way(net: CE2P, parser: HumanParser, device: str) -> Callable[[NDArray[np.uint8]], Labels]:
    """The extractor's steps, with the geometry and constants of `parser`'s file."""
    module = net.to(device).eval()
    return UsualPipeline(lambda image: module(torch.from_numpy(image).to(device)).parsing, parser.metadata)


def work(part: Part, options: argparse.Namespace) -> None:
    """Latency of single frames, interleaved, then frames per second of our streams."""
    if not torch.cuda.is_available():
        raise SkippedError(f"PyTorch {torch.__version__} sees no CUDA GPU")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    family, name, side = options.model.split(":")
    _, backbone, stride = parse_model_name(name)
    with working_folder(options.files) as folder:
        parsers = open_parsers(part, family, name, int(side), folder)
        if not parsers:
            raise SkippedError("no GPU backend of ours could open a file; see the rows")
        net = untrained(CE2PConfig.of(family, backbone, stride, 20))
        try:
            compare(part, usual_way(net, next(iter(parsers.values())), "cuda"), parsers, options.rounds)
        finally:
            for parser in parsers.values():
                parser.close()


def open_parsers(part: Part, family: str, name: str, side: int, folder: Path) -> dict[str, HumanParser]:
    """A parser for each of our files and GPU backends; those that cannot run become rows with the reason."""
    makers: dict[str, Callable[[], HumanParser]] = {}
    for precision, file in our_files(family, name, (side, side), 1, folder).items():
        makers[f"ours onnxruntime {precision}"] = lambda file=file: _parser(file, "onnxruntime")  # type: ignore[misc]
        makers[f"ours onnxruntime {precision} graph"] = lambda file=file: _graphed(file)  # type: ignore[misc]
        makers[f"ours tensorrt-rtx {precision}"] = lambda file=file: _parser(file, "tensorrt-rtx")  # type: ignore[misc]
        makers[f"ours tensorrt {precision}"] = lambda file=file: _parser(_engine(file), "tensorrt")  # type: ignore[misc]
    makers["ours tensorrt int8"] = lambda: _parser(_engine(_int8(family, name, side, folder)), "tensorrt")
    parsers = {}
    for title, make in makers.items():
        try:
            parsers[title] = make()
        except Exception as error:  # every library raises its own kinds
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            if not isinstance(error, (*EXPECTED, EngineError)) and "int8" not in title:
                part.status, part.note = "failed", f"{title}: {reason}"
            part.rows.append({"frame": title, "note": reason})
    return parsers


def _parser(file: Path, backend: str) -> HumanParser:
    return HumanParser(file, backend=backend, device="cuda")


def _graphed(file: Path) -> HumanParser:
    return HumanParser.on(graphed_backend(file), name=file.name)


def _int8(family: str, name: str, side: int, folder: Path) -> Path:
    if importlib.util.find_spec("tensorrt") is None:
        raise SkippedError("TensorRT is not installed")
    arguments = [name, "--random", "--family", family, "--precision", "int8", "--target", "tensorrt", "--gate", "off"]
    path = folder / "int8.onnx"
    return path if path.exists() else export_by_command([*arguments, "--imgsz", str(side), "--calib-count", "4"], path)


def _engine(file: Path) -> Path:
    from ce2p_export.tensorrt import BuildSettings, build_engine_file

    path: Path = build_engine_file(file, BuildSettings(), file.with_suffix(".engine")).path
    return path


def compare(
    part: Part, usual: Callable[[NDArray[np.uint8]], Labels], parsers: dict[str, HumanParser], rounds: int
) -> None:
    """Hold every parser's labels against the usual way's, then time all of them."""
    frames = [photo(FRAME, seed) for seed in range(4)]
    expected = usual(frames[0])
    agreement: dict[str, float] = {}
    for title, parser in parsers.items():
        agreement[title] = float((parser(frames[0]).labels == expected).mean())
        assert agreement[title] >= MIN_AGREEMENT[parser.metadata.precision], f"{title}: {agreement[title]:.2%} agree"
    turn = iter(range(10**9))
    candidates: dict[str, Callable[[], object]] = {
        "usual way, network on the GPU": lambda: usual(frames[next(turn) % 4])
    }
    for title, parser in parsers.items():
        candidates[title] = lambda parser=parser: parser(frames[next(turn) % 4])  # type: ignore[misc]
    timings = interleave(candidates, rounds, rest=0.005)
    rival = timings["usual way, network on the GPU"].median_ms
    for title, timing in timings.items():
        row: dict[str, Any] = {"frame": title, "median ms": timing.median_ms, "p95 ms": timing.p95_ms}
        row["of the usual"] = f"{timing.median_ms / rival:.3f}"
        if title in parsers:
            row |= {"same labels": f"{agreement[title]:.4%}", "stream frames/s": _stream_rate(parsers[title], frames)}
            part.facts[title] = str(parsers[title])
        part.rows.append(row)
        part.facts.setdefault("samples", {})[title] = timing.samples


def _stream_rate(parser: HumanParser, frames: list[NDArray[np.uint8]]) -> float:
    """Frames per second of a stream, with as many frames in flight as the parser keeps."""
    stream = (SourceFrame(frames[i % len(frames)], Path("frame"), i) for i in range(STREAM_FRAMES))
    started = time.perf_counter()
    count = sum(1 for _ in parser.parse_frames(stream))
    return count / (time.perf_counter() - started)


if __name__ == "__main__":
    part_main("Frames", work, model="schp:lip-r101-os16:473", rounds=20, files="")
