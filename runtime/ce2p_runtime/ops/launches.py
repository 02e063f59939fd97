"""What a fused op registers, and how its CUDA kernels are compiled and launched, as plain data.

One place decides this for everybody who runs a kernel: the runtime (pycuda), the TensorRT plugins, the GPU benchmarks,
and the tests, which compile the same .cu files as C++ and run them on the CPU. Nothing here imports CUDA.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from ..model_files.metadata import ModelMetadata

Argument: TypeAlias = np.uint64 | np.int32 | np.float32 | np.float64
"""A kernel argument: device address, int, float or double."""

BLOCK = (256, 1, 1)
"""Threads per block of every kernel."""
PICTURE_TILE = (16, 128)
"""Rows and columns of output pixels per block of the kernels that write pictures (kTileRows, kTileCols)."""
_FOLDER = Path(__file__).parent


class ArrayAt(NamedTuple):
    """A contiguous array in device memory."""

    address: int
    shape: tuple[int, ...]


Given: TypeAlias = ArrayAt | int | np.float32 | np.float64
"""What becomes an Argument: an array its address, a number as it is."""


@dataclass(frozen=True)
class KernelSource:
    """A .cu file with the constants it is compiled for."""

    file: Path
    defines: tuple[tuple[str, str], ...]
    """(name, value) of each -D, sorted by name."""

    @classmethod
    def of(cls, op: str, **defines: str | int) -> KernelSource:
        """The source of an op in this folder."""
        return cls(_FOLDER / f"{op}.cu", tuple(sorted((key, str(value)) for key, value in defines.items())))


@dataclass(frozen=True)
class Launch:
    """One kernel launch."""

    op: str
    """Whose source the kernel is in."""
    kernel: str
    grid: tuple[int, int, int]
    arguments: tuple[Argument, ...]
    block: tuple[int, int, int] = BLOCK

    @classmethod
    def over(
        cls,
        op: str,
        kernel: str,
        arguments: Iterable[Given],
        *,
        items: int,
        size: tuple[int, ...],
        tile: tuple[int, int] = PICTURE_TILE,
    ) -> Launch:
        """One block for each tile of `items` pictures of `size` (height, width); arrays are handed over as addresses.

        Raises ValueError for no items or pixels.
        """
        if items < 1 or min(size) < 1:
            raise ValueError(f"expected at least one item and pixel, got {items} items of size {size}")
        height, width = size
        grid = (-(-width // tile[1]), -(-height // tile[0]), items)
        return cls(op, kernel, grid, tuple(_argument(value) for value in arguments))


def _argument(value: Given) -> Argument:
    if isinstance(value, ArrayAt):
        return np.uint64(value.address)
    return value if isinstance(value, np.floating) else np.int32(value)


@dataclass(frozen=True)
class FusedOp:
    """An op's registration: <NAME> in <name>.py, entered in `FUSED_OPS`. Its other parts are found by its name.

    Each op has <name>.cu beside it, random cases for its kernels in tests/kernels/<name>.py, and benchmarks in
    benchmarks/ops/<name>.py; one that is a node of exported graphs also has ce2p_export/fusions/<name>.py.
    """

    name: str
    around_network: Callable[[ModelMetadata, bool, bool], KernelSource] | None
    """For an op that runs before or after a network: what it is compiled from, by the network's metadata and whether
    its input and its logits are half precision. None for an op that runs only inside."""
    in_graph: bool

    def part(self, package: str) -> Any:
        """This op's module in another package, such as "tests.kernels". Raises ModuleNotFoundError without one."""
        return import_module(f"{package}.{self.name}")
