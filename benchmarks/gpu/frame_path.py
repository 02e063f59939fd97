"""A frame to its labels with our kernels around a PyTorch network: the whole way on one stream, or one CUDA graph.

    pinned frame -> upload -> crop and normalise -> network -> labels at frame size -> download -> pinned labels

It needs no more than PyTorch and cuda-bindings, so that frames are measured where none of the runtime's own backends
can be had; kernels and their launches are the runtime's.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.gpu.device import GpuDevice
from benchmarks.gpu.torch_device import TorchDevice
from ce2p_runtime.cuda.kernels import kernel_sources
from ce2p_runtime.frame_steps import label_launches, needs_input_labels, prepare_launch
from ce2p_runtime.geometry import frame_mapping
from ce2p_runtime.model_files.metadata import ModelMetadata
from ce2p_runtime.ops.launches import ArrayAt, Launch

Labels = NDArray[np.uint8]


class FramePath:
    """One frame at a time, uint8 BGR [H, W, 3] of `frame_size`, to labels uint8 [H, W].

    `module`: the network, in float16 channels-last where `half`, giving outputs with `.parsing` logits.
    `upload`: frames come from pinned memory (`frame`) and labels go there (`labels`); if not, both stay on the device.
    `graph`: all of it replayed as one CUDA graph.
    """

    def __init__(
        self,
        gpu: GpuDevice,
        module: nn.Module,
        metadata: ModelMetadata,
        frame_size: tuple[int, int],
        torch_device: TorchDevice,
        *,
        half: bool,
        graph: bool,
        upload: bool,
    ) -> None:
        self._gpu, self._module, self._metadata, self._torch_device = gpu, module, metadata, torch_device
        self._mapping = frame_mapping(metadata.geometry, frame_size, metadata.input_size)
        self._upload = upload
        dtype = torch.float16 if half else torch.float32
        self._sources = kernel_sources(metadata, half, half)
        self.frame = self._pinned((*frame_size, 3))
        """Where the host puts the next frame."""
        self.labels = self._pinned(frame_size)
        """Where its labels are afterwards."""
        self.device_frame = self._on_device((*frame_size, 3), torch.uint8)
        self.device_labels = self._on_device(frame_size, torch.uint8)
        self._input = self._on_device((1, 3, *metadata.input_size), dtype)
        self._inner = self._on_device(metadata.input_size if needs_input_labels(metadata) else (1, 1), torch.uint8)
        self._half = half
        self._logits: torch.Tensor | None = None
        with torch.inference_mode():
            self._work()  # loads kernels and sets the logits' size: not allowed while capturing
        torch_device.finish()
        self._replay: Callable[[], torch.Tensor] = torch_device.captured(self._work) if graph else self._work

    def run(self) -> None:
        """Do what is in `frame` (or `device_frame`), and wait for it."""
        with torch.inference_mode():
            self._replay()
        self._torch_device.finish()

    def gpu_ms(self) -> float:
        """Milliseconds that the device takes for one frame."""
        with torch.inference_mode():
            return self._torch_device.milliseconds(self._replay)

    def parse(self, frame: NDArray[np.uint8]) -> Labels:
        """Labels of a frame in any memory of the host, copied out."""
        if self._upload:
            np.copyto(self.frame.numpy(), frame)
            self.run()
            return self.labels.numpy().copy()
        self.device_frame.copy_(torch.from_numpy(frame))
        self.run()
        labels: Labels = self.device_labels.cpu().numpy().copy()
        return labels

    def _work(self) -> torch.Tensor:
        if self._upload:
            self.device_frame.copy_(self.frame, non_blocking=True)
        pitch = self._mapping.frame_size[1] * 3
        self._launch(
            prepare_launch(
                self._metadata,
                self._mapping,
                self.device_frame.data_ptr(),
                self._input.data_ptr(),
                pitch=pitch,
                items=1,
            )
        )
        image = self._input.contiguous(memory_format=torch.channels_last) if self._half else self._input
        parsing = self._module(image).parsing
        if self._logits is None:
            self._logits = torch.empty(parsing.shape, dtype=self._input.dtype, device=parsing.device)
        self._logits.copy_(parsing)  # class by class, as the kernels read them
        for launch in label_launches(
            self._metadata,
            self._mapping,
            ArrayAt(self._logits.data_ptr(), tuple(self._logits.shape)),
            self._inner.data_ptr(),
            self.device_labels.data_ptr(),
        ):
            self._launch(launch)
        if self._upload:
            self.labels.copy_(self.device_labels, non_blocking=True)
        return self.device_labels

    def _launch(self, launch: Launch) -> None:
        if self._torch_device.cuda:
            self._gpu.follow(torch.cuda.current_stream().cuda_stream)
        self._gpu.run(self._sources[launch.op], launch)

    def _pinned(self, shape: tuple[int, ...]) -> torch.Tensor:
        return torch.zeros(shape, dtype=torch.uint8, pin_memory=self._torch_device.cuda)

    def _on_device(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        return torch.zeros(shape, dtype=dtype, device=self._torch_device.name)
