"""What the random cases of all kernels share: the device they run on, random sizes and maps, how results are held.

The device is whatever can copy and launch: the emulation on the CPU in every test run, a GPU in `make gpu-check`. Each
op's cases stand in a module of its name, as `check(device, rng)`: draw inputs, run the kernels, hold every result
against the reference. Every output is poisoned first, so an element that no thread wrote is found. A case that fails
raises AssertionError with its sizes; what it counts comes back as a dict.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ce2p_runtime.ops import FUSED_OPS
from ce2p_runtime.ops.launches import ArrayAt, KernelSource, Launch

Array = NDArray[Any]
Counts = dict[str, int]

POISON = 0xA7
"""Byte that fills every output before the launch: no label, and a strange float."""
CLASS_COUNTS = (2, 7, 12, 18, 20, 25, 59)
"""Of the label sets, and the smallest: what a kernel is assembled for that is compiled for one class count."""
FLOAT_ROUNDING, HALF_ROUNDING = 2.0**-24, 2.0**-11
"""Largest relative error of one rounding."""


class Device(Protocol):
    """Memory and launches."""

    class_counts: Sequence[int]
    """What kernels that are compiled for one class count are run with."""

    def to_device(self, array: Array) -> ArrayAt:
        """Copy to the device; it stays valid until `free_all`."""

    def poisoned(self, shape: tuple[int, ...], dtype: Any) -> ArrayAt:
        """New memory full of POISON bytes."""

    def to_host(self, array: ArrayAt) -> Array:
        """What `to_device` or `poisoned` gave, after everything launched so far."""

    def run(self, source: KernelSource, launch: Launch) -> None:
        """Launch a kernel of a source."""

    def free_all(self) -> None:
        """Free everything."""


def checks() -> dict[str, Callable[[Device, np.random.Generator], Counts]]:
    """Of every op: one random case."""
    return {name: op.part("tests.kernels").check for name, op in FUSED_OPS.items()}


def variants() -> dict[str, KernelSource]:
    """Every op in each way that it is compiled, by a name that begins with the op's."""
    parts = {name: op.part("tests.kernels") for name, op in FUSED_OPS.items()}
    return {f"{op}-{name}": source for op, part in parts.items() for name, source in part.variants().items()}


def random_size(rng: np.random.Generator, largest: int) -> tuple[int, int]:
    """Height and width from 1 to `largest`: small ones often, multiples of 4 and squares too."""
    height, width = (round(largest ** rng.random()) for _ in range(2))
    return [(height, width), (height, -(-width // 4) * 4), (height, height)][rng.integers(3)]


def random_matrix(
    rng: np.random.Generator, source: tuple[int, int], target: tuple[int, int], rotated: bool
) -> NDArray[np.float64]:
    """An affine from source pixels to target pixels whose picture overlaps the target, mostly."""
    scale = max(target) / max(source) * 2.0 ** rng.uniform(-1, 1)
    angle = rng.uniform(-np.pi, np.pi) if rotated else 0.0
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    turn[np.abs(turn) < 1e-12] = 0.0
    middle = np.array([(target[1] - 1) / 2, (target[0] - 1) / 2]) + rng.normal(0, 0.2 * max(target), 2)
    shift = middle - turn @ [(source[1] - 1) / 2, (source[0] - 1) / 2]
    if rng.random() < 0.3:  # whole numbers put samples exactly on pixels
        shift = np.round(shift)
    return np.column_stack([turn, shift])
