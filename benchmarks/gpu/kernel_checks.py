"""Every kernel against its reference on fresh random cases, on the GPU.

    python -m benchmarks.gpu.kernel_checks [--cases 150] [--seed N]

The cases are those that run on the CPU in every test run (tests/kernels/cases.py); the seed is new each time and stands
in the result, so that a failure can be repeated.
"""

from __future__ import annotations

import argparse
import secrets
from collections import Counter
from collections.abc import Callable

import numpy as np

from benchmarks.gpu.device import GpuDevice
from benchmarks.gpu.parts import Part, part_main
from tests.kernels.cases import Counts, Device, check_edge_fusion, check_label_map, check_warp_normalize

# Each class count is compiled by itself: those of the datasets, and the smallest and largest.
CLASS_COUNTS = (2, 7, 12, 18, 20, 25, 59)


def check_all(part: Part, device: Device, cases: int, seed: int) -> None:
    """Fill `part` with one row per kernel. Raises AssertionError at the first wrong result."""
    checks: dict[str, Callable[[np.random.Generator], Counts]] = {
        "warp_normalize, crop": lambda rng: check_warp_normalize(device, rng),
        "label_resize, label_warp, label_nearest": lambda rng: check_label_map(device, rng),
        "edge_fusion": lambda rng: check_edge_fusion(device, rng, CLASS_COUNTS),
    }
    for name, check in checks.items():
        total: Counter[str] = Counter()
        for case in range(cases):
            total.update(check(np.random.default_rng([seed, case])))
            device.free_all()
        part.rows.append({"kernels": name, "cases": cases, "seed": seed, **total})


def work(part: Part, options: argparse.Namespace) -> None:
    """Fill the part on device 0."""
    device = GpuDevice()
    part.facts["architecture"] = device.architecture
    check_all(part, device, options.cases, options.seed)


if __name__ == "__main__":
    part_main("Kernels against their references", work, cases=150, seed=secrets.randbelow(1 << 31))
