"""Options that are timed: what their passes take, and whether that can be believed.

Times are noise where other programs held the cores. Two signs tell: this process's threads waited for a core for more
than `MOST_WAITING` of the time they ran (Linux; a load average would also count what happens on cores that are not
ours), or the fastest option's median is more than `MOST_SPREAD` times its own best round.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..measuring.machine import usable_cores
from ..measuring.timing import REST, Timing, timed
from ..model_files.metadata import ModelMetadata
from .base import Backend
from .choice_memory import Option

ROUNDS = 5
FEWEST_ROUNDS = 2
BUDGET = 4.0
"""Seconds of timing that are enough: networks that take longer get fewer rounds."""
CLEARLY = 1.5
"""An option whose best round took so many times the worst of another one will not catch up."""
MOST_WAITING = 0.25
"""Measured on two cores: below 0.01 where this process came first, 1.8 to 4 beside six busy programs."""
MOST_SPREAD = 1.5

_TASKS = Path("/proc/self/task")


@dataclass(frozen=True)
class Times:
    """What a round of timing gave."""

    median_ms: dict[str, float]
    """By option, in words; empty where fewer than two of them run."""
    noise: str
    """What speaks against believing it, in words, or nothing."""


class Runner:
    """An option being timed: `run` never raises, a failure is kept."""

    def __init__(self, option: Option) -> None:
        self.option = option
        self.backend: Backend | None = None
        self.error: Exception | None = None
        self._input: NDArray[Any] | None = None

    def load(self, load: Callable[[Option], Backend]) -> None:
        try:
            self.backend = load(self.option)
            self._input = _random_input(self.backend.metadata, self.backend.batch or 1)
        except Exception as error:
            self.fail(error)

    def run(self) -> None:
        if self.backend is None or self._input is None:
            return
        try:
            self.backend.run(self._input)
        except Exception as error:
            self.fail(error)

    def fail(self, error: Exception) -> None:
        self.error = error
        self.close()

    def close(self) -> None:
        if self.backend is not None:
            with suppress(Exception):  # a loser that does not even close is no reason to have no winner
                self.backend.close()
            self.backend = None


def time_options(runners: Sequence[Runner]) -> Times:
    """Time those that run, in turn, and close those that are clearly slower. Each has run before."""
    running = [runner for runner in runners if runner.backend is not None]
    if len(running) < 2:
        return Times({}, "")
    before = _task_times()
    samples = _in_turn(running)
    timings = {str(runner.option): Timing.of(samples[runner]) for runner in running if runner.error is None}
    if not timings:
        return Times({}, "")
    crowded = any((runner.option.threads or 0) > (usable_cores() or 0) for runner in runners)  # they wait by themselves
    noise = _spread(timings) or ("" if crowded else _waiting(before, _task_times()))
    return Times({name: timing.median_ms for name, timing in timings.items()}, noise)


def _in_turn(running: Sequence[Runner]) -> dict[Runner, list[float]]:
    """Milliseconds of each, in as few rounds as tell."""
    samples: dict[Runner, list[float]] = {runner: [] for runner in running}
    left = list(running)
    shuffler = random.Random(0)  # noqa: S311  (an order, not a secret: nobody always follows the same other)
    started = time.perf_counter()
    for turn in range(1, ROUNDS + 1):
        shuffler.shuffle(left)
        for runner in left:
            time.sleep(REST)
            samples[runner].append(timed(runner.run)[0])
        left = [runner for runner in left if runner.backend is not None]
        if turn >= FEWEST_ROUNDS:
            left = _without_slow(left, samples)
        if len(left) < 2 or (turn >= FEWEST_ROUNDS and time.perf_counter() - started > BUDGET):
            break
    return samples


def _without_slow(left: list[Runner], samples: Mapping[Runner, list[float]]) -> list[Runner]:
    """Those that may still be the fastest; the others are closed."""
    bar = CLEARLY * min((max(samples[runner]) for runner in left), default=0.0)
    for runner in left:
        if min(samples[runner]) > bar:
            runner.close()
    return [runner for runner in left if runner.backend is not None]


def _spread(timings: Mapping[str, Timing]) -> str:
    fastest = min(timings.values(), key=lambda timing: timing.median_ms)
    spread = fastest.median_ms / max(min(fastest.samples), 1e-6)
    return f"its rounds differ, their median is {spread:.1f} times the best" if spread > MOST_SPREAD else ""


def _waiting(before: Mapping[str, tuple[int, int]], after: Mapping[str, tuple[int, int]]) -> str:
    ran, waited = (
        sum(times[kind] - before.get(task, (0, 0))[kind] for task, times in after.items()) for kind in (0, 1)
    )
    share = waited / ran if ran else 0.0
    return f"others held the cores, it waited {share:.1f} times as long as it ran" if share > MOST_WAITING else ""


def _task_times() -> dict[str, tuple[int, int]]:
    """By thread of this process: nanoseconds that it ran, and that it waited for a core. Empty outside Linux."""
    found = {}
    for file in _TASKS.glob("*/schedstat"):
        with suppress(OSError, ValueError):  # a thread that has ended
            ran, waited, _ = file.read_text().split()
            found[file.parent.name] = (int(ran), int(waited))
    return found


def _random_input(metadata: ModelMetadata, batch: int) -> NDArray[Any]:
    """Noise of the network's own kind. Its time does not depend on what it sees."""
    height, width = metadata.input_size
    noise = np.random.default_rng(0)
    if metadata.input_kind == "uint8":
        return noise.integers(0, 256, (batch, height, width, 3), np.uint8)
    return noise.standard_normal((batch, 3, height, width), np.float32).astype(metadata.io)
