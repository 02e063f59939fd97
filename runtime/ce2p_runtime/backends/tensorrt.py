"""TensorRT: plans built by `ce2p export --format engine`, on NVIDIA GPUs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from ..cuda.driver import CudaDevice, device_index
from ..cuda.kernels import CarriedKernels
from ..errors import BackendError, ModelFileError
from ..model_files.engine_file import ENGINE_SUFFIXES, EngineSidecar, read_sidecar
from .base import TensorSpec, check_signature
from .gpu_backend import GpuBackend
from .tensorrt_log import process_log, take_complaint


class TensorRTBackend(GpuBackend):
    """Runs a TensorRT plan, with one execution context. See DeviceBackend.

    A plan is machine code: it is loaded when it is the file that its sidecar was written for, or when `trust` says to
    load it regardless. `device`: "auto", "cuda" (the first GPU) or "cuda:N". `threads` is of no use on a GPU. Raises
    BackendError (TensorRT, driver or GPU missing or not the ones it was built for) and ModelFileError.
    """

    name = "tensorrt"
    capturable = True

    def __init__(self, path: str | Path, device: str = "auto", threads: int | None = None, trust: bool = False) -> None:
        path = Path(path)
        plan, sidecar = _read_plan(path, trust)
        index = device_index(device, "TensorRT")
        trt = _import_tensorrt(path, sidecar)
        gpu = CudaDevice.open(index)
        _check_architecture(path, sidecar, gpu)
        super().__init__(gpu)
        self.metadata = sidecar.metadata
        self.carried = CarriedKernels(path.parent, sidecar.kernels)
        with self._loading(path):
            self._loaded = _Loaded(trt, path, plan, sidecar.version_compatible)
            self.resources.hold(self._loaded)
            self._loaded.open()
            self._names, self.batch = self._signature(path)

    def _signature(self, path: Path) -> tuple[list[str], int | None]:
        """Names of the input and the outputs, and the static batch size or None."""
        trt, engine = self._loaded.trt, self._loaded.engine
        names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        inputs = [name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
        # The edge logits come second, whatever order the builder left them in.
        outputs = sorted((name for name in names if name not in inputs), key=lambda name: name == "edge")
        shapes = [[_fixed(size) for size in engine.get_tensor_shape(name)] for name in (*inputs, *outputs)]
        batch = check_signature(path, self.metadata, shapes[: len(inputs)], shapes[len(inputs) :])
        return [inputs[0], *outputs], batch

    def tensors(self, batch: int) -> tuple[TensorSpec, ...]:
        """See DeviceBackend.tensors."""
        if self.batch is not None and batch != self.batch:
            raise BackendError(f"a batch of {batch}, but this engine was built for {self.batch}")
        self._profile(batch)
        return tuple(self._tensor(name, batch) for name in self._names)

    def _tensor(self, name: str, batch: int) -> TensorSpec:
        engine = self._loaded.engine
        shape = tuple(batch if size == -1 else int(size) for size in engine.get_tensor_shape(name))
        return TensorSpec(name, np.dtype(self._loaded.trt.nptype(engine.get_tensor_dtype(name))), shape)

    def _profile(self, batch: int) -> int:
        """Index of the optimisation profile made for this batch size, or for the nearest one."""
        engine, name = self._loaded.engine, self._names[0]
        spans = [
            [int(shape[0]) for shape in engine.get_tensor_profile_shape(name, i)]
            for i in range(engine.num_optimization_profiles)
        ]
        fitting = [i for i, (low, _, high) in enumerate(spans) if low <= batch <= high]
        if not fitting:
            ranges = ", ".join(f"{low} to {high}" for low, _, high in spans)
            raise BackendError(
                f"a batch of {batch}, but this engine was built for {ranges}; build it with --batch {batch}"
            )
        return min(fitting, key=lambda i: abs(spans[i][1] - batch))

    def _bind(self, batch: int, addresses: Mapping[str, int]) -> None:
        context, name = self._loaded.context, self._names[0]
        tensors = self.tensors(batch)
        take_complaint()
        if self._loaded.engine.num_optimization_profiles > 1:
            chosen = context.set_optimization_profile_async(self._profile(batch), self.stream.handle)
            self.stream.synchronize()
            self._loaded.expect(chosen, f"its profile for batch {batch} cannot be used")
        self._loaded.expect(context.set_input_shape(name, tensors[0].shape), f"input {list(tensors[0].shape)} refused")
        for tensor in tensors:
            self._loaded.expect(
                context.set_tensor_address(tensor.name, addresses[tensor.name]), f"no memory for {tensor.name}"
            )
        missing = context.infer_shapes()
        self._loaded.expect(not missing, f"shapes of {', '.join(missing)} are open")

    def enqueue(self) -> None:
        """See DeviceBackend.enqueue."""
        take_complaint()
        self._loaded.expect(self._loaded.context.execute_async_v3(self.stream.handle), "cannot be run")


class _Loaded:
    """Runtime, engine and execution context, which must go in the opposite order."""

    def __init__(self, trt: ModuleType, path: Path, plan: bytes, version_compatible: bool) -> None:
        self.trt: Any = trt
        self._path, self._plan, self._version_compatible = path, plan, version_compatible
        self._runtime: Any = None
        self.engine: Any = None
        self.context: Any = None

    def open(self) -> None:
        """Raises BackendError with TensorRT's own words."""
        take_complaint()
        try:
            self._runtime = self.trt.Runtime(process_log(self.trt))
        except TypeError:  # how the binding says that it got no runtime
            self.expect(False, "TensorRT does not start")
        if self._version_compatible:  # such plans carry code for the host, no more to be trusted than the rest
            self._runtime.engine_host_code_allowed = True
        self.engine = self._runtime.deserialize_cuda_engine(self._plan)
        self._plan = b""
        self.expect(self.engine is not None, "not a plan that this TensorRT can load; build it again")
        self.context = self.engine.create_execution_context()
        self.expect(self.context is not None, "no execution context, perhaps for lack of GPU memory")

    def expect(self, fine: bool, otherwise: str) -> None:
        """Raise BackendError unless `fine`, with what TensorRT complained about since the last call."""
        complaint = take_complaint()
        if not fine:
            words = f" (TensorRT: {complaint:.300})" if complaint else ""
            raise BackendError(f"{self._path}: {otherwise}{words}")

    def free(self) -> None:
        self.context = None
        self.engine = None
        self._runtime = None


