"""What lives on a device: memory, streams, events, modules. Made, and freed, by driver.Resources."""

from __future__ import annotations

from types import ModuleType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..ops.launches import Launch


class Freeable(Protocol):
    def free(self) -> None:
        """Called once, with the context current."""


class DeviceBuffer:
    """Device memory."""

    def __init__(self, allocation: Any, nbytes: int) -> None:
        self._allocation = allocation
        self.nbytes = nbytes
        self.address = int(allocation)

    def free(self) -> None:
        self._allocation.free()
        self.address = 0


class PinnedBuffer:
    """Page-locked host memory as `array`, uint8 [nbytes]. Keep no views of it: they die with it."""

    def __init__(self, array: NDArray[np.uint8]) -> None:
        self.array = array

    def free(self) -> None:
        allocation: Any = self.array.base
        self.array = np.empty(0, np.uint8)
        allocation.free()


class Stream:
    """A queue of device work. `handle` is what TensorRT, ONNX Runtime and cuda-bindings take for it."""

    def __init__(self, driver: ModuleType, stream: Any) -> None:
        self._driver = driver
        self.native = stream
        self.handle: int = int(stream.handle)

    def wait(self, event: Event) -> None:
        """Let later work here wait until the event's latest record has happened."""
        self.native.wait_for_event(event.native)

    def synchronize(self) -> None:
        """Block this thread until all work queued here is done."""
        if self.native is not None:
            self.native.synchronize()

    def upload(self, target: int, source: NDArray[Any]) -> None:
        """Copy contiguous pinned memory to a device address."""
        self._driver.memcpy_htod_async(target, source, self.native)

    def download(self, target: NDArray[Any], source: int) -> None:
        """Copy from a device address to contiguous pinned memory."""
        self._driver.memcpy_dtoh_async(target, source, self.native)

    def copy(self, target: int, source: int, nbytes: int) -> None:
        """Copy between device addresses."""
        self._driver.memcpy_dtod_async(target, source, nbytes, self.native)

    def clear(self, target: int, nbytes: int) -> None:
        """Fill with zero bytes."""
        self._driver.memset_d8_async(target, 0, nbytes, self.native)

    def free(self) -> None:
        self.native = None  # pycuda destroys it with its last reference


class Event:
    """A point in a stream."""

    def __init__(self, event: Any) -> None:
        self.native = event

    def record(self, stream: Stream) -> None:
        """The event is now the end of what `stream` holds."""
        self.native.record(stream.native)

    def synchronize(self) -> None:
        """Block this thread until the event has happened."""
        self.native.synchronize()

    def milliseconds_since(self, earlier: Event) -> float:
        """GPU time between two events that have happened."""
        return float(self.native.time_since(earlier.native))

    def free(self) -> None:
        self.native = None


class Module:
    """Loaded kernels."""

    def __init__(self, module: Any) -> None:
        self._module = module
        self._functions: dict[str, Any] = {}

    def launch(self, launch: Launch, stream: Stream) -> None:
        """Queue a kernel."""
        if launch.kernel not in self._functions:
            self._functions[launch.kernel] = self._module.get_function(launch.kernel)
        kernel = self._functions[launch.kernel]
        kernel(*launch.arguments, grid=launch.grid, block=launch.block, stream=stream.native)

    def free(self) -> None:
        self._functions.clear()
        self._module = None
