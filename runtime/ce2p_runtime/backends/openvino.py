"""OpenVINO, on the CPU (or another OpenVINO device by name)."""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
import threading
from collections import deque
from functools import cache
from io import BytesIO
from pathlib import Path
from pkgutil import get_data
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base.text import install_hint
from ..errors import BackendError, ModelFileError
from ..measuring.machine import cpu_model, usable_cores
from ..model_files.onnx_file import checked_metadata, onnx_digest
from ..precisions import HalfType, precision_named
from ..process.telemetry import import_openvino
from ..process.threads import keep_in_children
from .base import Backend, check_signature
from .compiled_memory import compiled_key, forget_compiled, keep_compiled, recall_compiled
from .openvino_model import openvino_model

logger = logging.getLogger(__name__)

_HINTS: dict[HalfType | None, str] = {None: "f32", "float16": "f32", "bfloat16": "bf16"}
"""By the type inside a file. OpenVINO's own default computes float32 files in bfloat16 where the processor can (labels
then differ on 1 to 4 % of pixels, measured on untrained networks), and says nothing. Precision belongs to the file, so
it is asked for by name. float16 files are computed in float32 with their float16 weights, as ONNX Runtime does on CPUs:
most processors cannot do better, and asked for f16 one of those answers with bfloat16, which is coarser than the
file. bfloat16 files are computed in bfloat16 where the processor can, else in float32 with their bfloat16 weights. In
int8 files f32 is the precision of the layers that are not quantised."""
_SWITCHES = ("ONEDNN_", "DNNL_", "OV_")
"""Beginnings of environment variables that change what OpenVINO and its kernels make of a network."""
_SLOW = 1 << 26
"""Bytes of a model from which on compiling it takes more than a moment."""


class OpenVinoBackend(Backend):
    """Runs an exported ONNX file with OpenVINO.

    `device`: "auto" or "cpu" for the CPU; any name OpenVINO lists ("GPU", "NPU") as it is. `threads`: CPU threads, None
    for one per physical core. OpenVINO's reader does not expand model-local functions, so they are inlined first, and
    int8 files lose the Q/DQ pairs that would keep its kernels apart (see openvino_pairs.py). On the CPU it loads what
    the cache has of an earlier compilation; with `keep`, where it has none, that is said and mended.
    """

    name = "openvino"

    def __init__(
        self, path: str | Path, device: str = "auto", threads: int | None = None, *, keep: bool = False
    ) -> None:
        path = Path(path)
        self.metadata = checked_metadata(path)
        self._plan = _Plan(path, device, threads, self.metadata.precision)
        compiled, content = _compiled(self._plan, say=keep)
        self.device = self._plan.name.lower()
        inputs, outputs = ([_shape(port) for port in ports] for ports in (compiled.inputs, compiled.outputs))
        self.batch = check_signature(path, self.metadata, inputs, outputs)
        self._path = path
        self._network: _Network | None = _Network(compiled, content)
        if keep:
            self.keep()

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

    def keep(self) -> None:
        """See Backend.keep."""
        network, key = self._network, self._plan.key
        if network is None or key is None or network.content is not None:
            return
        try:
            if self._plan.key_now() == key:  # else the file was written over since it was checked
                keep_compiled(key, self._path.name, network.exported)
        except (OSError, ModelFileError, RuntimeError) as error:
            logger.warning("%s: the compiled network is not kept (%s)", self._path.name, _last_line(error))


_core_lock = threading.Lock()  # `cache` alone lets two threads that come first make a core each


def openvino_core() -> Any:
    """The one OpenVINO core of a process, which never goes. Raises ImportError where OpenVINO is not installed.

    On Linux every core gives the thread that first compiles with it an alternate signal stack, and puts the former one
    back when it goes. Of two cores that go in the order they came, the second puts back what the first has freed: the
    next signal with a Python handler (Ctrl-C, SIGCHLD, SIGALRM) then kills the process (seen with OpenVINO 2026.4).
    """
    with _core_lock:
        return _core()


@cache
def _core() -> Any:
    core = import_openvino().Core()
    keep_in_children(core)
    return core


def device_names() -> list[str]:
    """Devices that OpenVINO finds here. Raises ImportError, and BackendError where onnx is missing beside it."""
    if importlib.util.find_spec("onnx") is None:
        raise BackendError(f"without onnx; {install_hint('openvino')}")
    names: list[str] = openvino_core().available_devices
    return names


