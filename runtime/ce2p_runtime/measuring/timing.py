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
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from ..base.progress import StepProgress
from .samples import percentile

REST = 0.05
"""Seconds between two runs. ONNX Runtime, OpenVINO and OpenMP have all stopped spinning by then."""

T = TypeVar("T")


@dataclass(frozen=True)
class Timing:
    """Times of one callable, in milliseconds."""

    median_ms: float
    p95_ms: float
    samples: tuple[float, ...]
    """Every round's time, in the order of the rounds."""

    @classmethod
    def of(cls, samples: Sequence[float]) -> Timing:
        """Summarise at least one sample."""
        return cls(statistics.median(samples), percentile(samples, 95), tuple(samples))

    @property
    def p99_ms(self) -> float:
        """By nearest rank: with fewer than `samples.FEWEST_FOR_P99` samples this is the slowest one."""
        return percentile(self.samples, 99)


def interleave(
    candidates: Mapping[str, Callable[[], object]],
    rounds: int,
    warmup: int = 3,
    rest: float = REST,
    progress: StepProgress | None = None,
) -> dict[str, Timing]:
    """Time every candidate once per round, after `warmup` rounds that do not count; `rest` in seconds.

    Raises ValueError for rounds < 1.
    """
    elapsed = _in_turn(
        {name: partial(_elapsed, run) for name, run in candidates.items()}, rounds, warmup, rest, progress
    )
    return {name: Timing.of(values) for name, values in elapsed.items()}


def interleave_stages(
    candidates: Mapping[str, Callable[[], Mapping[str, float]]],
    rounds: int,
    warmup: int = 3,
    rest: float = REST,
    progress: StepProgress | None = None,
) -> dict[str, dict[str, Timing]]:
    """The same for candidates that time their own stages: each returns milliseconds by stage, every time the same ones.

    Raises ValueError for rounds < 1.
    """
    calls = _in_turn(candidates, rounds, warmup, rest, progress)
    return {
        name: {stage: Timing.of([call[stage] for call in counted]) for stage in counted[0]}
        for name, counted in calls.items()
    }


def paired_ratio(one: Timing, other: Timing) -> float:
    """Median over the rounds of one / other: below 1 where `one` is faster. Both must come from one `interleave`."""
    return statistics.median(a / b for a, b in zip(one.samples, other.samples, strict=True))


def timed(run: Callable[[], T]) -> tuple[float, T]:
    """How many milliseconds `run` took, and what it returned."""
    start = time.perf_counter_ns()
    result = run()
    return (time.perf_counter_ns() - start) / 1e6, result


def _elapsed(run: Callable[[], object]) -> float:
    return timed(run)[0]


def _in_turn(
    candidates: Mapping[str, Callable[[], T]], rounds: int, warmup: int, rest: float, progress: StepProgress | None
) -> dict[str, list[T]]:
    """What every candidate returned in the rounds that count."""
    if rounds < 1:
        raise ValueError(f"rounds must be at least 1, got {rounds}")
    returned: dict[str, list[T]] = {name: [] for name in candidates}
    for turn, order in enumerate(_orders(list(candidates), warmup + rounds)):
        for name in order:
            time.sleep(rest)
            result = candidates[name]()
            if turn >= warmup:
                returned[name].append(result)
        if progress is not None:
            progress(turn + 1, warmup + rounds)
    return returned


def _orders(names: list[str], rounds: int) -> Iterator[list[str]]:
    """An order for each round, shuffled anew; always the same orders."""
    shuffler = random.Random(0)  # noqa: S311  (an order, not a secret)
    for _ in range(rounds):
        shuffler.shuffle(names)
        yield names
