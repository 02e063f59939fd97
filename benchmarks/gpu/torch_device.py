"""Where a PyTorch network runs: an NVIDIA GPU, or the CPU on which the programs here are rehearsed.

The only module that knows what CUDA's streams, graphs and events become on a CPU: nothing, a plain call and a clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from benchmarks.gpu.parts import SkippedError


@dataclass(frozen=True)
class TorchDevice:
    """A device by PyTorch's name: "cuda" or "cpu"."""

    name: str

    @property
    def cuda(self) -> bool:
        return self.name == "cuda"

    def finish(self) -> None:
        """Wait for everything that was queued."""
        if self.cuda:
            torch.cuda.synchronize()

    def captured(self, work: Callable[[], torch.Tensor]) -> Callable[[], torch.Tensor]:
        """`work` as one CUDA graph: what comes back replays it into the same tensor. On the CPU, `work` itself."""
        if not self.cuda:
            return work
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side), torch.inference_mode():  # capture wants everything warm, on a stream of its own
            for _ in range(3):
                work()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.inference_mode(), torch.cuda.graph(graph):
            result = work()

        def replay() -> torch.Tensor:
            graph.replay()
            return result

        return replay

    def milliseconds(self, step: Callable[[], object], repeats: int = 1) -> float:
        """Time on the device of one `step`, from `repeats` of them back to back."""
        if not self.cuda:
            started = time.perf_counter()
            for _ in range(repeats):
                step()
            return (time.perf_counter() - started) * 1e3 / repeats
        start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        for _ in range(repeats):
            step()
        stop.record()
        stop.synchronize()
        return float(start.elapsed_time(stop)) / repeats


def open_torch(device: str) -> TorchDevice:
    """Raises SkippedError for "cuda" where PyTorch sees no GPU."""
    if device == "cuda" and not torch.cuda.is_available():
        raise SkippedError(f"PyTorch {torch.__version__} sees no CUDA GPU")
    return TorchDevice(device)
