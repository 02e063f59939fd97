"""ONNX Runtime on an NVIDIA GPU, tensors staying there: its CUDA provider, and TensorRT for RTX as a plugin of it."""

from __future__ import annotations

import importlib.util
import itertools
import logging
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..base.text import install_hint
from ..cuda.driver import CudaDevice, Resources, Stream, device_index
from ..cuda.kernels import CarriedKernels
from ..errors import BackendError, ModelFileError
from ..process.locking import one_at_a_time
from ..process.telemetry import import_onnxruntime
from .base import TensorSpec, check_signature, checked_metadata
from .device_run import HostRunner

__all__ = ["OnnxRuntimeCudaBackend", "TensorRTRtxBackend", "cuda_provider_is_there"]

logger = logging.getLogger(__name__)

_CUDA = "CUDAExecutionProvider"
_DTYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(uint8)": np.uint8}


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


class OnnxRuntimeCudaBackend:
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
        self.device = f"cuda:{gpu.index}"
        self.carried = CarriedKernels()
        self.resources = Resources(gpu)
        try:
            with gpu.active(f"{path}: loading the network"):
                self.stream = self.resources.stream()
                session = self._open(path, gpu.index, self.stream)
                self._held = _Session(session, self.graphed)
                self.resources.hold(self._held)
            self._ports = _ports(session.get_inputs()), _ports(session.get_outputs())
            del session  # it must end with `_held`, not with this frame
            self.batch = check_signature(path, self.metadata, *([p.shape for p in ports] for ports in self._ports))
        except BaseException:
            self.resources.close()
            raise
        self._host = HostRunner()
        self._lock = threading.RLock()
        self._bound = False

    def _open(self, path: Path, index: int, stream: Stream) -> Any:
        """A session on this provider. Raises BackendError and ModelFileError."""
        onnxruntime = _import_onnxruntime()
        if _CUDA not in onnxruntime.get_available_providers():
            raise BackendError(
                f"device cuda:{index} asked for, but this onnxruntime {onnxruntime.__version__} has no CUDA provider; "
                f"pip uninstall onnxruntime, then {install_hint('gpu')} (never both: see `ce2p doctor`)"
            )
        if hasattr(onnxruntime, "preload_dlls"):
            onnxruntime.preload_dlls()  # CUDA's and cuDNN's libraries where pip put them
        settings = {
            "device_id": str(index),
            "has_user_compute_stream": "1",
            "user_compute_stream": str(stream.handle),
            "use_tf32": "0",
            **self._settings,
        }
        cure = "check driver, CUDA and cuDNN with `ce2p doctor`"
        if self.graphed:
            try:
                return _on_provider(
                    _cuda_session(onnxruntime, path, {**settings, "enable_cuda_graph": "1"}), _CUDA, cure
                )
            except ModelFileError as error:  # a node on the CPU, say
                logger.warning("%s: runs without a CUDA graph (%s)", path, error)
                self.graphed = False
        return _on_provider(_cuda_session(onnxruntime, path, settings), _CUDA, cure)

    def tensors(self, batch: int) -> tuple[TensorSpec, ...]:
        """See DeviceBackend.tensors."""
        if self.batch is not None and batch != self.batch:
            raise BackendError(f"a batch of {batch}, but this file was exported for {self.batch}")
        return tuple(
            TensorSpec(port.name, np.dtype(_DTYPES[port.type]), (batch, *port.shape[1:]))
            for ports in self._ports
            for port in ports
        )

    def bind(self, batch: int, addresses: Mapping[str, int]) -> None:
        """See DeviceBackend.bind."""
        self._bind(batch, addresses)
        self._bound = True

    def _bind(self, batch: int, addresses: Mapping[str, int]) -> None:
        source, *outputs = self.tensors(batch)
        binding = self._held.session.io_binding()
        place = ("cuda", self.resources.device.index)
        binding.bind_input(source.name, *place, source.dtype.type, source.shape, addresses[source.name])
        for tensor in outputs:
            binding.bind_output(tensor.name, *place, tensor.dtype.type, tensor.shape, addresses[tensor.name])
        self._held.bind(binding)

    def enqueue(self) -> None:
        """See DeviceBackend.enqueue."""
        self._held.enqueue()

    @one_at_a_time
    def run(self, batch: NDArray[Any]) -> list[NDArray[Any]]:
        """See Backend.run."""
        if self.resources.closed:
            raise BackendError("this ONNX Runtime session is closed; open it again")
        if self._bound:
            raise BackendError("this network works for a parser's own GPU memory; open another one to run host arrays")
        return self._host.run(self, self._bind, batch)

    @one_at_a_time
    def close(self) -> None:
        """See Backend.close."""
        self.resources.close()


