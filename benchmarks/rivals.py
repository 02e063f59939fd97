"""Every way to run one network on this CPU: PyTorch, ONNX Runtime and OpenVINO on a naive export and on ONNX Runtime's
own static INT8 of it, and our files on each of our backends.

Each contender is a backend of the runtime behind a HumanParser, so that all labels are made and judged alike. What
cannot run here is kept with the reason.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.rival_files import STATIC_INT8, Calibration, Workshop
from benchmarks.rival_runtimes import Run, in_onnxruntime, in_openvino, in_torch, in_torch_compiled
from benchmarks.roofline import float_arithmetic
from benchmarks.workload import Arithmetic
from ce2p_runtime import HumanParser, ModelMetadata
from ce2p_runtime.backends import BACKENDS, Backend
from ce2p_runtime.frame_steps import network_input
from ce2p_runtime.measuring.timing import timed

EAGER, NAIVE = "PyTorch eager", "ONNX Runtime, naive export"
"""The reference for labels, and for times."""
MAX_RELATIVE_L2 = 1e-4
"""Of float32 logits to PyTorch's: one that is further off computes something else, and is not timed."""
COMPILE_SECONDS = 300
"""What torch.compile may take to warm up."""


@dataclass(frozen=True)
class Contender:
    """One way to run the network: a rival's, or ours."""

    name: str
    ours: bool
    floats: Arithmetic
    """What its products that are not quantised are computed in."""
    parser: HumanParser = field(repr=False)
    file: Path

    @property
    def kind(self) -> str:
        """What a network is, whoever runs it: its name without the backend."""
        return self.name.rpartition(", ")[0] or self.name

    def network(self, batch: NDArray[Any]) -> list[NDArray[Any]]:
        """One forward pass."""
        return self.parser.backend.run(batch)

    def timed(self, batch: NDArray[Any]) -> dict[str, float]:
        """Milliseconds of one forward pass."""
        return {"network": timed(lambda: self.network(batch))[0]}


@dataclass
class Contenders:
    """Those that can run, and why the others cannot, by name."""

    ready: dict[str, Contender] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, make: Callable[[], Contender]) -> None:
        """Make one; whatever it raises becomes the reason why it is missing."""
        try:
            made = make()
        except Exception as error:  # every library raises its own kinds
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            self.missing[name] = re.sub(r"(?<!\S)/\S*/", "", reason)  # files by their names: results are published
        else:
            self.ready[made.name] = made


class Rival(Backend):
    """Somebody else's way as a backend of the runtime: any callable from the input to its outputs, parsing first."""

    device = "cpu"
    batch: int | None = 1

    def __init__(self, name: str, metadata: ModelMetadata, run: Run) -> None:
        self.name, self.metadata, self._run = name, metadata, run

    def run(self, batch: NDArray[Any]) -> list[NDArray[Any]]:
        """See Backend.run."""
        return [np.asarray(output) for output in self._run(batch)]

    def close(self) -> None:
        """See Backend.close."""


Maker = tuple[str, Callable[[], Contender]]


def rivals(
    shop: Workshop, calibration: Calibration, threads: int | None, compile_seconds: int = COMPILE_SECONDS
) -> Iterator[Maker]:
    """Name and maker of every rival; a maker may raise. `threads` None: each library's own choice.

    `compile_seconds` 0 leaves torch.compile out.
    """
    net, size = shop.loaded.net, shop.metadata.input_size
    if threads is not None:
        torch.set_num_threads(threads)

    def contender(name: str, run: Run, precision: str, file: Path, floats: Arithmetic = "fp32") -> Contender:
        rival = Rival(name, replace(shop.metadata, precision=precision), run)
        parser = HumanParser.on(rival, name=shop.loaded.path.name if name == EAGER else file.name)
        return Contender(name, False, floats, parser, file)

    def int8(name: str, setting: str) -> Contender:
        file = shop.static_int8(setting, calibration)
        return contender(name, in_onnxruntime(file, threads), "int8", file)

    def int8_in_openvino(name: str) -> Contender:
        file = shop.static_int8(STATIC_INT8[-1], calibration)
        run, floats = in_openvino(file, threads)
        return contender(name, run, "int8", file, floats)

    def by_default(name: str) -> Contender:
        run, floats = in_openvino(shop.naive(), threads)
        return contender(f"{name} ({floats})", run, floats, shop.naive(), floats)

    def in_float(name: str, make: Callable[[], Run]) -> Maker:
        return name, lambda: contender(name, make(), "fp32", shop.naive())

    yield in_float(EAGER, lambda: in_torch(net))
    if compile_seconds:
        yield in_float("PyTorch, torch.compile", lambda: in_torch_compiled(net, size, compile_seconds))
    yield in_float(NAIVE, lambda: in_onnxruntime(shop.naive(), threads))
    for setting in STATIC_INT8:
        title = f"ONNX Runtime, its static INT8, {setting}"
        yield title, partial(int8, title, setting)
    title = "OpenVINO, naive export"
    yield in_float(title, lambda: in_openvino(shop.naive(), threads, "f32")[0])
    yield f"{title}, its default precision", partial(by_default, f"{title}, its default precision")
    best = f"OpenVINO, ONNX Runtime's static INT8, {STATIC_INT8[-1]}"
    yield best, partial(int8_in_openvino, best)


def our_contenders(
    files: Sequence[Path], threads: int | None, backends: Sequence[str] = tuple(BACKENDS)
) -> Iterator[Maker]:
    """Our files on each backend, as `HumanParser(file, backend=...)` opens them."""
    stems: dict[str, list[str]] = {}
    for file in files:
        for backend in backends:
            yield f"ours, {file.name}, {BACKENDS[backend].title}", partial(_ours, file, backend, threads, stems)


def _ours(file: Path, backend: str, threads: int | None, stems: dict[str, list[str]]) -> Contender:
    parser = HumanParser(file, backend=backend, device="cpu", threads=threads)
    metadata = parser.metadata
    kind = metadata.precision + (", low rank" if metadata.extra.get("low_rank") else "")
    known = stems.setdefault(kind, [])
    if file.stem not in known:
        known.append(file.stem)
    which = "" if known.index(file.stem) == 0 else f" ({file.stem})"  # a second file of the same kind
    name = f"ours {kind}{which}, {BACKENDS[backend].title}"
    return Contender(name, True, float_arithmetic(backend, metadata.precision), parser, file)


def check_exact(contenders: Contenders, frame: NDArray[np.uint8]) -> Mapping[str, float | None]:
    """Relative L2 of everybody's logits to PyTorch's on a frame; None for files that give labels.

    In float32 one that is more than MAX_RELATIVE_L2 off is dropped, and so is any whose logits are not finite.
    """
    eager = contenders.ready[EAGER]
    expected = eager.network(network_input(eager.parser.metadata, [frame]))[0]
    distances: dict[str, float | None] = {}
    for one in list(contenders.ready.values()):
        metadata = one.parser.metadata
        if metadata.output_kind != "logits":
            distances[one.name] = None
            continue
        found = np.asarray(one.network(network_input(metadata, [frame]))[0], np.float32)
        distance = float(np.linalg.norm(found - expected) / np.linalg.norm(expected))
        distances[one.name] = distance
        if not np.isfinite(distance) or (metadata.precision == "fp32" and not distance <= MAX_RELATIVE_L2):
            del contenders.ready[one.name]
            contenders.missing[one.name] = (
                f"wrong, not timed: relative L2 {distance:.1e} to PyTorch, {MAX_RELATIVE_L2:.0e} allowed"
            )
    return distances
