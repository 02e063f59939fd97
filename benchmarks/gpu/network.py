"""The network alone, data on the GPU: ours beside PyTorch and ONNX Runtime on a naive export, batch by batch.

    python -m benchmarks.gpu.network [--model schp:lip-r101-os16:473] [--batches 1,4,16,64] [--rounds 20] [--budget 240]

All candidates of a batch run interleaved. Each one's logits are compared with PyTorch in float32 on the CPU before the
clock starts; one that is too far off is listed as wrong and not timed. What cannot run here is listed with the reason.
Beside each speed stands how many of the logits' pixels keep their label; weights are random, so near ties are common.
`--budget`: seconds; when they are nearly over, larger batches and torch.compile are left out, and that is said.
`--files FOLDER` keeps the exported files and uses those of an earlier run; `--export-only 1` stops when they are there,
which needs no GPU. `--without TEXT` leaves out the candidates with TEXT in their names.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.export_command import export_by_command
from benchmarks.gpu.candidates import (
    Candidate,
    from_backend,
    from_graph,
    from_naive_onnx,
    from_torch,
    from_torch_compiled,
)
from benchmarks.gpu.parts import EXPECTED, EXPORTS, Part, SkippedError, part_main, working_folder
from ce2p.models import CE2P, CE2PConfig, parse_model_name, untrained
from ce2p_export import GraphOptions, deploy, export_onnx, export_plain, open_source
from ce2p_runtime.timing import interleave

__all__ = ["LIMITS", "Files", "export_files", "measure", "our_files"]

# TF32 is off, so float32 on a GPU differs from the CPU by summation order alone: the limit of ce2p_export.proof.
# Half precision keeps 11 bits, and 120 layers add up: 3e-2 separates rounding from a wrong layer (0.1 and more).
# INT8 of random weights may be off by 0.2: this limit catches another network, not a badly calibrated one. Whether an
# INT8 file is good enough, the gate says, on a trained network.
LIMITS = {"fp32": 1e-4, "fp16": 3e-2, "int8": 0.5}
COMPILE_SECONDS = 60
"""What torch.compile may take for one batch size; it is tried only while that much is left."""
Make = Callable[[], Candidate]


@dataclass(frozen=True)
class Files:
    """The exported files of one network."""

    naive: Path
    fp32: Path
    fp16: Path
    engines: dict[str, Path]
    """Name -> TensorRT engine."""
    missing: dict[str, str]
    """Name -> why there is none."""


def our_files(family: str, name: str, size: tuple[int, int], batch: int | None, folder: Path) -> dict[str, Path]:
    """Precision -> our ONNX file, with random weights; one that is in `folder` already is taken as it is.

    `batch`: None for one file that takes any.
    """
    files = {precision: _path(family, name, size, batch, folder, precision) for precision in ("fp32", "fp16")}
    for precision, path in files.items():
        if not path.exists():
            source = open_source(name, family=family, random=True)
            export_onnx(source, GraphOptions(size, batch, precision=precision), path)  # type: ignore[arg-type]
    return files


def _path(family: str, name: str, size: tuple[int, int], batch: int | None, folder: Path, kind: str) -> Path:
    return folder / f"{family}-{name}-{size[0]}x{size[1]}-b{batch or 'any'}-{kind}.onnx"


def export_files(net: CE2P, family: str, name: str, size: tuple[int, int], batch: int, folder: Path) -> Files:
    """Naive export, our two files and, where TensorRT is, their engines and an INT8 one, all for one batch size.

    ONNX files that are in `folder` already are taken as they are.
    """
    naive = _path(family, name, size, batch, folder, "naive")
    if not naive.exists():
        export_plain(net, naive, size, batch)
    # One file for all larger batches: the proof of an export runs its batch on the CPU.
    files = our_files(family, name, size, 1 if batch == 1 else None, folder)
    engines: dict[str, Path] = {}
    missing: dict[str, str] = {}
    if importlib.util.find_spec("tensorrt") is None:
        return Files(naive, files["fp32"], files["fp16"], {}, {"ours TensorRT": "TensorRT is not installed"})
    from ce2p_export.tensorrt import BuildSettings, build_engine_file

    static = our_files(family, name, size, batch, folder)
    makers: dict[str, tuple[Callable[[], Path], bool]] = {
        f"{precision}{'' if plugins else ', no plugins'}": (lambda file=file: file, plugins)  # type: ignore[misc]
        for precision, file in static.items()
        for plugins in (True, False)
    }
    makers["int8"] = (lambda: _int8(family, name, size, batch, _path(family, name, size, batch, folder, "int8")), True)
    for title, (make, plugins) in makers.items():
        try:
            file = make()
            target = folder / f"{file.stem}{'' if plugins else '_plain'}.engine"
            engines[title] = build_engine_file(file, BuildSettings(plugins=plugins), target).path
        except Exception as error:  # no TensorRT, no GPU that it knows, an export that the gate refuses
            missing[f"ours TensorRT {title}"] = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return Files(naive, files["fp32"], files["fp16"], engines, missing)


def _int8(family: str, name: str, size: tuple[int, int], batch: int, path: Path) -> Path:
    """Our INT8 file with the quantisers where TensorRT wants them, calibrated on drawn people; not gated."""
    arguments = [
        name, "--random", "--family", family, "--precision", "int8", "--target", "tensorrt", "--gate", "off",
        "--imgsz", f"{size[0]}x{size[1]}", "--batch", str(batch), "--calib-count", "4",
    ]  # fmt: skip
    return path if path.exists() else export_by_command(arguments, path)


def gpu_candidates(net: CE2P, files: Files, images: NDArray[np.float32], folded: CE2P) -> Iterator[tuple[str, Make]]:
    """Name and maker of each candidate; a maker may raise when its candidate cannot run here."""
    yield "PyTorch fp32", lambda: from_torch("PyTorch fp32", net, images, "fp32", graph=False)
    yield "PyTorch fp16", lambda: from_torch("PyTorch fp16", net, images, "fp16", graph=False)
    yield "PyTorch fp16 graph", lambda: from_torch("PyTorch fp16 graph", net, images, "fp16", graph=True)
    folded_name = "PyTorch fp16 graph, folded"
    yield folded_name, lambda: from_torch(folded_name, folded, images, "fp16", graph=True)
    yield "ORT CUDA naive", lambda: from_naive_onnx("ORT CUDA naive", files.naive, images)
    for precision, file in (("fp32", files.fp32), ("fp16", files.fp16)):
        title = f"ours onnxruntime {precision}"
        yield title, lambda title=title, file=file: from_backend(title, file, images, "onnxruntime")  # type: ignore[misc]
        title = f"ours onnxruntime {precision} graph"
        yield title, lambda title=title, file=file: from_graph(title, file, images)  # type: ignore[misc]
        title = f"ours onnxruntime {precision} graph, NHWC"
        yield title, lambda title=title, file=file: from_graph(title, file, images, {"prefer_nhwc": "1"})  # type: ignore[misc]
        title = f"ours tensorrt-rtx {precision}"
        if len(images) > 1:
            yield title, lambda: _skip("left out above batch 1, where it compiles for too long")
        else:
            yield title, lambda title=title, file=file: from_backend(title, file, images, "tensorrt-rtx")  # type: ignore[misc]
    for engine, path in files.engines.items():
        title = f"ours TensorRT {engine}"
        yield title, lambda title=title, path=path: from_backend(title, path, images, "tensorrt")  # type: ignore[misc]
    for title, reason in files.missing.items():
        yield title, lambda reason=reason: _skip(reason)  # type: ignore[misc]


def _skip(reason: str) -> Candidate:
    raise SkippedError(reason)


def measure(
    part: Part,
    makers: Iterator[tuple[str, Make]],
    reference: NDArray[Any],
    batch: int,
    rounds: int,
    rest: float = 0.005,
) -> None:
    """Make, check and time one batch's candidates; adds a row for each, also for those that cannot run."""
    ready: list[Candidate] = []
    distances: dict[str, float] = {}
    agreement: dict[str, float] = {}
    for name, make in makers:
        try:
            candidate = make()
            logits = candidate.logits()[:1]
            distance = _relative_l2(logits, reference)
        except Exception as error:  # every library raises its own kinds
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            if not isinstance(error, (*EXPECTED, torch.OutOfMemoryError)):
                part.status, part.note = "failed", f"{name} at batch {batch}: {reason}"
            part.rows.append({"network": name, "batch": batch, "note": reason})
            continue
        distances[name] = distance
        agreement[name] = float(np.mean(np.argmax(logits, axis=1) == np.argmax(reference, axis=1)))
        if not distance < LIMITS[candidate.precision]:
            part.status, part.note = (
                "wrong",
                f"{name} at batch {batch}: relative L2 {distance:.1e} to PyTorch on the CPU",
            )
            part.rows.append({"network": name, "batch": batch, "relative L2": distance, "note": "wrong, not timed"})
            candidate.close()
            continue
        ready.append(candidate)
    if not ready:
        raise SkippedError("no candidate could run")
    timings = interleave({c.name: c.step for c in ready}, rounds, rest=rest)
    for name, timing in timings.items():
        part.rows.append(
            {
                "network": name, "batch": batch, "median ms": timing.median_ms, "p95 ms": timing.p95_ms,
                "images/s": 1e3 * batch / timing.median_ms, "relative L2": distances[name],
                "same labels": f"{agreement[name]:.3%}",
            }
        )  # fmt: skip
        part.facts.setdefault("samples", {})[f"{name} x{batch}"] = timing.samples
    for candidate in ready:
        candidate.close()


