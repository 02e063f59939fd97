"""PyTorch's ways to run the network, made from the files of `networks_on_disk`; network_runs.py says what a run is.

float32 without TF32, or float16 channels-last. `cudnn.benchmark` is of the whole process, and cuDNN's plans are kept
without regard to it: candidates that differ in it, or that should not share plans, need processes of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.gpu.fused_convolutions import fuse_convolutions
from benchmarks.gpu.network_runs import NetworkRun
from benchmarks.gpu.networks_on_disk import NetworkFiles
from benchmarks.gpu.torch_device import TorchDevice, open_torch
from benchmarks.gpu.workers import Turn


def torch_run(
    name: str, files: NetworkFiles, kind: str, batch: int, precision: str, device: str, *, graph: bool, benchmark: bool
) -> NetworkRun:
    """`kind`: "trained", "folded", or "fused" (folded, through cuDNN's fused calls); `graph`: as one CUDA graph."""
    torch_device = _settle(device, benchmark)
    network, facts = network_of(files, kind)
    module, images = on_device(network, np.repeat(files.image(), batch, axis=0), precision, torch_device)

    def forward() -> torch.Tensor:
        with torch.inference_mode():
            logits: torch.Tensor = module(images).parsing
        return logits

    return _run(name, precision, torch_device, torch_device.captured(forward) if graph else forward, facts)


def compiled_run(name: str, files: NetworkFiles, kind: str, batch: int, device: str) -> NetworkRun:
    """torch.compile on the "trained" or the "folded" network, float16, replayed as one CUDA graph; takes a minute.

    Compiling needs no GPU and overlaps with others'; from its end on this process holds its turn. Not max-autotune,
    which takes several minutes more for each batch size. On the CPU its front end alone runs (backend "aot_eager").
    """
    torch_device = _settle(device, benchmark=True)
    network, _ = network_of(files, kind)
    module, images = on_device(
        network, np.repeat(files.image(), batch, axis=0), "fp16" if torch_device.cuda else "fp32", torch_device
    )
    turn = Turn(files.turn)

    def compiler(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Callable[..., Any]:
        compiled = _inductor(graph, inputs) if torch_device.cuda else graph
        turn.__enter__()
        return compiled

    compiled = torch.compile(module, backend=compiler, dynamic=False, fullgraph=True)

    def forward() -> torch.Tensor:
        with torch.inference_mode():
            logits: torch.Tensor = compiled(images).parsing
        return logits

    try:
        forward()
        replay = torch_device.captured(forward)
    finally:
        turn.__exit__(None, None, None)
    return _run(name, "fp16" if torch_device.cuda else "fp32", torch_device, replay, {})


def network_of(files: NetworkFiles, kind: str) -> tuple[nn.Module, dict[str, Any]]:
    """The network and, for "fused", what was fused."""
    if kind != "fused":
        return files.net(kind), {}
    fused, coverage = fuse_convolutions(files.net("folded"), files.size)
    return fused, {"coverage": str(coverage), "convolutions fused": coverage.fused + coverage.fused_with_sum}


def on_device(
    module: nn.Module, images: NDArray[np.float32], precision: str, torch_device: TorchDevice
) -> tuple[nn.Module, Any]:
    """Network and images on their device, in their precision; float16 channels-last."""
    dtype = torch.float16 if precision == "fp16" else torch.float32
    module, batch = module.to(torch_device.name, dtype).eval(), torch.from_numpy(images).to(torch_device.name, dtype)
    if precision == "fp16":
        module = module.to(memory_format=torch.channels_last)
        return module, batch.contiguous(memory_format=torch.channels_last)
    return module, batch


def _settle(device: str, benchmark: bool) -> TorchDevice:
    torch_device = open_torch(device)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = benchmark
    if not torch_device.cuda:
        torch.set_num_threads(1)  # many processes share the cores
    return torch_device


def _inductor(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Callable[..., Any]:
    from torch._inductor.compile_fx import compile_fx

    compiled: Any = compile_fx(graph, inputs)
    return compiled


def _run(
    name: str, precision: str, torch_device: TorchDevice, forward: Callable[[], torch.Tensor], facts: dict[str, Any]
) -> NetworkRun:
    def step() -> None:
        forward()
        torch_device.finish()

    def logits() -> NDArray[Any]:
        values: NDArray[Any] = forward().float().cpu().numpy()
        return values

    return NetworkRun(name, precision, step, logits, facts=facts)
