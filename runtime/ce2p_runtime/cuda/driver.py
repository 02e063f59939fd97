"""The one place that touches pycuda: devices, memory, streams, events, modules, and their orderly end.

Everything happens on a device's *primary* context, the one that TensorRT, ONNX Runtime and torch use too, so that
addresses and streams can be exchanged with them. It is retained once per process and released when the interpreter
exits. CUDA wants that context current in the calling thread, and pycuda destroys nothing in a thread where it is not:
so whoever uses these objects does it inside `with device.active("what this is for")`, in any thread, and frees them
through the `Resources` they came from.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import weakref
from collections.abc import Iterator
from types import ModuleType
from typing import Any, ClassVar

import numpy as np

from ..base.text import install_hint
from ..errors import BackendError
from ..process.threads import keep_in_children
from .objects import DeviceBuffer, Event, Freeable, Module, PinnedBuffer, Stream

__all__ = [
    "CudaDevice",
    "DeviceBuffer",
    "Event",
    "Freeable",
    "Module",
    "PinnedBuffer",
    "Resources",
    "Stream",
    "device_index",
    "load_pycuda",
]

logger = logging.getLogger(__name__)

_INSTALL = f"{install_hint('tensorrt')} (pycuda is compiled then, with nvcc and a C++ compiler)"


def load_pycuda() -> ModuleType:
    """`pycuda.driver`, initialised. Raises BackendError when pycuda, the NVIDIA driver or a GPU is missing."""
    try:
        import pycuda.driver as driver
    except ModuleNotFoundError as error:
        raise BackendError(f"running on an NVIDIA GPU needs the package {error.name}; {_INSTALL}") from None
    except ImportError as error:  # libcuda.so.1 belongs to the driver
        raise BackendError(f"no NVIDIA driver is usable here ({error}); install it, or use --device cpu") from error
    try:
        driver.init()
        count = driver.Device.count()
    except driver.Error as error:
        raise BackendError(f"no NVIDIA GPU is usable here ({error}); see nvidia-smi, or use --device cpu") from error
    if count == 0:
        raise BackendError("the NVIDIA driver finds no GPU; see nvidia-smi, or use --device cpu")
    module: ModuleType = driver
    return module


def device_index(device: str, user: str) -> int:
    """Which GPU "auto", "cuda" (both the first) or "cuda:N" means. `user`: who asks, for the message.

    Raises BackendError for anything else.
    """
    kind, colon, index = device.partition(":")
    if kind not in {"auto", "cuda"} or (colon and (kind == "auto" or not index.isdigit())):
        raise BackendError(
            f"device {device!r} is unknown to {user}, which runs on NVIDIA GPUs: expected cuda or cuda:N"
        )
    return int(index or 0)


class CudaDevice:
    """A GPU on its primary context. `CudaDevice.open(index)` gives the same object for the same index, always."""

    _opened: ClassVar[dict[int, CudaDevice]] = {}
    _lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, index: int) -> None:
        self.driver = load_pycuda()
        count = self.driver.Device.count()
        if index >= count:
            raise BackendError(f"device cuda:{index} asked for, the last GPU here is cuda:{count - 1}; see nvidia-smi")
        self.index = index
        try:
            device = self.driver.Device(index)
            self.name: str = device.name()
            self.capability: tuple[int, int] = tuple(device.compute_capability())
            self._context = device.retain_primary_context()
        except self.driver.Error as error:
            raise BackendError(f"device cuda:{index} cannot be used ({error}); see nvidia-smi") from error
        # Finalizers run in reverse order of their making, at the latest when the interpreter exits: every `Resources`
        # of this device is made later, hence freed earlier.
        self._release = weakref.finalize(self, _release_context, self._context, os.getpid())
        self._process = os.getpid()

    @classmethod
    def open(cls, index: int) -> CudaDevice:
        """The device with this index. Raises BackendError when it, the driver or pycuda is missing."""
        with cls._lock:
            if index not in cls._opened:
                cls._opened[index] = cls(index)
            return cls._opened[index]

    @property
    def architecture(self) -> str:
        """As compilers name it: "sm_90"."""
        return f"sm_{self.capability[0]}{self.capability[1]}"

    @contextlib.contextmanager
    def active(self, doing: str) -> Iterator[None]:
        """The context current in this thread meanwhile; CUDA's errors become BackendErrors that begin with `doing`.

        Those leave pycuda's own traceback behind: its frames hold kernels, which then would outlive their context.
        """
        if self.inherited:
            raise BackendError(
                f"{doing}: cuda:{self.index} was opened before this process was forked, which CUDA does not survive; "
                "start processes with multiprocessing's spawn and open a parser in each"
            )
        try:
            self._context.push()
        except self.driver.Error as error:
            raise BackendError(f"{doing}: cuda:{self.index} is not usable any more ({error}); start again") from error
        try:
            yield
        except self.driver.MemoryError as error:
            raise BackendError(f"{doing}: {self._memory()} ({error}); close other programs or parsers") from (
                error.with_traceback(None)
            )
        except self.driver.Error as error:
            raise BackendError(f"{doing}: CUDA failed on cuda:{self.index} ({error}); see `ce2p doctor`") from (
                error.with_traceback(None)
            )
        finally:
            self._context.pop()

    @property
    def inherited(self) -> bool:
        """Whether this process is a fork of the one that opened the device: it can neither use nor free it."""
        return os.getpid() != self._process

    def _memory(self) -> str:
        with contextlib.suppress(self.driver.Error):
            free, total = self.driver.mem_get_info()
            return f"cuda:{self.index} is out of memory, {free >> 20} of {total >> 20} MiB are free"
        return f"cuda:{self.index} is out of memory"


def _release_context(context: Any, process: int) -> None:
    if os.getpid() != process:
        return
    # pycuda releases a primary context from another thread only while it is current there.
    context.push()
    context.detach()


class Resources:
    """Owner of what one user of a device holds there; frees it in reverse order, once, with the context current.

    `close()` does, or the garbage collector, or the interpreter's exit; nothing held may refer back to its owner.
    """

    def __init__(self, device: CudaDevice) -> None:
        self.device = device
        self._driver = device.driver
        self._held: dict[int, Freeable] = {}
        self._streams: list[Stream] = []
        self._closer = weakref.finalize(self, _free_all, device, self._held, self._streams)
        keep_in_children(self)

    def close(self) -> None:
        """Free everything; again is allowed."""
        self._closer()

    @property
    def closed(self) -> bool:
        return not self._closer.alive

    def hold(self, thing: Freeable) -> None:
        """Have `thing.free()` called when these resources are freed, before everything held earlier."""
        if self.closed:
            raise BackendError("these CUDA resources are closed")
        self._held[id(thing)] = thing

    def used_by(self, stream: Stream) -> None:
        """Wait for `stream`, somebody else's, before anything here is freed."""
        self._streams.append(stream)

    def release(self, thing: Freeable) -> None:
        """Free one thing now. The context must be current."""
        del self._held[id(thing)]
        thing.free()

    # What follows needs the context current: `with resources.device.active(...)`.

    def buffer(self, nbytes: int) -> DeviceBuffer:
        """Device memory, aligned to 256 bytes as CUDA allocates it."""
        made = DeviceBuffer(self._driver.mem_alloc(max(nbytes, 1)), nbytes)
        self.hold(made)
        return made

    def pinned(self, nbytes: int) -> PinnedBuffer:
        """Host memory that copies at full speed and without waiting."""
        made = PinnedBuffer(self._driver.pagelocked_empty(max(nbytes, 1), np.uint8))
        self.hold(made)
        return made

    def stream(self) -> Stream:
        """A stream of its own; never the default one, which waits for everybody's."""
        made = Stream(self._driver, self._driver.Stream())
        self.hold(made)
        self.used_by(made)
        return made

    def event(self) -> Event:
        """An event that also takes the time."""
        made = Event(self._driver.Event())
        self.hold(made)
        return made

    def module(self, ptx: bytes) -> Module:
        """Kernels from PTX. Raises BackendError when the driver refuses them."""
        try:
            loaded = self._driver.module_from_buffer(ptx + b"\0")  # PTX is text and ends with NUL
        except self._driver.MemoryError:
            raise
        except self._driver.Error as error:
            reason = " ".join(str(error).split())
            raise BackendError(
                f"the driver refuses the kernels ({reason:.200}); update it, or compile them with its CUDA version"
            ) from error
        made = Module(loaded)
        self.hold(made)
        return made


def _free_all(device: CudaDevice, held: dict[int, Freeable], streams: list[Stream]) -> None:
    if not held or device.inherited:
        return
    with device.active("freeing GPU resources"):
        for stream in streams:
            with contextlib.suppress(device.driver.Error):
                stream.synchronize()
        streams.clear()
        while held:
            _, thing = held.popitem()
            try:
                thing.free()
            except device.driver.Error as error:  # after a failed kernel every call fails: go on with the rest
                logger.warning("cuda:%d: %s could not be freed (%s)", device.index, type(thing).__name__, str(error))
            del thing
