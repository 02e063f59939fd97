"""Run many random cases of one kernel on the CPU: `python -m tests.kernels.sweep label_map --cases 100 --seed 0`.

A process of its own, because a kernel that reads outside its arrays ends it (guard pages). Prints the counts as JSON.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Callable

import numpy as np

from tests.cuda_on_cpu.device import EmulatedDevice
from tests.kernels.cases import CLASS_COUNTS, Counts, check_edge_fusion, check_label_map, check_warp_normalize

KERNELS = ("warp_normalize", "label_map", "edge_fusion")
SANITIZERS = ("-fsanitize=undefined", "-fno-sanitize-recover=all")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("kernel", choices=KERNELS)
    parser.add_argument("--cases", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sanitize", action="store_true", help="stop at misaligned access, overflow, wrong index")
    options = parser.parse_args()
    # Sanitizers make compiling slow: a class count for each way the kernel divides its work.
    class_counts = (2, 20, 59) if options.sanitize else tuple(CLASS_COUNTS)
    device = EmulatedDevice(options.seed, SANITIZERS if options.sanitize else (), class_counts)
    checks: dict[str, Callable[[np.random.Generator], Counts]] = {
        "warp_normalize": lambda rng: check_warp_normalize(device, rng),
        "label_map": lambda rng: check_label_map(device, rng),
        "edge_fusion": lambda rng: check_edge_fusion(device, rng, class_counts),
    }
    total: Counter[str] = Counter()
    for case in range(options.cases):
        total.update(checks[options.kernel](np.random.default_rng([options.seed, case])))
        device.free_all()
    print(json.dumps(total))  # noqa: T201  (the test reads it)


if __name__ == "__main__":
    main()