def _relative_l2(found: NDArray[Any], expected: NDArray[Any]) -> float:
    return float(np.linalg.norm(np.asarray(found, np.float32) - expected) / np.linalg.norm(expected))


def work(part: Part, options: argparse.Namespace) -> None:
    """Every batch in turn, then torch.compile where time is left."""
    if not torch.cuda.is_available() and not options.export_only:
        raise SkippedError(f"PyTorch {torch.__version__} sees no CUDA GPU")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    deadline = time.monotonic() + options.budget
    family, name, side = options.model.split(":")
    size = (int(side), int(side))
    _, backbone, stride = parse_model_name(name)
    net = untrained(CE2PConfig.of(family, backbone, stride, 20))
    batches = [int(batch) for batch in options.batches.split(",")]
    if options.export_only:
        part.name = EXPORTS
        Path(options.files).mkdir(parents=True, exist_ok=True)
        for batch in batches:
            files = export_files(net, family, name, size, batch, Path(options.files))
            part.rows += [{"file": path.name, "batch": batch} for path in (files.naive, files.fp32, files.fp16)]
        return
    folded = deploy(net, size).net
    one = np.random.default_rng(0).standard_normal((1, 3, *size), np.float32)
    with torch.inference_mode():
        reference = net(torch.from_numpy(one)).parsing.numpy()
    notes: list[str] = []
    with working_folder(options.files) as folder:
        for batch in batches:
            started = time.monotonic()
            images = np.repeat(one, batch, axis=0)
            files = export_files(net, family, name, size, batch, folder)
            makers = gpu_candidates(net, files, images, folded)
            wanted = (entry for entry in makers if not options.without or options.without not in entry[0])
            measure(part, wanted, reference, batch, options.rounds)
            torch.cuda.empty_cache()
            if deadline - time.monotonic() < 2 * (time.monotonic() - started):
                notes.append(f"no time for batches above {batch}")
                break
        for batch in batches:
            if deadline - time.monotonic() < COMPILE_SECONDS:
                notes.append(f"no time for torch.compile at batch {batch} and above")
                break
            _compiled(part, net, np.repeat(one, batch, axis=0), reference, options.rounds)
    part.note = "; ".join([part.note, *notes] if part.note else notes)


def _compiled(part: Part, net: CE2P, images: NDArray[np.float32], reference: NDArray[Any], rounds: int) -> None:
    """torch.compile beside PyTorch's graph, which was measured above too and so links the two comparisons."""
    torch.compiler.reset()  # a batch size of its own for each: no guards, no dynamic shapes
    again = "PyTorch fp16 graph (again)"
    makers: dict[str, Make] = {again: lambda: from_torch(again, net, images, "fp16", graph=True)}
    for precision in ("fp16", "fp32"):
        title = f"torch.compile {precision}"
        makers[title] = lambda title=title, precision=precision: from_torch_compiled(title, net, images, precision)  # type: ignore[misc]
    measure(part, iter(makers.items()), reference, len(images), rounds)
    torch.cuda.empty_cache()


if __name__ == "__main__":
    part_main(
        "Network", work, model="schp:lip-r101-os16:473", batches="1,4,16,64", rounds=20, budget=240, files="",
        export_only=0, without="",
    )  # fmt: skip
