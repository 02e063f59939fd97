"""`Backend.run` for networks that live on a GPU: host arrays copied in, one pass, outputs copied out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..cuda.driver import DeviceBuffer, Freeable, PinnedBuffer
from ..errors import BackendError
from .base import DeviceBackend, TensorSpec

__all__ = ["HostRunner"]


class HostRunner:
    """Keeps the memory for one batch size; with another one it is allocated anew."""

    def __init__(self) -> None:
        self._tensors: tuple[TensorSpec, ...] = ()
        self._device: list[DeviceBuffer] = []
        self._pinned: list[PinnedBuffer] = []

    def run(
        self, backend: DeviceBackend, bind: Callable[[int, Mapping[str, int]], None], batch: NDArray[Any]
    ) -> list[NDArray[Any]]:
        """See Backend.run. Half-precision networks take and give float32 here, as every backend does."""
        stream = backend.stream
        with backend.resources.device.active("running the network"):
            if not self._tensors or self._tensors[0].shape[0] != len(batch):
                self._allocate(backend, bind, len(batch))
            source, *outputs = self._tensors
            if batch.shape != source.shape:
                raise BackendError(f"a batch is {list(batch.shape)}, this network expects {list(source.shape)}")
            np.copyto(_view(self._pinned[0], source), batch, casting="same_kind")
            stream.upload(self._device[0].address, self._pinned[0].array)
            backend.enqueue()
            for tensor, memory, pinned in zip(outputs, self._device[1:], self._pinned[1:], strict=True):
                stream.download(pinned.array[: tensor.nbytes], memory.address)
            stream.synchronize()
            return [_result(_view(pinned, tensor)) for tensor, pinned in zip(outputs, self._pinned[1:], strict=True)]

    def _allocate(self, backend: DeviceBackend, bind: Callable[[int, Mapping[str, int]], None], count: int) -> None:
        resources = backend.resources
        self._tensors = ()  # until all is there: a failure on the way must not look like memory that can be used
        everything: list[Freeable] = [*self._device, *self._pinned]
        for memory in everything:
            resources.release(memory)
        self._device, self._pinned = [], []
        tensors = backend.tensors(count)
        for tensor in tensors:
            self._device.append(resources.buffer(tensor.nbytes))
            self._pinned.append(resources.pinned(tensor.nbytes))
        addresses = {tensor.name: memory.address for tensor, memory in zip(tensors, self._device, strict=True)}
        bind(count, addresses)
        self._tensors = tensors


def _view(memory: PinnedBuffer, tensor: TensorSpec) -> NDArray[Any]:
    return memory.array[: tensor.nbytes].view(tensor.dtype).reshape(tensor.shape)


def _result(values: NDArray[Any]) -> NDArray[Any]:
    return values.astype(np.float32 if values.dtype == np.float16 else values.dtype)
