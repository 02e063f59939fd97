"""Inference backends: one file each, opened by name."""

from __future__ import annotations

import importlib.util
import logging
from pathlib import Path

from ..engine_file import ENGINE_SUFFIXES
from ..errors import BackendError
from .base import Backend, DeviceBackend
from .onnxruntime import OnnxRuntimeBackend
from .onnxruntime_cuda import OnnxRuntimeCudaBackend, TensorRTRtxBackend, cuda_provider_is_there
from .openvino import OpenVinoBackend
from .tensorrt import TensorRTBackend

__all__ = [
    "BACKENDS",
    "DEVICE_BACKENDS",
    "Backend",
    "DeviceBackend",
    "OnnxRuntimeBackend",
    "OnnxRuntimeCudaBackend",
    "OpenVinoBackend",
    "TensorRTBackend",
    "TensorRTRtxBackend",
    "open_backend",
]

logger = logging.getLogger(__name__)

BACKENDS: dict[str, type[OnnxRuntimeBackend] | type[OpenVinoBackend]] = {
    "onnxruntime": OnnxRuntimeBackend,
    "openvino": OpenVinoBackend,
}
"""For ONNX models with host arrays; by name, in the order "auto" tries them."""

DEVICE_BACKENDS: dict[str, type[TensorRTBackend] | type[TensorRTRtxBackend]] = {
    "tensorrt": TensorRTBackend,
    "tensorrt-rtx": TensorRTRtxBackend,
}
"""Those that run on an NVIDIA GPU only."""


def open_backend(
    path: str | Path, backend: str = "auto", device: str = "auto", threads: int | None = None, trust: bool = False
) -> Backend:
    """Load a model file. "auto" takes TensorRT for an engine, else the first backend whose package is installed.

    The result's `name` says which it is; a DeviceBackend keeps its tensors on the GPU. `trust`: load an engine that is
    not the one its sidecar was written for. Raises BackendError (unknown, not installed, device not there) and
    ModelFileError.
    """
    if backend == "auto" and Path(path).suffix in ENGINE_SUFFIXES:
        backend = "tensorrt"
    if backend == "auto":
        installed = [name for name in BACKENDS if importlib.util.find_spec(name) is not None]
        if not installed:
            raise BackendError('no inference backend is installed; pip install "ce2p[cpu]"')
        backend = installed[0]
    if backend == "tensorrt":
        return TensorRTBackend(path, device, threads, trust)
    if backend == "tensorrt-rtx":
        return TensorRTRtxBackend(path, device, threads)
    if backend not in BACKENDS:
        raise BackendError(f"unknown backend {backend!r}; expected auto, {', '.join((*BACKENDS, *DEVICE_BACKENDS))}")
    if backend == "onnxruntime" and device.partition(":")[0] in {"auto", "cuda"}:
        return _open_onnxruntime(path, device, threads)
    return BACKENDS[backend](path, device, threads)


def _open_onnxruntime(path: str | Path, device: str, threads: int | None) -> Backend:
    """ONNX Runtime where CUDA may be meant: with tensors that stay on the GPU if pycuda is there, else without."""
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
