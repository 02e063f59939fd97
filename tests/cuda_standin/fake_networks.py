"""Networks over a Machine: a `tensorrt` whose plans hold an ONNX file, and ONNX Runtime's CUDA provider on the CPU.

Both queue their work on the stream they are given and touch nothing but the addresses they are given.
"""

from __future__ import annotations

import hashlib
import json
from enum import IntEnum
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from ce2p_runtime.model_files.engine_file import EngineSidecar, Profile, sidecar_path
from ce2p_runtime.model_files.metadata import METADATA_KEY, ModelMetadata

from .machine import Machine, Operation

__all__ = ["VERSION", "fake_onnxruntime", "make_engine", "make_tensorrt"]

VERSION = "11.4.0.106"
_MAGIC = b"stand-in plan\n"
_RealSession = onnxruntime.InferenceSession


def cpu_session(model: str | bytes) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return _RealSession(model, options, providers=["CPUExecutionProvider"])


def make_engine(
    model: Path,
    path: Path,
    *,
    half: bool = False,
    profiles: tuple[tuple[int, int, int], ...] = ((1, 1, 1),),
    kernels: dict[str, str] | None = None,
    capture: bool = True,
    **changes: Any,
) -> Path:
    """An ONNX file as a plan with its sidecar. `changes`: fields of the sidecar; `capture`: whether graphs hold it."""
    content = model.read_bytes()
    plan = _MAGIC + json.dumps({"half": half, "profiles": profiles, "capture": capture, "bytes": len(content)}).encode()
    path.write_bytes(plan + b"\n" + content)
    properties = dict(cpu_session(str(model)).get_modelmeta().custom_metadata_map)
    fields: dict[str, Any] = {
        "plan_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "onnx_sha256": hashlib.sha256(content).hexdigest(),
        "tensorrt": VERSION,
        "architecture": "sm_90",
        "hardware_compatibility": "none",
        "version_compatible": False,
        "precision": "fp16" if half else "fp32",
        "profiles": tuple(Profile(*profile) for profile in profiles),
        "plugins": (),
        "kernels": kernels or {},
        "metadata": ModelMetadata.from_json(properties[METADATA_KEY], str(model)),
    }
    sidecar_path(path).write_text(EngineSidecar(**{**fields, **changes}).to_json())
    return path


def _forward(machine: Machine, session: Any, inputs: Any, outputs: Any, half: bool) -> None:
    """inputs, outputs: (name, address, shape, dtype)."""
    feeds = {}
    for name, address, shape, dtype in inputs:
        values = _array(machine, address, shape, dtype)
        feeds[name] = values.astype(np.float32) if half and dtype == np.float16 else values
    results = session.run([name for name, *_ in outputs], feeds)
    for (_, address, shape, dtype), result in zip(outputs, results, strict=True):
        np.copyto(_array(machine, address, shape, dtype), result, casting="same_kind")


def _array(machine: Machine, address: int, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    nbytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return machine.find(address, nbytes, "device").view(dtype).reshape(shape)


class Severity(IntEnum):
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)