def _read_plan(path: Path, trust: bool) -> tuple[bytes, EngineSidecar]:
    """The plan and its sidecar. Raises ModelFileError unless they belong together or `trust`."""
    if path.is_dir() or not path.exists():
        found = "a folder" if path.is_dir() else "no such file"
        raise ModelFileError(f"{path}: {found}, expected an engine made by `ce2p export --format engine`")
    if path.suffix not in ENGINE_SUFFIXES:
        raise ModelFileError(
            f"{path}: expected a TensorRT engine ({', '.join(ENGINE_SUFFIXES)}); make one of a checkpoint with "
            "`ce2p export --format engine`, or use --backend onnxruntime for an ONNX model"
        )
    sidecar = read_sidecar(path)
    plan = path.read_bytes()  # hashed and loaded from the same bytes: a file can change in between
    if not trust and hashlib.sha256(plan).hexdigest() != sidecar.plan_sha256:
        raise ModelFileError(
            f"{path}: is not the file that its .json was written for, and loading an engine runs its code; "
            "copy or build it again, or say --trust-engine"
        )
    return plan, sidecar


def _import_tensorrt(path: Path, sidecar: EngineSidecar) -> ModuleType:
    """TensorRT of the plan's version. Raises BackendError."""
    cure = f"pip install tensorrt=={sidecar.tensorrt}"
    try:
        import tensorrt
    except (ImportError, OSError) as error:  # OSError: its libraries
        raise BackendError(f"{path}: running an engine needs TensorRT ({error}); {cure}") from None
    found: str = tensorrt.__version__
    if found == sidecar.tensorrt or (sidecar.version_compatible and _version(found) >= _version(sidecar.tensorrt)):
        module: ModuleType = tensorrt
        return module
    raise BackendError(
        f"{path}: built with TensorRT {sidecar.tensorrt}, installed is {found}, and a plan loads under its own version "
        f"only; {cure}, or build it again with `ce2p export --format engine`"
    )


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdigit())


def _check_architecture(path: Path, sidecar: EngineSidecar, gpu: CudaDevice) -> None:
    """Raises BackendError when the plan was built for another GPU architecture."""
    if sidecar.architecture == "none":
        raise BackendError(f"{path}: was built without a GPU and runs nowhere; build it again where it shall run")
    fits = sidecar.architecture == gpu.architecture
    if sidecar.hardware_compatibility == "ampere_plus":
        fits = gpu.capability >= (8, 0)
    if not fits:
        raise BackendError(
            f"{path}: built for {sidecar.architecture}, cuda:{gpu.index} ({gpu.name}) is {gpu.architecture}; "
            "build it again there with `ce2p export --format engine`"
        )


def _fixed(size: int) -> int | None:
    return None if size == -1 else int(size)
