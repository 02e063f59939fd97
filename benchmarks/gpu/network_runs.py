"""Every way to run the same network on the same GPU, each with its data already there.

A candidate runs one forward pass and waits for it; its logits can be fetched to see that it computes the right thing.
What makes one takes files and words only, so that it can be called in a process of its own (see workers.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.gpu.networks_on_disk import NetworkFiles
from benchmarks.gpu.parts import SkippedError
from benchmarks.rival_runtimes import onnxruntime_session
from ce2p_runtime.backends import Backend, DeviceBackend, open_backend
from ce2p_runtime.backends.onnxruntime_cuda import OnnxRuntimeCudaBackend
from ce2p_runtime.process.telemetry import import_onnxruntime

Images = NDArray[np.float32]


@dataclass(frozen=True)
class NetworkRun:
    """One rival at one batch size."""

    name: str
    precision: str
    """"fp32", "fp16" or "int8": decides how far its logits may be from the reference."""
    step: Callable[[], object]
    """One forward pass, finished when it returns."""
    logits: Callable[[], NDArray[Any]]
    """Parsing logits [N, C, h, w] of a forward pass, on the host."""
    close: Callable[[], None] = lambda: None
    """Give its memory back."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What else is to be known about it."""


def from_naive_onnx(
    name: str, file: Path, files: NetworkFiles, batch: int, provider: str = "CUDAExecutionProvider"
) -> NetworkRun:
    """ONNX Runtime on somebody's plain export, inputs and outputs bound to device memory."""
    onnxruntime = import_onnxruntime()
    if provider not in onnxruntime.get_available_providers():
        raise SkippedError(f"this onnxruntime {onnxruntime.__version__} has no {provider}; it needs onnxruntime-gpu")
    settings = {"use_tf32": "0"} if provider.startswith("CUDA") else {}
    session = onnxruntime_session(str(file), None, (provider, settings))
    if session.get_providers()[0] != provider:
        raise SkippedError(f"{provider} did not load; driver, CUDA and cuDNN must match onnxruntime")
    memory = "cuda" if provider.startswith("CUDA") else "cpu"
    binding = session.io_binding()
    binding.bind_ortvalue_input(
        session.get_inputs()[0].name, onnxruntime.OrtValue.ortvalue_from_numpy(_images(files, batch), memory, 0)
    )
    for output in session.get_outputs():
        binding.bind_output(output.name, memory, 0)
    session.run_with_iobinding(binding)

    def step() -> None:
        session.run_with_iobinding(binding)

    def logits() -> NDArray[Any]:
        step()
        values: NDArray[Any] = binding.get_outputs()[0].numpy()
        return values

    return NetworkRun(name, "fp32", step, logits)


def from_backend(
    name: str, file: Path, files: NetworkFiles, batch: int, backend_name: str, device: str = "cuda"
) -> NetworkRun:
    """One of ours (ONNX Runtime CUDA, TensorRT, TensorRT for RTX), bound to device memory as the runtime binds it."""
    return _bound(name, open_backend(file, backend_name, device), _images(files, batch))


def from_graph(
    name: str, file: Path, files: NetworkFiles, batch: int, settings: Mapping[str, str] | None = None
) -> NetworkRun:
    """Ours in ONNX Runtime, replaying a CUDA graph. `settings`: of its CUDA provider. SkippedError where it cannot."""
    return _bound(name, graphed_backend(file, settings), _images(files, batch))


def graphed_backend(file: Path, settings: Mapping[str, str] | None = None) -> OnnxRuntimeCudaBackend:
    """The backend of `from_graph`."""
    backend = OnnxRuntimeCudaBackend(file, "cuda", graph=True, settings=settings)
    if not backend.graphed:
        backend.close()
        raise SkippedError("ONNX Runtime does not capture this file as a CUDA graph")
    return backend


def _images(files: NetworkFiles, batch: int) -> Images:
    return np.repeat(files.image(), batch, axis=0)


def _bound(name: str, backend: Backend, images: Images) -> NetworkRun:
    precision = backend.metadata.precision
    if not isinstance(backend, DeviceBackend):
        raise SkippedError(f"{backend.name} runs on {backend.device} here, not on a GPU")
    resources, stream = backend.resources, backend.stream
    with resources.device.active("preparing a benchmark"):
        tensors = backend.tensors(len(images))
        buffers = [resources.buffer(tensor.nbytes) for tensor in tensors]
        backend.bind(len(images), {tensor.name: b.address for tensor, b in zip(tensors, buffers, strict=True)})
        stream.upload(buffers[0].address, np.ascontiguousarray(images, tensors[0].dtype).reshape(-1).view(np.uint8))
        stream.synchronize()

    def step() -> None:
        with resources.device.active("a benchmark's forward pass"):
            backend.enqueue()
            stream.synchronize()

    def logits() -> NDArray[Any]:
        step()
        host = np.empty(tensors[1].nbytes, np.uint8)
        with resources.device.active("a benchmark's copy"):
            stream.download(host, buffers[1].address)
            stream.synchronize()
        return host.view(tensors[1].dtype).reshape(tensors[1].shape)

    return NetworkRun(name, precision, step, logits, backend.close)
