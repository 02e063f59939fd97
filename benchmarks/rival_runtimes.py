"""Other people's runtimes, set up in one place: PyTorch, ONNX Runtime and OpenVINO on this CPU, as they come.

`in_...` gives a function from the network's input to its outputs, parsing logits first; the others what they rest on.
`threads` None leaves their number to the library. Each library is imported when it is asked for.
"""

from __future__ import annotations

import copy
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.workload import Arithmetic
from ce2p_runtime.backends.openvino import openvino_core
from ce2p_runtime.process.telemetry import import_onnxruntime

if TYPE_CHECKING:
    from ce2p.models import CE2P

Run = Callable[[NDArray[np.float32]], Any]
_OPENVINO_PRECISIONS: dict[str, Arithmetic] = {"f32": "fp32", "bf16": "bf16"}


def in_torch(net: CE2P) -> Run:
    """PyTorch eager; parsing logits only leave it."""
    import torch

    net = net.eval()

    def run(batch: NDArray[np.float32]) -> Any:
        with torch.inference_mode():
            return [net(torch.from_numpy(batch)).parsing.numpy()]

    return run


def in_torch_compiled(net: CE2P, size: tuple[int, int], seconds: int) -> Run:
    """torch.compile as it comes, warmed up. Raises TimeoutError where that takes longer than `seconds`."""
    import torch

    run = in_torch(torch.compile(copy.deepcopy(net).eval()))  # type: ignore[arg-type]  # compiling leaves marks on it
    with _time_limit(seconds, f"torch.compile did not finish within {seconds} s"):
        for _ in range(2):
            run(np.zeros((1, 3, *size), np.float32))
    return run


def in_onnxruntime(file: Path, threads: int | None) -> Run:
    """ONNX Runtime as it comes."""
    session = onnxruntime_session(str(file), threads)
    name = session.get_inputs()[0].name
    return lambda batch: session.run(None, {name: batch})


def onnxruntime_session(
    model: str | bytes, threads: int | None, provider: str | tuple[str, dict[str, str]] = "CPUExecutionProvider"
) -> Any:
    """A quiet InferenceSession of a file's path or a model's bytes; `threads` None: its own choice."""
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if threads is not None:
        options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(model, options, providers=[provider])


def in_openvino(file: Path, threads: int | None, precision: str | None = None) -> tuple[Run, Arithmetic]:
    """OpenVINO with the precision asked for ("f32"), or its own default (None); also what it computes floats in."""
    compiled, floats = openvino_model(str(file), threads, precision)
    request = compiled.create_infer_request()

    def run(batch: NDArray[np.float32]) -> Any:
        request.infer([batch], share_inputs=True)
        # Copied: the request overwrites its own buffers at the next call.
        return [np.array(request.get_output_tensor(i).data) for i in range(len(compiled.outputs))]

    return run, floats


def openvino_model(model: str | bytes, threads: int | None, precision: str | None = None) -> tuple[Any, Arithmetic]:
    """A CompiledModel on the CPU for latency, of a file's path or a model's bytes, and what it computes floats in.

    Raises ArithmeticError where that is not the `precision` asked for.
    """
    properties: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
    if precision is not None:
        properties["INFERENCE_PRECISION_HINT"] = precision
    if threads is not None:
        properties["INFERENCE_NUM_THREADS"] = threads
    core = openvino_core()
    compiled = core.compile_model(core.read_model(model), "CPU", properties)
    used = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
    if used not in _OPENVINO_PRECISIONS or precision not in (None, used):
        raise ArithmeticError(f"OpenVINO computes in {used} on this processor, expected {precision or 'f32 or bf16'}")
    return compiled, _OPENVINO_PRECISIONS[used]


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
