"""ONNX Runtime's CUDA provider in the pipeline, and providers that were asked for and are not there."""

from __future__ import annotations

import gc
import logging
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ce2p.synthetic import iter_samples
from ce2p_runtime import BackendError, HumanParser
from ce2p_runtime.backends import open_backend
from ce2p_runtime.backends.onnxruntime import OnnxRuntimeBackend
from ce2p_runtime.backends.onnxruntime_cuda import OnnxRuntimeCudaBackend
from tests.cuda_standin import GpuStandIn


@pytest.mark.parametrize(("kind", "batch"), [("schp", 1), ("labels", 1), ("dynamic", 3)])
def test_the_cuda_provider_computes_in_the_pipelines_memory(
    gpu: GpuStandIn, networks: dict[str, Path], kind: str, batch: int
) -> None:
    frames = [image for image, _ in iter_samples(4, 5, (40, 30))]
    with HumanParser(networks[kind], device="cpu") as cpu:
        expected = [result.labels for result in cpu.parse_batch(frames)]
    gpu.use_onnxruntime()
    with HumanParser(networks[kind], device="cuda", batch=batch) as parser:
        assert isinstance(parser.backend, OnnxRuntimeCudaBackend)
        assert "onnxruntime on cuda:0 (Stand-in GPU, no CUDA graph (onnxruntime cannot be captured)" in str(parser)
        found = [result.labels for result in parser.parse_batch(frames)]
    for one, other in zip(found, expected, strict=True):
        assert (one == other).mean() > 0.995  # see test_pipeline.AGREEMENT; here per picture
    assert gpu.machine.ran.count("network") == -(-len(frames) // batch)


def test_float32_is_not_tf32_and_the_session_ends_before_its_stream(gpu: GpuStandIn, networks: dict[str, Path]) -> None:
    gpu.use_onnxruntime()
    backend = OnnxRuntimeCudaBackend(networks["schp"])
    assert backend._held.session.settings["use_tf32"] == "0"
    backend.run(np.zeros((1, 3, 65, 65), np.float32))
    backend.close()
    assert gpu.machine.objects["session"] == 0  # the backend is still there, and keeps nothing of it
    assert backend.tensors(1)[0].shape == (1, 3, 65, 65)
    forgotten = OnnxRuntimeCudaBackend(networks["schp"])
    forgotten.run(np.zeros((1, 3, 65, 65), np.float32))
    del forgotten
    gc.collect()
    assert gpu.machine.objects["session"] == 0


def test_each_binding_has_a_graph_of_its_own(gpu: GpuStandIn, networks: dict[str, Path]) -> None:
    gpu.use_onnxruntime()
    with closing(OnnxRuntimeCudaBackend(networks["dynamic"], graph=True)) as backend:
        assert backend.graphed
        for count in (1, 1, 2, 1):
            backend.run(np.zeros((count, 3, 65, 65), np.float32))
        first, again, two, third = backend._held.session.graph_ids
        assert first == again
        assert len({first, two, third}) == 3
    with closing(OnnxRuntimeCudaBackend(networks["schp"], settings={"prefer_nhwc": "1"})) as backend:
        assert not backend.graphed
        assert backend._held.session.settings["prefer_nhwc"] == "1"
        assert "enable_cuda_graph" not in backend._held.session.settings


def test_a_file_that_is_no_graph_runs_without_and_says_so(
    gpu: GpuStandIn, networks: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    gpu.use_onnxruntime(graphs=False)
    with closing(OnnxRuntimeCudaBackend(networks["schp"], graph=True)) as backend:
        assert not backend.graphed
        assert "runs without a CUDA graph" in caplog.text
        assert backend.run(np.zeros((1, 3, 65, 65), np.float32))[0].shape == (1, 20, 17, 17)


def test_auto_takes_cuda_where_it_loads_and_says_when_it_does_not(
    gpu: GpuStandIn, networks: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    gpu.use_onnxruntime()
    backend = open_backend(networks["schp"])
    assert (backend.name, backend.device) == ("onnxruntime", "cuda:0")
    image = np.zeros((1, 3, 65, 65), np.float32)
    assert backend.run(image)[0].shape == (1, 20, 17, 17)
    backend.close()
    with pytest.raises(BackendError, match="closed"):
        backend.run(image)
    gpu.use_onnxruntime(loads=False)
    with caplog.at_level(logging.WARNING):
        assert open_backend(networks["schp"]).device == "cpu"
    assert "running on the CPU" in caplog.text


def test_a_provider_that_does_not_load_is_an_error(gpu: GpuStandIn, networks: dict[str, Path]) -> None:
    gpu.use_onnxruntime(loads=False)
    with pytest.raises(BackendError, match="CUDAExecutionProvider asked for, but ONNX Runtime could not load it"):
        open_backend(networks["schp"], device="cuda:0")


def test_without_pycuda_cuda_runs_with_host_arrays_and_says_so(
    gpu: GpuStandIn, networks: dict[str, Path], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.util

    import onnxruntime

    real, providers = onnxruntime.InferenceSession, ["CUDAExecutionProvider", "CPUExecutionProvider"]

    class Session(real):  # type: ignore[misc, valid-type]
        def __init__(self, path: str, options: object, providers: list[Any], **more: object) -> None:
            assert providers[0][1]["use_tf32"] == "0"
            super().__init__(path, options, providers=["CPUExecutionProvider"])

        def get_providers(self) -> list[str]:
            return providers

    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: providers)
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pycuda" else find_spec(name))
    backend = open_backend(networks["schp"], device="cuda")
    assert isinstance(backend, OnnxRuntimeBackend)
    assert backend.device == "cuda:0"
    assert "frames travel through host memory" in caplog.text


def test_tensorrt_for_rtx_that_is_not_there_is_an_error(gpu: GpuStandIn, networks: dict[str, Path]) -> None:
    gpu.without("onnxruntime_ep_nv_tensorrt_rtx")
    with pytest.raises(BackendError, match=r"\[tensorrt-rtx\]"):
        open_backend(networks["schp"], "tensorrt-rtx")


def test_tensorrt_for_rtx_without_a_gpu_is_an_error(gpu: GpuStandIn, networks: dict[str, Path]) -> None:
    """The real package, where it is installed: its library wants the driver's."""
    pytest.importorskip("onnxruntime_ep_nv_tensorrt_rtx")
    with pytest.raises(BackendError, match=r"TensorRT for RTX (does not load|offers 0 GPUs)") as caught:
        open_backend(networks["schp"], "tensorrt-rtx")
    assert "\n" not in str(caught.value)
