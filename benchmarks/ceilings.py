"""What this CPU can do at best, measured: products per second in float32, bfloat16 and int8, and bytes per second.

No datasheet counts. A ceiling is the best that any library at hand reaches on any of several shapes (see
ceiling_sources.py). Each source is run several times and its best counts, because a ceiling is what the machine can do
when nothing disturbs it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from benchmarks.workload import ARITHMETICS, Arithmetic

Resource = Literal["fp32", "bf16", "int8", "copy"]
RESOURCES: tuple[Resource, ...] = (*ARITHMETICS, "copy")
REPETITIONS = 8


@dataclass(frozen=True)
class PeakSource:
    """One way to use a resource."""

    resource: Resource
    library: str
    shape: str
    amount: int
    """Operations, or bytes read and written, of one call."""
    make: Callable[[], Callable[[], object]]
    """Allocates and loads; what it returns runs once per call."""

    @property
    def name(self) -> str:
        return f"{self.library}, {self.shape}"


@dataclass(frozen=True)
class Reached:
    """What a source reached."""

    resource: Resource
    name: str
    rate: float
    """Operations or bytes per second."""


@dataclass(frozen=True)
class Ceilings:
    """Rates per second; None for arithmetic that no library here has."""

    fp32: float | None
    bf16: float | None
    int8: float | None
    copy: float | None

    def of(self, arithmetic: Arithmetic) -> float | None:
        return {"fp32": self.fp32, "bf16": self.bf16, "int8": self.int8}[arithmetic]


def ceilings_of(reached: Sequence[Reached]) -> Ceilings:
    """The best of each resource."""
    best = {r: max((found.rate for found in reached if found.resource == r), default=None) for r in RESOURCES}
    return Ceilings(best["fp32"], best["bf16"], best["int8"], best["copy"])


def measure(
    candidates: Sequence[PeakSource],
    repetitions: int = REPETITIONS,
    progress: Callable[[str], None] = lambda name: None,
) -> tuple[list[Reached], dict[str, str]]:
    """Run every source; what was reached, and the reasons of those that cannot run here."""
    reached, missing = [], {}
    for source in candidates:
        progress(source.name)
        try:
            run = source.make()
            milliseconds = best_of(run, repetitions)
        except Exception as error:  # every library raises its own kinds for what it lacks
            missing[f"{source.resource}: {source.name}"] = (str(error).strip().splitlines() or [type(error).__name__])[
                0
            ]
            continue
        reached.append(Reached(source.resource, source.name, source.amount / milliseconds * 1e3))
    return reached, missing


def best_sources(candidates: Sequence[PeakSource], reached: Sequence[Reached]) -> list[PeakSource]:
    """For each resource that anything reached the source that reached most."""
    best = {found.resource: found.name for found in sorted(reached, key=lambda found: found.rate)}
    return [source for source in candidates if best.get(source.resource) == source.name]


def best_of(run: Callable[[], object], repetitions: int) -> float:
    """Milliseconds of the fastest of `repetitions` calls, after one that does not count."""
    run()
    times = []
    for _ in range(repetitions):
        started = time.perf_counter_ns()
        run()
        times.append((time.perf_counter_ns() - started) / 1e6)
    return min(times)
