"""A GPU for kernel checks and kernel times, through cuda-bindings alone, so that they run where pycuda does not.

Everything happens on one stream of the primary context of device 0, its own or one that it was told to follow.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.gpu.parts import SkippedError
from ce2p_runtime.cuda.compiler import compile_ptx
from ce2p_runtime.cuda.toolchains import find_compiler
from ce2p_runtime.measuring.timing import Timing, interleave_stages
from ce2p_runtime.ops.launches import ArrayAt, KernelSource, Launch
from tests.kernels.cases import CLASS_COUNTS, POISON


def compile_all(sources: Sequence[KernelSource]) -> str:
    """Compile kernels side by side into the user's cache, where launches find them; says with which compiler.

    A compiler takes seconds for each, and a GPU is expensive to keep waiting. Raises BackendError where there is none.
    """
    compiler = find_compiler()
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        list(pool.map(lambda source: compile_ptx(source, compiler=compiler), sources))
    return f"{compiler.name} {compiler.version}"


class GpuDevice:
    """Device 0. Raises SkippedError where there is no driver or no GPU."""

    class_counts = CLASS_COUNTS

    def __init__(self) -> None:
        try:
            from cuda.bindings import driver
        except ImportError:
            raise SkippedError("cuda-bindings is not installed; pip install cuda-bindings") from None
        self.cuda = driver
        try:
            self.call("cuInit", 0)
            self._device = self.call("cuDeviceGet", 0)
        except RuntimeError as error:  # cuda-bindings raises one of its own when libcuda is missing
            raise SkippedError(f"no usable NVIDIA driver or GPU ({str(error).splitlines()[0]})") from error
        self.call("cuCtxSetCurrent", self.call("cuDevicePrimaryCtxRetain", self._device))
        self.stream = self.call("cuStreamCreate", driver.CUstream_flags.CU_STREAM_NON_BLOCKING)
        self._functions: dict[tuple[KernelSource, str], Any] = {}
        self._arrays: dict[int, tuple[tuple[int, ...], np.dtype[Any]]] = {}

    def call(self, name: str, *arguments: Any) -> Any:
        """A driver function; returns its value, or raises RuntimeError with CUDA's own name for the error."""
        error, *values = getattr(self.cuda, name)(*arguments)
        if error != self.cuda.CUresult.CUDA_SUCCESS:
            raise RuntimeError(f"{name}: {error.name}")
        return values[0] if len(values) == 1 else values

    @property
    def architecture(self) -> int:
        """Compute capability as one number: 90."""
        return self.attribute("COMPUTE_CAPABILITY_MAJOR") * 10 + self.attribute("COMPUTE_CAPABILITY_MINOR")

    @property
    def name(self) -> str:
        """Such as "NVIDIA H200"."""
        text: bytes = self.call("cuDeviceGetName", 100, self._device)
        return text.split(b"\0")[0].decode(errors="replace")

    @property
    def memory_bytes(self) -> int:
        """Of the whole device."""
        return int(self.call("cuDeviceTotalMem", self._device))

    def attribute(self, name: str) -> int:
        """Of the device, by CUDA's name without CU_DEVICE_ATTRIBUTE_. Raises RuntimeError for one it does not tell."""
        attribute = getattr(self.cuda.CUdevice_attribute, f"CU_DEVICE_ATTRIBUTE_{name}")
        return int(self.call("cuDeviceGetAttribute", attribute, self._device))

    def follow(self, stream: int) -> None:
        """Launch on somebody else's stream from now on, by its handle."""
        self.stream = self.cuda.CUstream(stream)

    def allocate(self, size: int) -> int:
        """Device memory of `size` bytes, not cleared."""
        return int(self.call("cuMemAlloc", size))

    def poisoned(self, shape: tuple[int, ...], dtype: Any) -> ArrayAt:
        """See tests.kernels.cases.Device."""
        dtype = np.dtype(dtype)
        size = max(int(np.prod(shape)) * dtype.itemsize, 1)
        address = self.allocate(size)
        self._arrays[address] = (shape, dtype)
        self.call("cuMemsetD8", address, POISON, size)
        return ArrayAt(address, shape)

    def to_device(self, array: NDArray[Any]) -> ArrayAt:
        """See tests.kernels.cases.Device."""
        array = np.ascontiguousarray(array)
        memory = self.poisoned(array.shape, array.dtype)
        self.call("cuMemcpyHtoD", memory.address, array.ctypes.data, array.nbytes)
        self.call("cuCtxSynchronize")  # the stream does not wait for the default one
        return memory

    def to_host(self, array: ArrayAt) -> NDArray[Any]:
        """See tests.kernels.cases.Device."""
        found = np.empty(*self._arrays[array.address])
        self.call("cuStreamSynchronize", self.stream)
        self.call("cuMemcpyDtoH", found.ctypes.data, array.address, found.nbytes)
        return found

    def run(self, source: KernelSource, launch: Launch) -> None:
        """See tests.kernels.cases.Device. Asynchronous, on `stream`."""
        values = [np.array(argument) for argument in launch.arguments]
        pointers = np.array([value.ctypes.data for value in values], np.uint64)
        function = self._function(source, launch.kernel)
        self.call("cuLaunchKernel", function, *launch.grid, *launch.block, 0, self.stream, pointers.ctypes.data, 0)

    def free_all(self) -> None:
        """See tests.kernels.cases.Device."""
        self.call("cuStreamSynchronize", self.stream)
        for address in self._arrays:
            self.call("cuMemFree", address)
        self._arrays.clear()

    def copy_bandwidth(self, size: int) -> float:
        """Bytes per second of a device-to-device copy, read and written bytes both counted: the memory ceiling."""
        source, target = self.allocate(size), self.allocate(size)
        graph = Graph(self, [lambda: self.call("cuMemcpyDtoDAsync", target, source, size, self.stream)] * 4)
        best = min(graph.milliseconds() for _ in range(12))
        for address in (source, target):
            self.call("cuMemFree", address)
        return 2 * size / (best * 1e-3)

    def _function(self, source: KernelSource, kernel: str) -> Any:
        if (source, kernel) not in self._functions:
            module = self.call("cuModuleLoadData", compile_ptx(source) + b"\0")
            self._functions[source, kernel] = self.call("cuModuleGetFunction", module, kernel.encode())
        return self._functions[source, kernel]


