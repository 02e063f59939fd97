"""ONNX Runtime on an NVIDIA GPU, through its CUDA provider, with tensors that stay there."""

from __future__ import annotations

import importlib.util
import itertools
import logging
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ..base.text import first_line
from ..cuda.driver import CudaDevice, Stream, device_index
from ..cuda.kernels import CarriedKernels
from ..errors import BackendError, ModelFileError
from ..model_files.onnx_file import checked_metadata
from ..process.telemetry import import_onnxruntime
from .base import Backend, TensorSpec, check_signature
from .gpu_backend import GpuBackend
from .onnxruntime import OnnxRuntimeBackend, installed_onnxruntime, no_cuda_provider

logger = logging.getLogger(__name__)

_CUDA = "CUDAExecutionProvider"
_DTYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(uint8)": np.uint8}


def open_onnxruntime(path: Path, device: str, threads: int | None) -> Backend:
    """ONNX Runtime, where CUDA may be meant with tensors that stay on the GPU if pycuda is there, else without."""
    if device.partition(":")[0] not in {"auto", "cuda"}:
        return OnnxRuntimeBackend(path, device, threads)
    pycuda = importlib.util.find_spec("pycuda") is not None
    if pycuda and cuda_provider_is_there():
        try:
            return OnnxRuntimeCudaBackend(path, device, threads)
        except BackendError as error:
            if device != "auto":
                raise
            logger.warning("running on the CPU: %s", str(error))
            return OnnxRuntimeBackend(path, "cpu", threads)
    chosen = OnnxRuntimeBackend(path, device, threads)
    if chosen.device.startswith("cuda"):
        logger.warning("frames travel through host memory; for keeping them on the GPU, pip install pycuda")
    return chosen


def cuda_provider_is_there() -> bool:
    """Whether an ONNX Runtime that knows CUDA is installed."""
    if "onnxruntime" not in sys.modules and _lacks_cuda():
        return False
    try:
        onnxruntime = import_onnxruntime()
    except ImportError:
        return False
    return _CUDA in onnxruntime.get_available_providers()


def _lacks_cuda() -> bool:
    """Whether its libraries of providers lie there without CUDA's: then nothing needs importing to know."""
    spec = importlib.util.find_spec("onnxruntime")
    folders = (spec and spec.submodule_search_locations) or []
    libraries = [file.name for folder in folders for file in Path(folder, "capi").glob("*onnxruntime_providers_*")]
    return bool(libraries) and not any("cuda" in name for name in libraries)


