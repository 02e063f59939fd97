"""TensorRT for RTX, a plugin of ONNX Runtime that compiles for the NVIDIA GPU at hand when it loads a file."""

from __future__ import annotations

import threading
from pathlib import Path
from types import ModuleType
from typing import Any

from ..base.text import first_line, install_hint
from ..cuda.driver import Stream
from ..errors import BackendError
from .onnxruntime import installed_onnxruntime
from .onnxruntime_cuda import OnnxRuntimeCudaBackend, on_provider, open_session


class TensorRTRtxBackend(OnnxRuntimeCudaBackend):
    """Runs an exported ONNX file with TensorRT for RTX, which compiles it for the GPU at hand when it is loaded.

    It works beside any onnxruntime.
    """

    name = "tensorrt-rtx"

    def _open(self, path: Path, index: int, stream: Stream) -> Any:
        self.graphed = False  # CUDAExecutionProvider's option
        onnxruntime = installed_onnxruntime()
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
        return on_provider(open_session(onnxruntime, path, options, None), provider, "see its log for the reason")


_registered: dict[str, str] = {}
_registering = threading.Lock()


def _register_rtx(onnxruntime: ModuleType) -> str:
    """Make TensorRT for RTX known to ONNX Runtime, once per process; its provider's name. Raises BackendError."""
    with _registering:
        try:
            import onnxruntime_ep_nv_tensorrt_rtx as plugin
        except ImportError as error:
            raise BackendError(f"TensorRT for RTX is not installed ({error}); {install_hint('tensorrt-rtx')}") from None
        name: str = plugin.get_ep_name()
        if name not in _registered:
            library = plugin.get_library_path()
            try:
                onnxruntime.register_execution_provider_library(name, library)
            except Exception as error:  # ONNX Runtime's errors share no base class
                reason = first_line(error)
                raise BackendError(f"TensorRT for RTX does not load ({reason}); see `ce2p doctor`") from error
            _registered[name] = library
        return name