class Graph:
    """Steps captured once and replayed: what the GPU does, without what Python needs to ask for it.

    Each step enqueues the same work on another set of buffers, so that replays do not time the cache.
    """

    def __init__(self, device: GpuDevice, steps: Sequence[Callable[[], object]]) -> None:
        self._device = device
        self._steps = len(steps)
        call, cuda = device.call, device.cuda
        steps[0]()  # loads modules; not allowed while capturing
        call("cuStreamSynchronize", device.stream)
        call("cuStreamBeginCapture", device.stream, cuda.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL)
        for step in steps:
            step()
        graph = call("cuStreamEndCapture", device.stream)
        self._executable = call("cuGraphInstantiate", graph, 0)
        self._start, self._stop = (call("cuEventCreate", 0) for _ in range(2))

    def milliseconds(self) -> float:
        """GPU time of one step, from one replay of all."""
        call = self._device.call
        call("cuEventRecord", self._start, self._device.stream)
        call("cuGraphLaunch", self._executable, self._device.stream)
        call("cuEventRecord", self._stop, self._device.stream)
        call("cuEventSynchronize", self._stop)
        return float(call("cuEventElapsedTime", self._start, self._stop)) / self._steps


def interleave_on_gpu(candidates: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, Timing]:
    """As `interleave` in ce2p_runtime.measuring.timing, for candidates that return their own GPU time in milliseconds.

    Without rests: nothing on the host goes on spinning.
    """
    told = {name: lambda run=run: {"gpu": run()} for name, run in candidates.items()}
    return {name: times["gpu"] for name, times in interleave_stages(told, rounds, min(5, rounds), rest=0.0).items()}
