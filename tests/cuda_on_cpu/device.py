"""A device for the kernel cases: host memory between guard pages, kernels run by the emulation."""

from __future__ import annotations

import ctypes
import dataclasses
import mmap
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ce2p_runtime.ops.launches import ArrayAt, KernelSource, Launch
from tests.cuda_on_cpu import EmulatedKernels, emulate
from tests.kernels.cases import CLASS_COUNTS, POISON
from tests.kernels.edge_fusion import FEW_CLASS_COUNTS

__all__ = ["EmulatedDevice"]

_PAGE = mmap.PAGESIZE
_NO_ACCESS = 0
_libc = ctypes.CDLL(None, use_errno=True)


class EmulatedDevice:
    """Memory whose last byte lies before a page that cannot be touched; reading past the end ends the process.

    Another such page lies before the first page of each array. `flags`: more compiler flags, such as sanitizers.
    """

    def __init__(self, seed: int = 0, flags: tuple[str, ...] = (), class_counts: Sequence[int] = CLASS_COUNTS) -> None:
        self.seed = seed
        self._flags = flags
        self.class_counts = tuple(class_counts)
        self._mappings: list[mmap.mmap] = []
        self._arrays: dict[int, NDArray[Any]] = {}

    def to_device(self, array: NDArray[Any]) -> ArrayAt:
        """See Device."""
        memory = self.poisoned(array.shape, array.dtype)
        self._arrays[memory.address][...] = array
        return memory

    def poisoned(self, shape: tuple[int, ...], dtype: Any) -> ArrayAt:
        """See Device."""
        dtype = np.dtype(dtype)
        size = int(np.prod(shape)) * dtype.itemsize
        body = -(-max(size, 1) // _PAGE) * _PAGE
        mapping = mmap.mmap(-1, body + 2 * _PAGE)
        start = ctypes.addressof(ctypes.c_char.from_buffer(mapping))
        for guard in (start, start + _PAGE + body):
            if _libc.mprotect(ctypes.c_void_p(guard), ctypes.c_size_t(_PAGE), _NO_ACCESS):
                raise OSError(ctypes.get_errno(), "mprotect")
        # Against the upper guard. Sizes that are no multiple of the element's size do not exist, so it stays aligned.
        offset = _PAGE + body - size
        array: NDArray[Any] = np.frombuffer(mapping, np.uint8, size, offset).view(dtype).reshape(shape)
        array.reshape(-1).view(np.uint8)[...] = POISON
        self._mappings.append(mapping)
        self._arrays[array.ctypes.data] = array
        return ArrayAt(int(array.ctypes.data), shape)

    def to_host(self, array: ArrayAt) -> NDArray[Any]:
        """See Device."""
        return self._arrays[array.address]

    def run(self, source: KernelSource, launch: Launch) -> None:
        """See Device."""
        self.seed += 1
        if launch.op == "edge_fusion":
            defines = dict(source.defines)
            launch = dataclasses.replace(launch, kernel=f"ce2p_edge_fusion_c{defines['CE2P_CLASSES']}")
            usual = (defines["CE2P_STEP8"], defines["CE2P_STEP16"]) == ("2", "4")
            counts = self.class_counts if usual else tuple(c for c in self.class_counts if c in FEW_CLASS_COUNTS)
            _fusion_kernels(source, counts, self._flags).run(launch, self.seed)
        else:
            emulate(source, flags=self._flags).run(launch, self.seed)

    def free_all(self) -> None:
        """Forget everything; the pages go when nothing refers to them any more."""
        self._arrays.clear()
        self._mappings.clear()


def _fusion_kernels(source: KernelSource, class_counts: tuple[int, ...], flags: tuple[str, ...]) -> EmulatedKernels:
    """ce2p_edge_fusion is compiled per class count: one library with all takes seconds, one for each a minute."""
    others = dict(source.defines) | {"CE2P_CLASSES": str(class_counts[0])}
    entries = "\n".join(_ENTRY.replace("CLASSES", str(classes)) for classes in class_counts)
    return emulate(KernelSource(source.file, tuple(sorted(others.items()))), entries, flags)


_ENTRY = """extern "C" __global__ void ce2p_edge_fusion_cCLASSES(
    const ce2p::Scalar* a, const ce2p::Scalar* b, const ce2p::Scalar* c, const ce2p::Scalar* weight,
    const ce2p::Scalar* bias, int channels, int h4, int w4, int h8, int w8, int h16, int w16, ce2p::Scalar* logits) {
    ce2p::edge_fusion<ce2p::Scalar, CLASSES>(
        a, b, c, weight, bias, {channels, h4, w4, h8, w8, h16, w16}, CE2P_SLOPE, logits);
}"""
