"""Intersection over union by hand; timing arithmetic; agreement of the two places that name LIP's classes."""

from __future__ import annotations

import numpy as np
import pytest

from ce2p.labels import label_set
from ce2p.metrics import ConfusionMatrix
from ce2p.synthetic import Lip
from ce2p_runtime.timing import Timing, interleave, paired_ratio


def test_iou_by_hand() -> None:
    truth = np.array([[0, 0, 1], [1, 2, 255]], np.uint8)
    predicted = np.array([[0, 1, 1], [1, 0, 2]], np.uint8)
    matrix = ConfusionMatrix(4)
    matrix.add(truth, predicted)
    # class 0: 1 / (2 + 2 - 1); class 1: 2 / (2 + 3 - 2); class 2: 0 / 1; class 3 occurs nowhere; 255 is left out
    np.testing.assert_allclose(matrix.iou(), [1 / 3, 2 / 3, 0, np.nan])
    assert matrix.mean_iou_present() == pytest.approx(1 / 3)
    assert matrix.pixel_accuracy() == pytest.approx(3 / 5)


def test_counts_add_up_over_pictures() -> None:
    rng = np.random.default_rng(0)
    maps = [(rng.integers(0, 3, (5, 4), np.uint8), rng.integers(0, 3, (5, 4), np.uint8)) for _ in range(3)]
    one, all_together = ConfusionMatrix(3), ConfusionMatrix(3)
    for truth, predicted in maps:
        one.add(truth, predicted)
    all_together.add(np.concatenate([t for t, _ in maps]), np.concatenate([p for _, p in maps]))
    np.testing.assert_array_equal(one.counts, all_together.counts)


def test_maps_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="same size"):
        ConfusionMatrix(3).add(np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.uint8))
    with pytest.raises(ValueError, match="at most 2"):
        ConfusionMatrix(3).add(np.zeros((2, 2), np.uint8), np.full((2, 2), 7, np.uint8))


def test_synthetic_people_use_lips_own_classes() -> None:
    ours = [name.lower().replace("-", "_") for name in label_set("lip").names]
    assert [label.name.lower() for label in Lip] == ours


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
