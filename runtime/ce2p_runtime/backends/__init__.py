"""Inference backends: one file each, opened by name."""

from __future__ import annotations

import importlib.util
import logging
from pathlib import Path

from ..base.text import install_hint
from ..errors import BackendError, ModelFileError
from ..model_files.engine_file import ENGINE_SUFFIXES
from ..model_files.metadata import ModelMetadata
from ..model_files.onnx_file import onnx_properties
from .base import Backend, DeviceBackend, check_model_file, metadata_from
from .choice import choose_backend
from .choice_memory import BackendChoice
from .compiled_memory import compiled_limit
from .gate_record import passed_among, warn_unless_passed
from .onnxruntime import OnnxRuntimeBackend
from .onnxruntime_cuda import OnnxRuntimeCudaBackend, TensorRTRtxBackend, cuda_provider_is_there
from .openvino import OpenVinoBackend
from .tensorrt import TensorRTBackend
from .thread_count import check_threads

__all__ = [
    "BACKENDS",
    "DEVICE_BACKENDS",
    "Backend",
    "BackendChoice",
    "DeviceBackend",
    "OnnxRuntimeBackend",
    "OnnxRuntimeCudaBackend",
    "OpenVinoBackend",
    "TensorRTBackend",
    "TensorRTRtxBackend",
    "check_threads",
    "open_backend",
    "precision_refusal",
]

logger = logging.getLogger(__name__)

BACKENDS: dict[str, type[OnnxRuntimeBackend] | type[OpenVinoBackend]] = {
    "onnxruntime": OnnxRuntimeBackend,
    "openvino": OpenVinoBackend,
}
"""For ONNX models with host arrays, by name."""

DEVICE_BACKENDS: dict[str, type[TensorRTBackend] | type[TensorRTRtxBackend]] = {
    "tensorrt": TensorRTBackend,
    "tensorrt-rtx": TensorRTRtxBackend,
}
"""Those that run on an NVIDIA GPU only."""


def open_backend(
    path: str | Path,
    backend: str = "auto",
    device: str = "auto",
    threads: int | None = None,
    trust: bool = False,
    *,
    keep: bool = True,
) -> Backend:
    """Load a model file.

    "auto" takes TensorRT for an engine, and ONNX Runtime on a GPU where its CUDA provider is there and loads. On the
    CPU it times the installed backends with the network, which takes a few seconds once per network and machine, keeps
    the fastest and remembers it (see choice.py); the result's `choice` says what was measured. Name a backend to have
    no choice made. A file with a record of its gate (see gate_record.py) goes to the backends that passed alone; to
    another one, asked for by name, with a warning. What takes more than a moment is logged as INFO when it begins, by
    loggers below "ce2p_runtime.backends".

    The result's `name` says which it is; a DeviceBackend keeps its tensors on the GPU. `threads`: CPU threads, 1
    to four per logical core (see thread_count.py); None lets "auto" choose them, too. `trust`: load an engine that is
    not the one its sidecar was written for. `keep`: leave what OpenVINO compiled in the cache for the next time (see
    compiled_memory.py), which files that are opened only once do not deserve. Raises BackendError (unknown, not
    installed, device not there, senseless threads, gate not passed) and ModelFileError.
    """
    check_threads(threads)
    compiled_limit()  # a senseless one would be taken for a fault of OpenVINO
    path = Path(path)
    if backend == "auto" and path.suffix not in ENGINE_SUFFIXES:
        return _open_automatically(path, device, threads, keep)
    opened = _open_named(path, "tensorrt" if backend == "auto" else backend, device, threads, trust, keep)
    try:
        warn_unless_passed(opened.metadata, opened.name, path)
    except BaseException:
        opened.close()
        raise
    return opened


def precision_refusal(name: str, precision: str) -> str | None:
    """Why a backend does not run files of a precision on a CPU, in one line; None where it does, or runs elsewhere.

    `name` as for `open_backend`; "auto" is refused where every installed backend refuses. Loads nothing.

        precision_refusal("onnxruntime", "bf16")  # "ONNX Runtime has no bfloat16 kernels for CPUs; ..."
    """
    names = _installed() if name == "auto" else [name] if name in BACKENDS else []
    reasons = [BACKENDS[one].refused.get(precision) for one in names]
    return None if None in reasons else next(iter(reasons), None)


def _installed() -> list[str]:
    return [name for name in BACKENDS if importlib.util.find_spec(name) is not None]


def _open_automatically(path: Path, device: str, threads: int | None, keep: bool) -> Backend:
    """An ONNX file on whatever serves it best here."""
    installed = _installed()
    if not installed:
        raise BackendError(f"no inference backend is installed; {install_hint('cpu')}")
    names = passed_among(installed, _metadata(path), path)
    if device not in {"auto", "cpu"}:
        return _open_named(path, names[0], device, threads, trust=False, keep=keep)
    if device == "auto" and "onnxruntime" in names and cuda_provider_is_there():
        opened = _open_onnxruntime(path, device, threads)
        if opened.device != "cpu":
            return opened
        opened.close()
    return choose_backend(
        path,
        {name: BACKENDS[name] for name in names},
        threads,
        lambda option: _on_host(path, option.backend, "cpu", option.threads, keep),
        keep,
    )


def _metadata(path: Path) -> ModelMetadata:
    """What an ONNX file says about itself, before any backend has loaded it. Raises ModelFileError."""
    check_model_file(path)
    try:
        return metadata_from(path, onnx_properties(path))
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error


def _open_named(path: Path, backend: str, device: str, threads: int | None, trust: bool, keep: bool) -> Backend:
    if backend == "tensorrt":
        return TensorRTBackend(path, device, threads, trust)
    if backend == "tensorrt-rtx":
        return TensorRTRtxBackend(path, device, threads)
    if backend not in BACKENDS:
        raise BackendError(f"unknown backend {backend!r}; expected auto, {', '.join((*BACKENDS, *DEVICE_BACKENDS))}")
    if backend == "onnxruntime" and device.partition(":")[0] in {"auto", "cuda"}:
        return _open_onnxruntime(path, device, threads)
    return _on_host(path, backend, device, threads, keep)


def _on_host(
    path: Path, backend: str, device: str, threads: int | None, keep: bool
) -> OnnxRuntimeBackend | OpenVinoBackend:
    if backend == OpenVinoBackend.name:
        return OpenVinoBackend(path, device, threads, keep=keep)
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