def make_tensorrt(machine: Machine, version: str = VERSION) -> ModuleType:
    """A module for sys.modules."""
    trt: Any = ModuleType("tensorrt")
    loggers: list[Any] = []

    class ILogger:
        Severity = Severity

        def __init__(self) -> None:
            self.ready = True

        def log(self, severity: Severity, message: str) -> None: ...

    class TensorIOMode(IntEnum):
        NONE, INPUT, OUTPUT = range(3)

    class Counted:
        def __init__(self, kind: str) -> None:
            machine.create(kind)
            self.kind = kind

        def __del__(self) -> None:
            if hasattr(self, "kind"):
                machine.destroy(self.kind)

    def made(logger: Any, make: Any) -> Any:
        """TensorRT returns nothing where it cannot make something, and logs why."""
        try:
            return make()
        except Exception as error:
            logger.log(Severity.ERROR, f"createExecutionContext: Error Code 2: OutOfMemory ({error})")
            return None

    class Runtime(Counted):
        def __init__(self, logger: Any) -> None:
            assert logger.ready, "ILogger.__init__ was not called"
            try:
                super().__init__("runtime")
            except Exception:
                raise TypeError("pybind11::init(): factory function returned nullptr") from None
            loggers.append(logger)
            self.logger = loggers[0]  # for everybody and for ever, as TensorRT does
            self.engine_host_code_allowed = False

        def deserialize_cuda_engine(self, plan: bytes) -> Any:
            line, _, content = plan.removeprefix(_MAGIC).partition(b"\n")
            try:
                facts = json.loads(line)
                whole = plan.startswith(_MAGIC) and facts["bytes"] == len(content)
            except ValueError:
                whole = False
            if not whole:
                self.logger.log(Severity.ERROR, "IRuntime::deserializeCudaEngine: Error Code 1:\n Serialization failed")
                return None
            self.logger.log(Severity.INFO, "Loaded engine size: 1 MiB")
            return made(self.logger, lambda: Engine(self, facts, cpu_session(content)))

    class Engine(Counted):
        def __init__(self, runtime: Runtime, facts: dict[str, Any], session: Any) -> None:
            super().__init__("engine")
            self.runtime, self.facts, self.session = runtime, facts, session
            self.ports = {port.name: port for port in (*session.get_outputs(), *session.get_inputs())}
            self.inputs = {port.name for port in session.get_inputs()}
            self.num_io_tensors = len(self.ports)
            self.num_optimization_profiles = len(facts["profiles"])

        def get_tensor_name(self, index: int) -> str:
            return list(self.ports)[index]

        def get_tensor_mode(self, name: str) -> TensorIOMode:
            return TensorIOMode.INPUT if name in self.inputs else TensorIOMode.OUTPUT

        def get_tensor_shape(self, name: str) -> tuple[int, ...]:
            shape = tuple(size if isinstance(size, int) else -1 for size in self.ports[name].shape)
            (low, _, high), *more = self.facts["profiles"]
            return (low, *shape[1:]) if low == high and not more else shape

        def get_tensor_dtype(self, name: str) -> Any:
            kind = self.ports[name].type
            if kind == "tensor(uint8)":
                return np.uint8
            return np.float16 if self.facts["half"] else np.float32

        def get_tensor_profile_shape(self, name: str, profile: int) -> list[tuple[int, ...]]:
            return [(size, *self.get_tensor_shape(name)[1:]) for size in self.facts["profiles"][profile]]

        def create_execution_context(self) -> Any:
            return made(self.runtime.logger, lambda: ExecutionContext(self))

    class ExecutionContext(Counted):
        def __init__(self, engine: Engine) -> None:
            super().__init__("context")
            self.engine = engine
            self.addresses: dict[str, int] = {}
            self.shape: tuple[int, ...] | None = None
            self.profile = 0
            self.warm = False

        def set_optimization_profile_async(self, index: int, stream: int) -> bool:
            self.profile = index
            machine.enqueue(stream, Operation("profile", lambda: None))
            return True

        def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
            low, _, high = self.engine.get_tensor_profile_shape(name, self.profile)
            self.shape, self.warm = tuple(shape), False
            return all(a <= s <= b for a, s, b in zip(low, shape, high, strict=True))

        def infer_shapes(self) -> list[str]:
            return [] if self.shape else list(self.engine.inputs)

        def set_tensor_address(self, name: str, address: int) -> bool:
            self.addresses[name], self.warm = address, False
            return address % 256 == 0

        def execute_async_v3(self, stream: int) -> bool:
            captured = machine.streams[stream].captured is not None
            if captured and not (self.warm and self.engine.facts["capture"]):
                self.engine.runtime.logger.log(Severity.ERROR, "enqueueV3: cannot be captured")
                machine.streams[stream].broken = "TensorRT"
                return False
            shape = self.shape
            assert shape is not None
            tensors = {
                name: (
                    name,
                    self.addresses[name],
                    (shape[0], *self.engine.get_tensor_shape(name)[1:]),
                    self.engine.get_tensor_dtype(name),
                )
                for name in self.engine.ports
            }
            inputs = [tensors[name] for name in tensors if name in self.engine.inputs]
            outputs = [tensors[name] for name in tensors if name not in self.engine.inputs]
            session, half = self.engine.session, self.engine.facts["half"]
            machine.enqueue(
                stream,
                Operation(
                    "network", lambda: _forward(machine, session, inputs, outputs, half), list(self.addresses.values())
                ),
            )
            self.warm = True
            return True

    trt.__version__ = version
    trt.ILogger, trt.Runtime, trt.TensorIOMode = ILogger, Runtime, TensorIOMode
    trt.nptype = lambda dtype: dtype
    module: ModuleType = trt
    return module


