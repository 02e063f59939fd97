"""Timing arithmetic: medians, percentiles, interleaving, paired ratios."""

from __future__ import annotations

import pytest

from ce2p_runtime.timing import Timing, interleave, paired_ratio


def test_median_and_95th_percentile() -> None:
    timing = Timing.of([float(value) for value in range(100, 0, -1)])
    assert (timing.median_ms, timing.p95_ms) == (50.5, 95.0)
    assert Timing.of([3.0]).p95_ms == 3.0


def test_interleaving_runs_everyone_every_round_and_nobody_always_behind_the_same_other() -> None:
    calls: list[str] = []
    candidates = {name: (lambda name=name: calls.append(name)) for name in "abc"}  # type: ignore[misc]
    timings = interleave(candidates, rounds=40, warmup=2, rest=0)
    rounds = [calls[start : start + 3] for start in range(0, len(calls), 3)]
    assert len(rounds) == 42
    assert all(sorted(order) == ["a", "b", "c"] for order in rounds)
    assert len({tuple(order) for order in rounds}) == 6
    assert {len(timing.samples) for timing in timings.values()} == {40}
    with pytest.raises(ValueError, match="at least 1"):
        interleave({"a": lambda: None}, rounds=0)


def test_the_paired_ratio_compares_round_by_round() -> None:
    assert paired_ratio(Timing.of([1.0, 20.0, 3.0]), Timing.of([2.0, 40.0, 6.0])) == 0.5
