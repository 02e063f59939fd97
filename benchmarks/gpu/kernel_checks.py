"""Every kernel against its reference on fresh random cases, on the GPU.

    python -m benchmarks.gpu.kernel_checks [--cases 150] [--seed N]

The cases are those that run on the CPU in every test run (tests/kernels); the seed is new each time and stands
in the result, so that a failure can be repeated.
"""

from __future__ import annotations

import argparse
import secrets
from collections import Counter
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.gpu.device import GpuDevice, compile_all
from benchmarks.gpu.parts import Part, part_main
from ce2p_runtime.ops.launches import ArrayAt, KernelSource, Launch
from tests.kernels.cases import CLASS_COUNTS, Device, checks


def check_all(part: Part, device: Device, cases: int, seed: int) -> None:
    """Fill `part` with one row per op. Raises AssertionError at the first wrong result."""
    for name, check in checks().items():
        total: Counter[str] = Counter()
        for case in range(cases):
            total.update(check(device, np.random.default_rng([seed, case])))
            device.free_all()
        part.rows.append({"op": name, "cases": cases, "seed": seed, **total})
        part.save()


def sources_of(cases: int, seed: int) -> list[KernelSource]:
    """What the same cases will ask to have compiled."""
    recorder = _Recorder()
    for check in checks().values():
        for case in range(cases):
            with suppress(_RecordedError):
                check(recorder, np.random.default_rng([seed, case]))
    return list(recorder.sources)


class _RecordedError(Exception):
    """Ends a case that was run only to see what it would launch first."""


class _Recorder:
    class_counts = CLASS_COUNTS

    def __init__(self) -> None:
        self.sources: dict[KernelSource, None] = {}

    def to_device(self, array: NDArray[Any]) -> ArrayAt:
        return ArrayAt(0, array.shape)

    def poisoned(self, shape: tuple[int, ...], dtype: Any) -> ArrayAt:
        return ArrayAt(0, shape)

    def to_host(self, array: ArrayAt) -> NDArray[Any]:
        raise _RecordedError

    def run(self, source: KernelSource, launch: Launch) -> None:
        self.sources[source] = None
        raise _RecordedError

    def free_all(self) -> None: ...


def work(part: Part, options: argparse.Namespace) -> None:
    """Fill the part on device 0."""
    device = GpuDevice()
    part.facts["architecture"] = device.architecture
    part.facts["compiled by"] = compile_all(sources_of(options.cases, options.seed))
    check_all(part, device, options.cases, options.seed)


if __name__ == "__main__":
    part_main("Kernels against their references", work, cases=150, seed=secrets.randbelow(1 << 31))
