"""Timing: medians, percentiles, interleaving, stages, paired ratios. No test looks at a time it measured."""

from __future__ import annotations

import pytest

from ce2p_runtime.measuring.timing import Timing, interleave, interleave_stages, paired_ratio, timed


def test_median_and_percentiles() -> None:
    timing = Timing.of([float(value) for value in range(100, 0, -1)])
    assert (timing.median_ms, timing.p95_ms, timing.p99_ms) == (50.5, 95.0, 99.0)
    assert Timing.of([3.0]).p95_ms == 3.0
    assert Timing.of([2.0, 1.0]).samples == (2.0, 1.0)
    assert Timing.of([float(value) for value in range(15)]).p99_ms == 14.0  # too few: the slowest


def test_interleaving_runs_everyone_every_round_and_nobody_always_behind_the_same_other() -> None:
    calls: list[str] = []
    candidates = {name: (lambda name=name: calls.append(name)) for name in "abc"}  # type: ignore[misc]
    timings = interleave(candidates, rounds=40, warmup=2, rest=0)
    rounds = [calls[start : start + 3] for start in range(0, len(calls), 3)]
    assert len(rounds) == 42
    assert all(sorted(order) == ["a", "b", "c"] for order in rounds)
    assert len({tuple(order) for order in rounds}) == 6
    assert {len(timing.samples) for timing in timings.values()} == {40}
    assert list(timings) == ["a", "b", "c"]
    with pytest.raises(ValueError, match="at least 1"):
        interleave({"a": lambda: None}, rounds=0)


def test_stages_are_those_that_the_counted_rounds_returned_in_their_order() -> None:
    told = iter([9.0, 9.0, 1.0, 3.0, 2.0])
    seen: list[tuple[int, int]] = []
    found = interleave_stages(
        {"a": lambda: {"network": next(told), "labels": 0.5}},
        rounds=3,
        warmup=2,
        rest=0,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert found["a"]["network"].samples == (1.0, 3.0, 2.0)
    assert found["a"]["network"].median_ms == 2.0
    assert found["a"]["labels"].samples == (0.5, 0.5, 0.5)
    assert seen == [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]


def test_a_timed_call_gives_its_result() -> None:
    elapsed, result = timed(lambda: "done")
    assert elapsed >= 0
    assert result == "done"


def test_the_paired_ratio_compares_round_by_round() -> None:
    assert paired_ratio(Timing.of([1.0, 20.0, 3.0]), Timing.of([2.0, 40.0, 6.0])) == 0.5