class TensorRTRtxBackend(OnnxRuntimeCudaBackend):
    """Runs an exported ONNX file with TensorRT for RTX, which compiles it for the GPU at hand when it is loaded.

    It comes as a plugin of ONNX Runtime: pip install onnxruntime-ep-nv-tensorrt-rtx-cu13, beside any onnxruntime.
    """

    name = "tensorrt-rtx"

    def _open(self, path: Path, index: int, stream: Stream) -> Any:
        self.graphed = False  # CUDAExecutionProvider's option
        onnxruntime = _import_onnxruntime()
        provider = _register_rtx(onnxruntime)
        devices = [device for device in onnxruntime.get_ep_devices() if device.ep_name == provider]
        if index >= len(devices):
            raise BackendError(
                f"device cuda:{index} asked for, but TensorRT for RTX offers {len(devices)} GPUs; it needs an RTX GPU "
                "of the Ampere generation or later (0.5.0 offers no H100)"
            )
        options = onnxruntime.SessionOptions()
        settings = {"has_user_compute_stream": "1", "user_compute_stream": str(stream.handle), **self._settings}
        options.add_provider_for_devices([devices[index]], settings)
        return _on_provider(_session(onnxruntime, path, options, None), provider, "see its log for the reason")


class _Session:
    """A session with its binding, which must be gone before the memory that it was given."""

    _graph_ids: ClassVar[itertools.count[int]] = itertools.count(1)

    def __init__(self, session: Any, graphed: bool) -> None:
        self.session = session
        self._graphed = graphed
        self._binding: Any = None
        self._options: Any = None

    def bind(self, binding: Any) -> None:
        onnxruntime = _import_onnxruntime()
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
            raise BackendError(f"ONNX Runtime failed on the GPU ({_one_line(error)}); see `ce2p doctor`") from error

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


_registered: dict[str, str] = {}
_registering = threading.Lock()


def _register_rtx(onnxruntime: ModuleType) -> str:
    """Make TensorRT for RTX known to ONNX Runtime, once per process; its provider's name. Raises BackendError."""
    with _registering:
        try:
            import onnxruntime_ep_nv_tensorrt_rtx as plugin
        except ImportError as error:
            raise BackendError(
                f"TensorRT for RTX is not installed ({error}); pip install onnxruntime-ep-nv-tensorrt-rtx-cu13"
            ) from None
        name: str = plugin.get_ep_name()
        if name not in _registered:
            library = plugin.get_library_path()
            try:
                onnxruntime.register_execution_provider_library(name, library)
            except Exception as error:  # ONNX Runtime's errors share no base class
                raise BackendError(f"TensorRT for RTX does not load ({_one_line(error)}); see `ce2p doctor`") from error
            _registered[name] = library
        return name


def _import_onnxruntime() -> ModuleType:
    try:
        return import_onnxruntime()
    except ImportError:
        raise BackendError(f"ONNX Runtime is not installed; {install_hint('gpu')}") from None


def _cuda_session(onnxruntime: Any, path: Path, settings: dict[str, str]) -> Any:
    return _session(onnxruntime, path, onnxruntime.SessionOptions(), [(_CUDA, settings)])


def _session(onnxruntime: Any, path: Path, options: Any, providers: list[Any] | None) -> Any:
    options.log_severity_level = 3
    try:
        # Without enable_fallback=0 a provider that fails is replaced by the CPU, with a line on standard output.
        return onnxruntime.InferenceSession(str(path), options, providers=providers, enable_fallback=0)
    except Exception as error:  # ONNX Runtime's errors share no base class
        raise ModelFileError(
            f"{path}: ONNX Runtime cannot load it ({_one_line(error)}); copy or export it again"
        ) from error


def _on_provider(session: Any, provider: str, cure: str) -> Any:
    loaded = session.get_providers()[0]
    if loaded != provider:
        del session  # the error's traceback would keep it alive, longer than its stream
        raise BackendError(f"{provider} asked for, but ONNX Runtime could not load it and took {loaded}; {cure}")
    return session


def _one_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
