"""The network alone, data on the GPU: ours beside PyTorch and ONNX Runtime on a naive export, batch by batch.

    python -m benchmarks.gpu.network [--model schp:lip-r101-os16:473] [--batches 1,4,16,64] [--rounds 20] [--budget 240]

All candidates of a batch run interleaved. Each one's logits are compared with PyTorch in float32 on the CPU before the
clock starts; one that is too far off is listed as wrong and not timed. What cannot run here is listed with the reason.
`--budget`: seconds; when they are nearly over, larger batches and torch.compile are left out, and that is said.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.gpu.candidates import (
    Candidate,
    from_backend,
    from_naive_onnx,
    from_torch,
    from_torch_compiled,
)
from benchmarks.gpu.parts import EXPECTED, Part, SkippedError, part_main
from ce2p.models import CE2P, CE2PConfig, parse_model_name, untrained
from ce2p_export import GraphOptions, deploy, export_onnx, export_plain, open_source
from ce2p_runtime.timing import interleave

__all__ = ["LIMITS", "Files", "export_files", "measure"]

# TF32 is off, so float32 on a GPU differs from the CPU by summation order alone: the limit of ce2p_export.proof.
# Half precision keeps 11 bits, and 120 layers add up: 3e-2 separates rounding from a wrong layer (0.1 and more).
LIMITS = {"fp32": 1e-4, "fp16": 3e-2}
COMPILE_SECONDS = 150
"""What torch.compile may take; it is tried only while that much is left."""
Make = Callable[[], Candidate]


@dataclass(frozen=True)
class Files:
    """The exported files of one network."""

    naive: Path
    fp32: Path
    fp16: Path
    engines: dict[str, Path]
    """Name -> TensorRT engine."""
    notes: tuple[str, ...]


def export_files(net: CE2P, family: str, name: str, size: tuple[int, int], batch: int, folder: Path) -> Files:
    """Naive export, our two files and, where TensorRT is, their engines, all for one batch size."""
    source = open_source(name, family=family, random=True)
    naive = export_plain(net, folder / f"naive_b{batch}.onnx", size, batch)
    files = {
        precision: export_onnx(
            source,
            GraphOptions(size, batch, precision=precision),
            folder / f"{precision}_b{batch}.onnx",  # type: ignore[arg-type]
        ).path
        for precision in ("fp32", "fp16")
    }
    engines, notes = {}, []
    try:
        engines = _engines(files, folder)
    except Exception as error:  # TensorRT missing is one kind of many; the others go on without it
        notes.append(f"TensorRT: {str(error).splitlines()[0]}")
    return Files(naive, files["fp32"], files["fp16"], engines, tuple(notes))


def _engines(files: dict[str, Path], folder: Path) -> dict[str, Path]:
    from ce2p_export.tensorrt import BuildSettings, build_engine_file

    made = {}
    for precision, file in files.items():
        for plugins in (True, False):
            title = f"{precision}{'' if plugins else ', no plugins'}"
            target = folder / f"{file.stem}{'' if plugins else '_plain'}.engine"
            made[title] = build_engine_file(file, BuildSettings(plugins=plugins), target).path
    return made


def gpu_candidates(net: CE2P, files: Files, images: NDArray[np.float32], folded: CE2P) -> Iterator[tuple[str, Make]]:
    """Name and maker of each candidate; a maker may raise when its candidate cannot run here."""
    yield "PyTorch fp32", lambda: from_torch("PyTorch fp32", net, images, "fp32", graph=False)
    yield "PyTorch fp16", lambda: from_torch("PyTorch fp16", net, images, "fp16", graph=False)
    yield "PyTorch fp16 graph", lambda: from_torch("PyTorch fp16 graph", net, images, "fp16", graph=True)
    folded_name = "PyTorch fp16 graph, folded"
    yield folded_name, lambda: from_torch(folded_name, folded, images, "fp16", graph=True)
    yield "ORT CUDA naive", lambda: from_naive_onnx("ORT CUDA naive", files.naive, images)
    for precision, file in (("fp32", files.fp32), ("fp16", files.fp16)):
        for backend in ("onnxruntime", "tensorrt-rtx"):
            title = f"ours {backend} {precision}"
            yield title, lambda title=title, file=file, backend=backend: from_backend(title, file, images, backend)  # type: ignore[misc]
    for engine, path in files.engines.items():
        title = f"ours TensorRT {engine}"
        yield title, lambda title=title, path=path: from_backend(title, path, images, "tensorrt")  # type: ignore[misc]


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
    for name, make in makers:
        try:
            candidate = make()
            distance = _relative_l2(candidate.logits()[:1], reference)
        except Exception as error:  # every library raises its own kinds
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            if not isinstance(error, (*EXPECTED, torch.OutOfMemoryError)):
                part.status, part.note = "failed", f"{name} at batch {batch}: {reason}"
            part.rows.append({"network": name, "batch": batch, "note": reason})
            continue
        distances[name] = distance
        if not distance < LIMITS[candidate.precision]:
            part.status, part.note = (
                "wrong",
                f"{name} at batch {batch}: relative L2 {distance:.1e} to PyTorch on the CPU",
            )
            part.rows.append({"network": name, "batch": batch, "relative L2": distance, "note": "wrong, not timed"})
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
            }
        )  # fmt: skip
        part.facts.setdefault("samples", {})[f"{name} x{batch}"] = timing.samples


def _relative_l2(found: NDArray[Any], expected: NDArray[Any]) -> float:
    return float(np.linalg.norm(np.asarray(found, np.float32) - expected) / np.linalg.norm(expected))


def work(part: Part, options: argparse.Namespace) -> None:
    """Every batch in turn, then torch.compile at batch 1 where time is left."""
    if not torch.cuda.is_available():
        raise SkippedError(f"PyTorch {torch.__version__} sees no CUDA GPU")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    deadline = time.monotonic() + options.budget
    family, name, side = options.model.split(":")
    size = (int(side), int(side))
    _, backbone, stride = parse_model_name(name)
    net = untrained(CE2PConfig.of(family, backbone, stride, 20))
    folded = deploy(net, size).net
    one = np.random.default_rng(0).standard_normal((1, 3, *size), np.float32)
    with torch.inference_mode():
        reference = net(torch.from_numpy(one)).parsing.numpy()
    notes: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        for batch in map(int, options.batches.split(",")):
            started = time.monotonic()
            images = np.repeat(one, batch, axis=0)
            files = export_files(net, family, name, size, batch, Path(folder))
            notes += [note for note in files.notes if note not in notes]
            measure(part, gpu_candidates(net, files, images, folded), reference, batch, options.rounds)
            torch.cuda.empty_cache()
            if deadline - time.monotonic() < 2 * (time.monotonic() - started):
                notes.append(f"no time for batches above {batch}")
                break
        if deadline - time.monotonic() > COMPILE_SECONDS:
            _compiled(part, net, one, reference, options.rounds)
        else:
            notes.append("no time for torch.compile")
    part.note = "; ".join([part.note, *notes] if part.note else notes)


def _compiled(part: Part, net: CE2P, image: NDArray[np.float32], reference: NDArray[Any], rounds: int) -> None:
    """torch.compile beside PyTorch's graph, which was measured above too and so links the two comparisons."""
    pair = {
        "PyTorch fp16 graph (again)": lambda: from_torch("PyTorch fp16 graph (again)", net, image, "fp16", graph=True),
        "torch.compile max-autotune fp16": lambda: from_torch_compiled("torch.compile max-autotune fp16", net, image),
    }
    measure(part, iter(pair.items()), reference, 1, rounds)


if __name__ == "__main__":
    part_main(
        "Network", work, model="schp:lip-r101-os16:473", batches="1,4,16,64", rounds=20, budget=240
    )  # fmt: skip
