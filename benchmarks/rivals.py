"""Every way to run one network on this CPU: PyTorch, ONNX Runtime and OpenVINO on a naive export and on ONNX Runtime's
own static INT8 of it, and our files on each of our backends.

Each peer is a backend of the runtime behind a HumanParser, so that all labels are made and judged alike. What cannot
run here is kept with the reason.
"""

from __future__ import annotations

import copy
import re
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.rival_files import STATIC_INT8, Calibration, Workshop
from benchmarks.roofline import float_arithmetic
from benchmarks.workload import Arithmetic, Workload, workload_of_file
from ce2p.models import CE2P
from ce2p_runtime import HumanParser, ModelMetadata
from ce2p_runtime.backends.openvino import openvino_core
from ce2p_runtime.frame_steps import network_input
from ce2p_runtime.process.telemetry import import_onnxruntime

__all__ = [
    "BACKENDS",
    "EAGER",
    "MAX_RELATIVE_L2",
    "NAIVE",
    "Peer",
    "Peers",
    "Rival",
    "check_exact",
    "our_peers",
    "rivals",
]

EAGER, NAIVE = "PyTorch eager", "ONNX Runtime, naive export"
"""The reference for labels, and for times."""
BACKENDS = ("onnxruntime", "openvino")
TITLES = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}
MAX_RELATIVE_L2 = 1e-4
"""Of float32 logits to PyTorch's: one that is further off computes something else, and is not timed."""
COMPILE_SECONDS = 300
"""What torch.compile may take to warm up."""
_OPENVINO_PRECISIONS: dict[str, Arithmetic] = {"f32": "fp32", "bf16": "bf16"}
Run = Callable[[NDArray[np.float32]], Any]


@dataclass(frozen=True)
class Peer:
    """One way to run the network."""

    name: str
    ours: bool
    floats: Arithmetic
    """What its products that are not quantised are computed in."""
    parser: HumanParser = field(repr=False)
    work: Workload
    file: Path | None = None

    @property
    def precision(self) -> str:
        return self.parser.metadata.precision

    @property
    def kind(self) -> str:
        """What a network is, whoever runs it: its name without the backend."""
        return self.name.rpartition(", ")[0] or self.name

    def network(self, batch: NDArray[Any]) -> list[NDArray[Any]]:
        """One forward pass."""
        return self.parser.backend.run(batch)


@dataclass
class Peers:
    """Those that can run, and why the others cannot."""

    ready: list[Peer] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, make: Callable[[], Peer]) -> None:
        """Make one; whatever it raises becomes the reason why it is missing."""
        try:
            self.ready.append(make())
        except Exception as error:  # every library raises its own kinds
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            self.missing[name] = re.sub(r"(?<!\S)/\S*/", "", reason)  # files by their names: results are published

    def drop(self, peer: Peer, reason: str) -> None:
        """Take one out again."""
        self.ready.remove(peer)
        self.missing[peer.name] = reason

    def __getitem__(self, name: str) -> Peer:
        return next(peer for peer in self.ready if peer.name == name)

    def __contains__(self, name: str) -> bool:
        return any(peer.name == name for peer in self.ready)


class Rival:
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


Maker = tuple[str, Callable[[], Peer]]


def rivals(
    shop: Workshop, calibration: Calibration, threads: int | None, compile_seconds: int = COMPILE_SECONDS
) -> Iterator[Maker]:
    """Name and maker of every rival; a maker may raise. `threads` None: each library's own choice.

    `compile_seconds` 0 leaves torch.compile out.
    """
    net, metadata = shop.loaded.net, shop.metadata
    if threads is not None:
        torch.set_num_threads(threads)

    def peer(name: str, run: Run, precision: str, file: Path, floats: Arithmetic = "fp32") -> Peer:
        rival = Rival(name, replace(metadata, precision=precision), run)
        return Peer(name, False, floats, HumanParser.on(rival, name=name), workload_of_file(file), file)

    yield EAGER, lambda: peer(EAGER, in_torch(net), "fp32", shop.naive())
    if compile_seconds:
        yield (
            "PyTorch, torch.compile",
            lambda: peer(
                "PyTorch, torch.compile",
                in_torch_compiled(net, metadata.input_size, compile_seconds),
                "fp32",
                shop.naive(),
            ),
        )
    yield NAIVE, lambda: peer(NAIVE, in_onnxruntime(shop.naive(), threads), "fp32", shop.naive())
    for setting in STATIC_INT8:
        title = f"ONNX Runtime, its static INT8, {setting}"
        yield title, lambda title=title, setting=setting: _static(peer, title, shop, setting, calibration, threads)  # type: ignore[misc]
    title = "OpenVINO, naive export"
    yield title, lambda: peer(title, in_openvino(shop.naive(), threads, "f32")[0], "fp32", shop.naive())
    yield f"{title}, its default precision", lambda: _by_default(peer, title, shop.naive(), threads)
    best = f"OpenVINO, ONNX Runtime's static INT8, {STATIC_INT8[-1]}"
    yield best, lambda: _static(peer, best, shop, STATIC_INT8[-1], calibration, threads, openvino=True)


