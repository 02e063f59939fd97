"""Run many random cases of one op on the CPU: `python -m tests.kernels.sweep label_map --cases 100 --seed 0`.

A process of its own, because a kernel that reads outside its arrays ends it (guard pages). Prints the counts as JSON.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter

import numpy as np

from tests.cuda_on_cpu.device import EmulatedDevice
from tests.kernels.cases import checks

SANITIZERS = ("-fsanitize=undefined", "-fno-sanitize-recover=all")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("op", choices=checks())
    parser.add_argument("--cases", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sanitize", action="store_true", help="stop at misaligned access, overflow, wrong index")
    options = parser.parse_args()
    # Sanitizers make compiling slow: a class count for each way the kernel divides its work.
    class_counts = (2, 20, 59) if options.sanitize else range(2, 60)
    device = EmulatedDevice(options.seed, SANITIZERS if options.sanitize else (), class_counts)
    check = checks()[options.op]
    total: Counter[str] = Counter()
    for case in range(options.cases):
        total.update(check(device, np.random.default_rng([options.seed, case])))
        device.free_all()
    print(json.dumps(total))  # noqa: T201  (the test reads it)


if __name__ == "__main__":
    main()
