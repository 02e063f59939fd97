"""OpenVINO, on the CPU (or another OpenVINO device by name)."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..errors import BackendError, ModelFileError
from ..forks import keep_in_children
from ..openvino_core import openvino_core
from ..text import install_hint
from .base import check_signature, checked_metadata
from .choice_memory import BackendChoice
from .openvino_pairs import drop_separating_pairs

__all__ = ["OpenVinoBackend"]

_PRECISION_HINTS = {"fp32": "f32", "fp16": "f32", "bf16": "bf16", "int8": "f32"}
"""OpenVINO's own default computes float32 files in bfloat16 where the processor can (labels then differ on 1 to 4 % of
pixels, measured on untrained networks), and says nothing. Precision belongs to the file, so it is asked for by name.
Half-precision files are computed in float32 with their float16 weights, as ONNX Runtime does on CPUs: most processors
cannot do better, and asked for f16 one of those answers with bfloat16, which is coarser than the file. bfloat16 files
are computed in bfloat16 where the processor can, else in float32 with their bfloat16 weights. In int8 files f32 is the
precision of the layers that are not quantised."""


class OpenVinoBackend:
    """Runs an exported ONNX file with OpenVINO.

    `device`: "auto" or "cpu" for the CPU; any name OpenVINO lists ("GPU", "NPU") as it is. `threads`: CPU threads, None
    for one per physical core. OpenVINO's reader does not expand model-local functions, so they are inlined first, and
    int8 files lose the Q/DQ pairs that would keep its kernels apart (see openvino_pairs.py).
    """

    name = "openvino"
    refused: ClassVar[dict[str, str]] = {}
    """Precisions that it does not compute on a CPU, with the reason."""
    choice: BackendChoice | None = None
    """Why "auto" took it; None where nothing was measured."""

    def __init__(self, path: str | Path, device: str = "auto", threads: int | None = None) -> None:
        path = Path(path)
        self.metadata = checked_metadata(path)
        model = _inlined(path)
        compiled, self.device = _compile(path, model, device, threads, self.metadata.precision)
        inputs, outputs = ([_shape(port) for port in ports] for ports in (compiled.inputs, compiled.outputs))
        self.batch = check_signature(path, self.metadata, inputs, outputs)
        self._path = path
        self._network: _Network | None = _Network(compiled)

    def run(self, batch: NDArray[Any]) -> list[NDArray[Any]]:
        """See Backend.run."""
        network = self._network  # ours until we are done, whoever closes meanwhile
        if network is None:
            raise BackendError(f"{self._path}: this OpenVINO network is closed; open it again")
        try:
            return network.run(batch)
        except Exception as error:  # RuntimeError, but nothing promises that
            raise BackendError(
                f"{self._path}: OpenVINO cannot run it ({_last_line(error)}); try another backend"
            ) from error

    def close(self) -> None:
        """See Backend.close."""
        self._network = None


class _Network:
    """A compiled network and those of its inference requests that are not running: one for each caller at a time.

    A request holds the values of its latest run, so two callers of one would read each other's.
    """

    def __init__(self, compiled: Any) -> None:
        self._compiled = compiled
        self._outputs = range(len(compiled.outputs))
        self._idle: deque[Any] = deque([compiled.create_infer_request()])
        keep_in_children(self)

    def run(self, batch: NDArray[Any]) -> list[NDArray[Any]]:
        try:
            request = self._idle.pop()
        except IndexError:  # as many callers as never before
            request = self._compiled.create_infer_request()
        request.infer([batch], share_inputs=True)
        # Copied: the request overwrites its own buffers at its next run.
        outputs = [np.array(request.get_output_tensor(i).data) for i in self._outputs]
        self._idle.append(request)  # not after a failure or an interrupt, which may have left it in the middle
        return outputs


def _inlined(path: Path) -> bytes:
    """The model with every local function expanded; only for files that were checked, whose functions call none."""
    try:
        import onnx
        from onnx import inliner
    except ImportError:
        raise BackendError(f"the OpenVINO backend needs onnx; {install_hint('openvino')}") from None
    try:
        model = onnx.load(str(path))
        model = inliner.inline_local_functions(model)
        drop_separating_pairs(model)
        serialised: bytes = model.SerializeToString()
        return serialised
    except Exception as error:  # protobuf's DecodeError, onnx's own errors
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelFileError(f"{path}: not a readable ONNX model ({reason}); copy or export it again") from error


def _compile(path: Path, model: bytes, device: str, threads: int | None, precision: str) -> tuple[Any, str]:
    try:
        core = openvino_core()
    except ImportError:
        raise BackendError(f"OpenVINO is not installed; {install_hint('openvino')}") from None
    name = "CPU" if device in {"auto", "cpu"} else device
    if name.partition(".")[0] not in {known.partition(".")[0] for known in core.available_devices}:
        raise BackendError(f"device {device!r} is not among OpenVINO's: {', '.join(core.available_devices)}")
    hint = _PRECISION_HINTS.get(precision)
    if hint is None:
        raise ModelFileError(f"{path}: precision {precision!r} is unknown here, expected {', '.join(_PRECISION_HINTS)}")
    if hint == "bf16" and "BF16" not in core.get_property(name, "OPTIMIZATION_CAPABILITIES"):
        hint = "f32"
    properties: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": hint}
    if threads is not None:
        properties["INFERENCE_NUM_THREADS"] = threads
    try:
        compiled = core.compile_model(core.read_model(model), name, properties)
    except RuntimeError as error:
        reason = _last_line(error)
        raise ModelFileError(f"{path}: OpenVINO cannot load it ({reason}); try --backend onnxruntime") from error
    used = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
    if used != hint:
        raise BackendError(
            f"{path}: OpenVINO would compute in {used} on {name} instead of {hint}; choose another device"
        )
    return compiled, name.lower()


def _last_line(error: Exception) -> str:
    """OpenVINO begins with where in its sources it was."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]


def _shape(port: Any) -> list[Any]:
    return [d.get_length() if d.is_static else None for d in port.get_partial_shape()]