def _static(
    peer: Callable[..., Peer],
    title: str,
    shop: Workshop,
    setting: str,
    calibration: Calibration,
    threads: int | None,
    *,
    openvino: bool = False,
) -> Peer:
    file = shop.static_int8(setting, calibration)
    if openvino:
        run, floats = in_openvino(file, threads, None)
        return peer(title, run, "int8", file, floats)
    return peer(title, in_onnxruntime(file, threads), "int8", file)


def _by_default(peer: Callable[..., Peer], title: str, file: Path, threads: int | None) -> Peer:
    run, floats = in_openvino(file, threads, None)
    return peer(f"{title}, its default precision ({floats})", run, floats, file, floats)


def our_peers(files: Sequence[Path], threads: int | None, backends: Sequence[str] = BACKENDS) -> Iterator[Maker]:
    """Our files on each backend, as `HumanParser(file, backend=...)` opens them."""
    stems: dict[str, list[str]] = {}
    for file in files:
        for backend in backends:
            yield f"ours, {file.name}, {TITLES[backend]}", lambda f=file, b=backend: _ours(f, b, threads, stems)  # type: ignore[misc]


def _ours(file: Path, backend: str, threads: int | None, stems: dict[str, list[str]]) -> Peer:
    parser = HumanParser(file, backend=backend, device="cpu", threads=threads)
    metadata = parser.metadata
    kind = metadata.precision + (", low rank" if metadata.extra.get("low_rank") else "")
    known = stems.setdefault(kind, [])
    if file.stem not in known:
        known.append(file.stem)
    which = "" if known.index(file.stem) == 0 else f" ({file.stem})"  # a second file of the same kind
    name = f"ours {kind}{which}, {TITLES[backend]}"
    return Peer(name, True, float_arithmetic(backend, metadata.precision), parser, workload_of_file(file), file)


def in_torch(net: CE2P) -> Run:
    """PyTorch eager; parsing logits only leave it."""
    net = net.eval()

    def run(batch: NDArray[np.float32]) -> Any:
        with torch.inference_mode():
            return [net(torch.from_numpy(batch)).parsing.numpy()]

    return run


def in_torch_compiled(net: CE2P, size: tuple[int, int], seconds: int) -> Run:
    """torch.compile as it comes, warmed up. Raises TimeoutError where that takes longer than `seconds`."""
    module = copy.deepcopy(net).eval()  # compiling leaves marks on the module
    compiled = torch.compile(module)

    def run(batch: NDArray[np.float32]) -> Any:
        with torch.inference_mode():
            return [compiled(torch.from_numpy(batch)).parsing.numpy()]

    with _time_limit(seconds, f"torch.compile did not finish within {seconds} s"):
        for _ in range(2):
            run(np.zeros((1, 3, *size), np.float32))
    return run


def in_onnxruntime(file: Path, threads: int | None) -> Run:
    """ONNX Runtime as it comes."""
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if threads is not None:
        options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda batch: session.run(None, {name: batch})


def in_openvino(file: Path, threads: int | None, precision: str | None) -> tuple[Run, Arithmetic]:
    """OpenVINO with the precision asked for ("f32"), or its own default (None); also what it computes floats in."""
    properties: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
    if precision is not None:
        properties["INFERENCE_PRECISION_HINT"] = precision
    if threads is not None:
        properties["INFERENCE_NUM_THREADS"] = threads
    compiled = openvino_core().compile_model(str(file), "CPU", properties)
    used = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
    if used not in _OPENVINO_PRECISIONS or precision not in (None, used):
        raise RuntimeError(f"OpenVINO computes in {used} here, expected {precision or 'f32 or bf16'}")
    request = compiled.create_infer_request()

    def run(batch: NDArray[np.float32]) -> Any:
        request.infer([batch], share_inputs=True)
        # Copied: the request overwrites its own buffers at the next call.
        return [np.array(request.get_output_tensor(i).data) for i in range(len(compiled.outputs))]

    return run, _OPENVINO_PRECISIONS[used]


@contextmanager
def _time_limit(seconds: int, message: str) -> Iterator[None]:
    """Raise TimeoutError in the main thread after `seconds`. Elsewhere, and without SIGALRM, there is no limit."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "SIGALRM"):
        yield
        return

    def ring(number: int, frame: object) -> None:
        raise TimeoutError(message)

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def check_exact(peers: Peers, frame: NDArray[np.uint8]) -> Mapping[str, float | None]:
    """Relative L2 of every peer's logits to PyTorch's on a frame; None for files that give labels.

    A float32 peer that is more than MAX_RELATIVE_L2 off, and any peer whose logits are not finite, is dropped.
    """
    expected = peers[EAGER].network(network_input(peers[EAGER].parser.metadata, [frame]))[0]
    distances: dict[str, float | None] = {}
    for peer in list(peers.ready):
        metadata = peer.parser.metadata
        if metadata.output_kind != "logits":
            distances[peer.name] = None
            continue
        found = np.asarray(peer.network(network_input(metadata, [frame]))[0], np.float32)
        distance = float(np.linalg.norm(found - expected) / np.linalg.norm(expected))
        distances[peer.name] = distance
        if not np.isfinite(distance) or (peer.precision == "fp32" and not distance <= MAX_RELATIVE_L2):
            peers.drop(peer, f"wrong, not timed: relative L2 {distance:.1e} to PyTorch, {MAX_RELATIVE_L2:.0e} allowed")
    return distances
