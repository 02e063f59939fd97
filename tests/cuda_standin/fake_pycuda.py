"""`pycuda.driver` over a Machine: the names, signatures and rules of pycuda 2026.1 that the runtime relies on.

Its context rules are pycuda's: the stack is per thread, objects belong to the context that was current when they were
made, and want it current when they go.
"""

from __future__ import annotations

import json
import threading
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from ce2p_runtime.ops.launches import KernelSource, Launch
from tests.cuda_on_cpu import EmulatedKernels, emulate

from .machine import Machine, Operation, Record, StandInError
from .machine import Stream as Queue

__all__ = ["make_pycuda"]


@cache
def _emulated(header: str) -> EmulatedKernels:
    facts = json.loads(header)
    return emulate(KernelSource.of(Path(facts["file"]).stem, **facts["defines"]))


def make_pycuda(machine: Machine) -> dict[str, ModuleType]:
    """Modules for sys.modules."""
    driver: Any = ModuleType("pycuda.driver")

    class Error(Exception):
        pass

    class MemoryError(Error):
        pass

    class LogicError(Error):
        pass

    class RuntimeError(Error):
        pass

    machine.failure = lambda what: MemoryError(f"cuMemAlloc failed: out of memory ({what})")

    class Context:
        def __init__(self) -> None:
            machine.objects["retained"] = machine.objects.get("retained", 0) + 1
            self.thread = threading.get_ident()
            self.valid = True

        def push(self) -> None:
            if not self.valid:
                raise LogicError("cuCtxPushCurrent failed: context is destroyed")
            machine.stack().append(self)

        @staticmethod
        def pop() -> None:
            if not machine.stack():
                machine.problems.append("a context was popped in a thread that had pushed none")
                raise LogicError("context::pop failed: invalid device context - cannot pop non-current context")
            machine.stack().pop()

        def detach(self) -> None:
            if machine.stack()[-1:] != [self]:
                machine.problems.append("a primary context was detached where it was not current")
            machine.stack().pop()
            self.valid = False
            machine.objects["retained"] -= 1

        @staticmethod
        def synchronize() -> None:
            machine.synchronize(lambda: not any(s.queue for s in machine.streams.values()), "Context.synchronize")

    class Device:
        def __init__(self, index: int) -> None:
            if index >= machine.devices:
                raise LogicError("cuDeviceGet failed: invalid device ordinal")

        @staticmethod
        def count() -> int:
            return machine.devices

        def name(self) -> str:
            return "Stand-in GPU"

        def compute_capability(self) -> tuple[int, int]:
            return machine.capability

        def retain_primary_context(self) -> Context:
            return Context()

    class DeviceAllocation:
        def __init__(self, nbytes: int) -> None:
            self._memory = machine.allocate(nbytes, "device")

        def __int__(self) -> int:
            return self._memory.address

        __index__ = __int__

        def free(self) -> None:
            machine.free(self._memory)

    class HostAllocation:
        def __init__(self, nbytes: int) -> None:
            self._memory = machine.allocate(nbytes, "pinned")
            self.__array_interface__ = self._memory.bytes.__array_interface__

        def free(self) -> None:
            machine.free(self._memory)

    class Stream:
        def __init__(self, flags: int = 0) -> None:
            self._queue: Queue = machine.new_stream()
            self.handle = self._queue.handle

        def synchronize(self) -> None:
            if self._queue.captured is not None:
                self._queue.broken = "waiting for a captured stream"
                raise LogicError("cuStreamSynchronize failed: operation not permitted when stream is capturing")
            machine.synchronize(lambda: not self._queue.queue, "Stream.synchronize")

        def wait_for_event(self, event: Any) -> None:
            if event.record_ is not None:
                machine.enqueue(self.handle, Operation("wait", lambda: None, after=event.record_))

        def __del__(self) -> None:
            if hasattr(self, "_queue"):
                machine.destroy("stream")
                if self._queue.queue:
                    machine.problems.append("a stream was destroyed with work in it")
                del machine.streams[self.handle]

    class Event:
        def __init__(self, flags: int = 0) -> None:
            self.record_: Record | None = None
            self._made = False
            machine.create("event")
            self._made = True

        def record(self, stream: Any = None) -> Any:
            self.record_ = Record()
            machine.enqueue(stream.handle, Operation("record", lambda: None, records=self.record_))
            return self

        def synchronize(self) -> Any:
            record = self.record_
            if record is not None:
                machine.synchronize(lambda: record.done, "Event.synchronize")
            return self

        def time_since(self, earlier: Any) -> float:
            if not (self.record_ and earlier.record_ and self.record_.done and earlier.record_.done):
                raise LogicError("cuEventElapsedTime failed: invalid resource handle")
            return self.record_.time - float(earlier.record_.time)

        def __del__(self) -> None:
            if self._made:
                machine.destroy("event")

    class Module:
        def __init__(self, kernels: EmulatedKernels) -> None:
            self._kernels: EmulatedKernels | None = None
            machine.create("module")
            self._kernels = kernels

        def get_function(self, name: str) -> Any:
            if self._kernels is None or name not in self._kernels.kernels:
                raise LogicError("cuModuleGetFunction failed: named symbol not found")
            return Function(self, self._kernels, name)

        def __del__(self) -> None:
            if self._kernels is not None:
                machine.destroy("module")

    class Function:
        def __init__(self, module: Module, kernels: EmulatedKernels, name: str) -> None:
            self._module, self._kernels, self._name = module, kernels, name

        def __call__(self, *arguments: Any, grid: Any, block: Any, stream: Any) -> None:
            if not all(isinstance(argument, np.number) for argument in arguments):
                raise TypeError("invalid type on parameter")
            launch = Launch("", self._name, grid, arguments, block)
            touched = [int(argument) for argument in arguments if isinstance(argument, np.uint64)]
            seed = machine.random.randrange(1 << 30)
            machine.enqueue(stream.handle, Operation(self._name, lambda: self._kernels.run(launch, seed), touched))

    def module_from_buffer(buffer: bytes) -> Module:
        machine.need_context("module_from_buffer")
        if buffer[-1:] != b"\0":
            raise StandInError("PTX that does not end with NUL")
        line = buffer.partition(b"\n")[0]
        if not line.startswith(b"// ce2p "):
            raise LogicError("cuModuleLoadDataEx failed: a PTX JIT compilation failed - ptxas fatal")
        facts = json.loads(line.removeprefix(b"// ce2p "))
        return Module(_emulated(json.dumps({"file": facts["file"], "defines": facts["defines"]})))

    def address_of(array: Any) -> int:
        if not array.flags.c_contiguous:
            raise StandInError("a copy of memory that is not contiguous")
        return int(array.ctypes.data)

    def memcpy_htod_async(dest: int, src: Any, stream: Any) -> None:
        source = machine.find(address_of(src), src.nbytes, "pinned")
        target = machine.find(int(dest), src.nbytes, "device")
        touched = [int(dest), src.ctypes.data]
        machine.enqueue(stream.handle, Operation("upload", lambda: np.copyto(target, source), touched))

    def memcpy_dtoh_async(dest: Any, src: int, stream: Any) -> None:
        target = machine.find(address_of(dest), dest.nbytes, "pinned")
        source = machine.find(int(src), dest.nbytes, "device")
        touched = [int(src), dest.ctypes.data]
        machine.enqueue(stream.handle, Operation("download", lambda: np.copyto(target, source), touched))

    def memcpy_dtod_async(dest: int, src: int, size: int, stream: Any) -> None:
        target, source = machine.find(int(dest), size), machine.find(int(src), size)
        touched = [int(dest), int(src)]
        machine.enqueue(stream.handle, Operation("copy", lambda: np.copyto(target, source), touched))

    def memset_d8_async(dest: int, data: int, size: int, stream: Any) -> None:
        target = machine.find(int(dest), size)
        machine.enqueue(stream.handle, Operation("clear", lambda: target.fill(data), [int(dest)]))

    def pinned(shape: int, dtype: Any) -> Any:
        if np.dtype(dtype) != np.uint8:
            raise StandInError("the stand-in's pinned arrays are bytes")
        return np.asarray(HostAllocation(shape))

    driver.init = lambda flags=0: None
    driver.mem_alloc = DeviceAllocation
    driver.mem_get_info = lambda: (1 << 30, 4 << 30)
    driver.pagelocked_empty = pinned
    for thing in (
        Error,
        MemoryError,
        LogicError,
        RuntimeError,
        Context,
        Device,
        DeviceAllocation,
        Stream,
        Event,
        Module,
        module_from_buffer,
        memcpy_htod_async,
        memcpy_dtoh_async,
        memcpy_dtod_async,
        memset_d8_async,
    ):
        setattr(driver, thing.__name__, thing)
    package: Any = ModuleType("pycuda")
    package.driver = driver
    package.__path__ = []
    return {"pycuda": package, "pycuda.driver": driver}