class _Network:
    """A compiled network and those of its inference requests that are not running: one for each caller at a time.

    A request holds the values of its latest run, so two callers of one would read each other's.
    """

    def __init__(self, compiled: Any, content: NDArray[np.uint8] | None) -> None:
        self.compiled = compiled
        self.content = content
        """What it was loaded from, which its weights are a part of; None where it was compiled."""
        self._outputs = range(len(compiled.outputs))
        self._idle: deque[Any] = deque([compiled.create_infer_request()])
        keep_in_children(self)

    def run(self, batch: NDArray[Any]) -> list[NDArray[Any]]:
        try:
            request = self._idle.pop()
        except IndexError:  # as many callers as never before
            request = self.compiled.create_infer_request()
        request.infer([batch], share_inputs=True)
        # Copied: the request overwrites its own buffers at its next run.
        outputs = [np.array(request.get_output_tensor(i).data) for i in self._outputs]
        self._idle.append(request)  # not after a failure or an interrupt, which may have left it in the middle
        return outputs

    def exported(self) -> memoryview:
        """What `Core.import_model` makes the same network of."""
        stream = BytesIO()
        self.compiled.export_model(stream)
        return stream.getbuffer()


class _Plan:
    """What is to be compiled, how, and the key that it is kept under."""

    def __init__(self, path: Path, device: str, threads: int | None, precision: str) -> None:
        try:
            self.core = core = openvino_core()
        except ImportError:
            raise BackendError(f"OpenVINO is not installed; {install_hint('openvino')}") from None
        self.path = path
        self.name = name = "CPU" if device in {"auto", "cpu"} else device
        if name.partition(".")[0] not in {known.partition(".")[0] for known in core.available_devices}:
            raise BackendError(f"device {device!r} is not among OpenVINO's: {', '.join(core.available_devices)}")
        hint = _HINTS[precision_named(precision).half]
        if hint == "bf16" and "BF16" not in core.get_property(name, "OPTIMIZATION_CAPABILITIES"):
            hint = "f32"
        self.hint = hint
        self.properties: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": hint}
        if threads is not None:
            self.properties["INFERENCE_NUM_THREADS"] = threads
        self.key = self.key_now()

    def key_now(self) -> str | None:
        """Of the file as it is now; None for other devices than the CPU, whose drivers keep what they compile."""
        if self.name != "CPU":
            return None
        return compiled_key(
            {
                "model": onnx_digest(self.path),
                "properties": self.properties,
                "preparation": [hashlib.sha256(source).hexdigest() for source in _preparation()],
                "openvino": str(self.core.get_versions("CPU")["CPU"].build_number),
                "capabilities": self.core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"),
                "switches": {name: value for name, value in os.environ.items() if name.startswith(_SWITCHES)},
                "cpu": cpu_model(),
                "cores": [os.cpu_count(), usable_cores()],
            }
        )


@cache
def _preparation() -> list[bytes]:
    """The code that makes of a file what OpenVINO compiles."""
    return [get_data(__package__, name) or b"" for name in ("openvino_model.py", "openvino_pairs.py")]


def _compiled(plan: _Plan, say: bool) -> tuple[Any, NDArray[np.uint8] | None]:
    """The network, and what was kept of it if it was loaded from that."""
    content = recall_compiled(plan.key) if plan.key is not None else None
    compiled = _loaded(plan, content) if content is not None else None
    if compiled is None:
        if say and plan.path.stat().st_size > _SLOW:
            logger.info(
                "%s: compiling with OpenVINO once for this machine, which takes some seconds; kept for the next time",
                plan.path.name,
            )
        content, compiled = None, _compile(plan)
    used = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
    if used != plan.hint:
        raise BackendError(
            f"{plan.path}: OpenVINO would compute in {used} on {plan.name} instead of {plan.hint}; choose another "
            "device"
        )
    return compiled, content


def _loaded(plan: _Plan, content: NDArray[np.uint8]) -> Any | None:
    """What was kept as a network; None, and it is kept no longer, where OpenVINO refuses it."""
    try:
        return plan.core.import_model(import_openvino().Tensor(content, shared_memory=True), plan.name, plan.properties)
    except RuntimeError as error:
        forget_compiled(str(plan.key), _last_line(error))
        return None


def _compile(plan: _Plan) -> Any:
    try:
        return plan.core.compile_model(plan.core.read_model(openvino_model(plan.path)), plan.name, plan.properties)
    except RuntimeError as error:
        reason = _last_line(error)
        raise ModelFileError(f"{plan.path}: OpenVINO cannot load it ({reason}); try --backend onnxruntime") from error


def _last_line(error: Exception) -> str:
    """OpenVINO begins with where in its sources it was."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]


def _shape(port: Any) -> list[Any]:
    return [d.get_length() if d.is_static else None for d in port.get_partial_shape()]