def fake_onnxruntime(machine: Machine, loads: bool = True, graphs: bool = True) -> dict[str, Any]:
    """Attributes for `onnxruntime`: a CUDA provider that runs on the CPU, or (`loads`) that falls back to it.

    `graphs`: whether a session may be replayed as a CUDA graph.
    """

    class Argument:
        """An input or output. The real ones keep their session alive, too."""

        def __init__(self, real: Any, session: Any) -> None:
            self.name, self.type, self.shape = real.name, real.type, real.shape
            self.session = session

    class Binding:
        def __init__(self) -> None:
            self.inputs: list[Any] = []
            self.outputs: list[Any] = []

        def bind_input(self, name: str, device: str, index: int, dtype: Any, shape: Any, address: int) -> None:
            assert (device, index) == ("cuda", 0)
            self.inputs.append((name, address, tuple(shape), dtype))

        def bind_output(self, name: str, device: str, index: int, dtype: Any, shape: Any, address: int) -> None:
            assert (device, index) == ("cuda", 0)
            self.outputs.append((name, address, tuple(shape), dtype))

    class Session:
        def __init__(self, path: str, options: Any, providers: Any = None, **others: Any) -> None:
            name, settings = providers[0] if isinstance(providers[0], tuple) else (providers[0], {})
            self.provider = name if loads else "CPUExecutionProvider"
            self.counted = False
            self.real: Any = None
            self.settings = dict(settings)
            self.graph_ids: list[str] = []
            if settings.get("enable_cuda_graph") == "1" and not graphs:
                raise RuntimeError("This session cannot use the graph capture feature as requested by the user")
            if settings:
                machine.create("session")
                self.counted = True
            self.real = cpu_session(path)
            self.stream = int(settings.get("user_compute_stream", 0))

        def __getattr__(self, name: str) -> Any:
            return getattr(self.real, name)

        def get_inputs(self) -> list[Argument]:
            return [Argument(real, self) for real in self.real.get_inputs()]

        def get_outputs(self) -> list[Argument]:
            return [Argument(real, self) for real in self.real.get_outputs()]

        def get_providers(self) -> list[str]:
            return [self.provider, "CPUExecutionProvider"]

        def io_binding(self) -> Binding:
            return Binding()

        def run_with_iobinding(self, binding: Binding, options: Any) -> None:
            touched = [address for _, address, *_ in (*binding.inputs, *binding.outputs)]
            self.graph_ids.append(options.get_run_config_entry("gpu_graph_id") if self._graphed() else "")
            machine.enqueue(
                self.stream,
                Operation(
                    "network", lambda: _forward(machine, self.real, binding.inputs, binding.outputs, False), touched
                ),
            )
            queue = machine.streams[self.stream].queue  # the real one waits, unless it is asked not to
            machine.synchronize(lambda: not queue, "run_with_iobinding")

        def _graphed(self) -> bool:
            return self.settings.get("enable_cuda_graph") == "1"

        def __del__(self) -> None:
            if self.counted:
                if self.stream not in machine.streams:
                    machine.problems.append("a session outlived its stream")
                machine.destroy("session")

    return {
        "InferenceSession": Session,
        "get_available_providers": lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"],
        "preload_dlls": lambda: None,
    }
