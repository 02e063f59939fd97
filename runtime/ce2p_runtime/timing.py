"""Timing that can be compared: callables run in turn, round after round.

Running A for a while and then B measures the machine's mood as much as the code. Here every round runs each callable
once, so that drift and neighbours touch all of them alike; in an order that is shuffled anew, so that nobody always
runs in the wake of the same other; and after a short rest, because thread pools go on spinning for a while after their
work and would take a core from whoever comes next (measured: 15 % of a network's time on two cores).
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

__all__ = ["Timing", "interleave", "paired_ratio"]

REST = 0.05
"""Seconds between two runs. ONNX Runtime, OpenVINO and OpenMP have all stopped spinning by then."""


@dataclass(frozen=True)
class Timing:
    """Times of one callable, in milliseconds."""

    median_ms: float
    p95_ms: float
    samples: tuple[float, ...]
    """Every round's time, in the order of the rounds."""

    @classmethod
    def of(cls, samples: list[float]) -> Timing:
        """Summarise at least one sample."""
        ordered = sorted(samples)
        # Nearest rank: the smallest sample that at least 95 % of the samples do not exceed.
        p95 = ordered[-(-95 * len(ordered) // 100) - 1]
        return cls(statistics.median(ordered), p95, tuple(samples))


def interleave(
    candidates: Mapping[str, Callable[[], object]], rounds: int, warmup: int = 3, rest: float = REST
) -> dict[str, Timing]:
    """Time every candidate once per round, after `warmup` rounds that do not count; `rest` in seconds.

    Raises ValueError for rounds < 1.
    """
    if rounds < 1:
        raise ValueError(f"rounds must be at least 1, got {rounds}")
    order = list(candidates)
    shuffler = random.Random(0)  # noqa: S311  (an order, not a secret)
    samples: dict[str, list[float]] = {name: [] for name in order}
    for turn in range(warmup + rounds):
        shuffler.shuffle(order)
        for name in order:
            time.sleep(rest)
            start = time.perf_counter_ns()
            candidates[name]()
            elapsed = time.perf_counter_ns() - start
            if turn >= warmup:
                samples[name].append(elapsed / 1e6)
    return {name: Timing.of(values) for name, values in samples.items()}


def paired_ratio(one: Timing, other: Timing) -> float:
    """Median over the rounds of one / other: below 1 where `one` is faster. Both must come from one `interleave`."""
    return statistics.median(a / b for a, b in zip(one.samples, other.samples, strict=True))
