"""What the backends for GPUs have in common: how they load, run on host arrays, and end."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..cuda.driver import CudaDevice, DeviceBuffer, Freeable, PinnedBuffer, Resources
from ..errors import BackendError
from ..process.threads import one_at_a_time
from .base import DeviceBackend, TensorSpec


class GpuBackend(DeviceBackend):
    """A network on a GPU, up to what each library does its own way: loading, `tensors`, `_bind` and `enqueue`.

    `run` keeps memory for one batch size; with another one it is allocated anew.
    """

    def __init__(self, gpu: CudaDevice) -> None:
        self.device = f"cuda:{gpu.index}"
        self.resources = Resources(gpu)
        self._lock = threading.RLock()
        self._bound = False
        self._tensors: tuple[TensorSpec, ...] = ()
        self._memory: list[DeviceBuffer] = []
        self._pinned: list[PinnedBuffer] = []

    @contextmanager
    def _loading(self, path: Path) -> Iterator[None]:
        """Makes the stream. Where loading fails meanwhile, all that is there is freed."""
        try:
            with self.resources.device.active(f"{path}: loading the network"):
                self.stream = self.resources.stream()
                yield
        except BaseException:
            self.resources.close()
            raise

    def bind(self, batch: int, addresses: Mapping[str, int]) -> None:
        """See DeviceBackend.bind."""
        self._bind(batch, addresses)
        self._bound = True

    def _bind(self, batch: int, addresses: Mapping[str, int]) -> None:
        raise NotImplementedError

    @one_at_a_time
    def run(self, batch: NDArray[Any]) -> list[NDArray[Any]]:
        """See Backend.run. Half-precision networks take and give float32 here, as every backend does."""
        if self.resources.closed:
            raise BackendError(f"this network on {self.name} is closed; open it again")
        if self._bound:
            raise BackendError("this network works for a parser's own GPU memory; open another one to run host arrays")
        with self.resources.device.active("running the network"):
            if not self._tensors or self._tensors[0].shape[0] != len(batch):
                self._allocate(len(batch))
            source, *outputs = self._tensors
            if batch.shape != source.shape:
                raise BackendError(f"a batch is {list(batch.shape)}, this network expects {list(source.shape)}")
            np.copyto(_view(self._pinned[0], source), batch, casting="same_kind")
            self.stream.upload(self._memory[0].address, self._pinned[0].array)
            self.enqueue()
            for tensor, memory, pinned in zip(outputs, self._memory[1:], self._pinned[1:], strict=True):
                self.stream.download(pinned.array[: tensor.nbytes], memory.address)
            self.stream.synchronize()
            return [_result(_view(pinned, tensor)) for tensor, pinned in zip(outputs, self._pinned[1:], strict=True)]

    def _allocate(self, count: int) -> None:
        self._tensors = ()  # until all is there: a failure on the way must not look like memory that can be used
        everything: list[Freeable] = [*self._memory, *self._pinned]
        for memory in everything:
            self.resources.release(memory)
        self._memory, self._pinned = [], []
        tensors = self.tensors(count)
        for tensor in tensors:
            self._memory.append(self.resources.buffer(tensor.nbytes))
            self._pinned.append(self.resources.pinned(tensor.nbytes))
        self._bind(count, {tensor.name: memory.address for tensor, memory in zip(tensors, self._memory, strict=True)})
        self._tensors = tensors

    @one_at_a_time
    def close(self) -> None:
        """See Backend.close."""
        self.resources.close()


def _view(memory: PinnedBuffer, tensor: TensorSpec) -> NDArray[Any]:
    return memory.array[: tensor.nbytes].view(tensor.dtype).reshape(tensor.shape)


def _result(values: NDArray[Any]) -> NDArray[Any]:
    return values.astype(np.float32 if values.dtype == np.float16 else values.dtype)