class OnnxRuntimeCudaBackend(GpuBackend):
    """Runs an exported ONNX file with ONNX Runtime's CUDA provider, on the stream and in the memory it is given.

    `device`: "auto", "cuda" (the first GPU) or "cuda:N". `threads` is of no use on a GPU. `graph`: have ONNX Runtime
    replay the network as a CUDA graph, captured at the first pass; `graphed` says whether it does. `settings`: more of
    the provider's own options. float32 is computed as float32: the provider's default is TF32, which rounds every
    factor to 10 bits. Raises BackendError when the provider does not load, ModelFileError for a file that is not ours.
    See DeviceBackend.
    """

    name = "onnxruntime"
    capturable = False  # it allocates while it runs

    def __init__(
        self,
        path: str | Path,
        device: str = "auto",
        threads: int | None = None,
        *,
        graph: bool = False,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        path = Path(path)
        self.metadata = checked_metadata(path)
        self.graphed = graph
        self._settings = dict(settings or {})
        gpu = CudaDevice.open(device_index(device, self.name))
        super().__init__(gpu)
        self.carried = CarriedKernels()
        with self._loading(path):
            session = self._open(path, gpu.index, self.stream)
            self._held = _Session(session, self.graphed)
            self.resources.hold(self._held)
            self._ports = _ports(session.get_inputs()), _ports(session.get_outputs())
            del session  # it must end with `_held`, not with this frame
            self.batch = check_signature(path, self.metadata, *([p.shape for p in ports] for ports in self._ports))

    def _open(self, path: Path, index: int, stream: Stream) -> Any:
        """A session on this provider. Raises BackendError and ModelFileError."""
        onnxruntime = installed_onnxruntime()
        if _CUDA not in onnxruntime.get_available_providers():
            raise no_cuda_provider(f"cuda:{index}", onnxruntime)
        if hasattr(onnxruntime, "preload_dlls"):
            onnxruntime.preload_dlls()  # CUDA's and cuDNN's libraries where pip put them
        settings = {
            "device_id": str(index),
            "has_user_compute_stream": "1",
            "user_compute_stream": str(stream.handle),
            "use_tf32": "0",
            **self._settings,
        }
        if self.graphed:
            try:
                return self._on_cuda(onnxruntime, path, {**settings, "enable_cuda_graph": "1"})
            except ModelFileError as error:  # a node on the CPU, say
                logger.warning("%s: runs without a CUDA graph (%s)", path, error)
                self.graphed = False
        return self._on_cuda(onnxruntime, path, settings)

    @staticmethod
    def _on_cuda(onnxruntime: Any, path: Path, settings: dict[str, str]) -> Any:
        cure = "check driver, CUDA and cuDNN with `ce2p doctor`"
        # No name for the session here: the traceback of an error would keep it alive, longer than its stream.
        return on_provider(
            open_session(onnxruntime, path, onnxruntime.SessionOptions(), [(_CUDA, settings)]), _CUDA, cure
        )

    def tensors(self, batch: int) -> tuple[TensorSpec, ...]:
        """See DeviceBackend.tensors."""
        if self.batch is not None and batch != self.batch:
            raise BackendError(f"a batch of {batch}, but this file was exported for {self.batch}")
        return tuple(
            TensorSpec(port.name, np.dtype(_DTYPES[port.type]), (batch, *port.shape[1:]))
            for ports in self._ports
            for port in ports
        )

    def _bind(self, batch: int, addresses: Mapping[str, int]) -> None:
        source, *outputs = self.tensors(batch)
        binding = self._held.session.io_binding()
        where = ("cuda", self.resources.device.index)
        binding.bind_input(source.name, *where, source.dtype.type, source.shape, addresses[source.name])
        for tensor in outputs:
            binding.bind_output(tensor.name, *where, tensor.dtype.type, tensor.shape, addresses[tensor.name])
        self._held.bind(binding)

    def enqueue(self) -> None:
        """See DeviceBackend.enqueue."""
        self._held.enqueue()


class _Session:
    """A session with its binding, which must be gone before the memory that it was given."""

    _graph_ids: ClassVar[itertools.count[int]] = itertools.count(1)

    def __init__(self, session: Any, graphed: bool) -> None:
        self.session = session
        self._graphed = graphed
        self._binding: Any = None
        self._options: Any = None

    def bind(self, binding: Any) -> None:
        onnxruntime = installed_onnxruntime()
        self._binding = binding
        # Each pass waits for its stream. With disable_synchronize_execution_providers it would not, but then ONNX
        # Runtime keeps the pinned memory of every pass until the session ends, and may end the process there: it frees
        # that memory in a callback of the stream, where CUDA allows no calls (seen on an H100 with 1.31).
        self._options = onnxruntime.RunOptions()
        if self._graphed:  # a graph knows its addresses, so each binding has a graph of its own
            self._options.add_run_config_entry("gpu_graph_id", str(next(self._graph_ids)))

    def enqueue(self) -> None:
        try:
            self.session.run_with_iobinding(self._binding, self._options)
        except Exception as error:  # ONNX Runtime's errors share no base class
            raise BackendError(f"ONNX Runtime failed on the GPU ({first_line(error)}); see `ce2p doctor`") from error

    def free(self) -> None:
        self._binding = None
        self.session = None


@dataclass(frozen=True)
class _Port:
    """An input or output. ONNX Runtime's own objects for them keep the whole session alive."""

    name: str
    type: str
    shape: tuple[Any, ...]


def _ports(arguments: list[Any]) -> tuple[_Port, ...]:
    return tuple(_Port(argument.name, argument.type, tuple(argument.shape)) for argument in arguments)


def open_session(onnxruntime: Any, path: Path, options: Any, providers: list[Any] | None) -> Any:
    """A session without ONNX Runtime's own way back to the CPU. Raises ModelFileError."""
    options.log_severity_level = 3
    try:
        # Without enable_fallback=0 a provider that fails is replaced by the CPU, with a line on standard output.
        return onnxruntime.InferenceSession(str(path), options, providers=providers, enable_fallback=0)
    except Exception as error:  # ONNX Runtime's errors share no base class
        raise ModelFileError(
            f"{path}: ONNX Runtime cannot load it ({first_line(error)}); copy or export it again"
        ) from error


def on_provider(session: Any, provider: str, cure: str) -> Any:
    """The session, which runs on that provider. Raises BackendError where it does not."""
    loaded = session.get_providers()[0]
    if loaded != provider:
        del session  # the error's traceback would keep it alive, longer than its stream
        raise BackendError(f"{provider} asked for, but ONNX Runtime could not load it and took {loaded}; {cure}")
    return session
