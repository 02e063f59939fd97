"""Statistics of measured times, on made-up series whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest

from ce2p_runtime.measuring.samples import (
    FEWEST_FOR_RATIO,
    Ratio,
    drift,
    noise,
    paired_ratio_interval,
    percentile,
    ratio_interval,
    spread,
)


@pytest.mark.parametrize(
    ("count", "percent", "expected"),
    [
        (5, 30, 2),
        (5, 40, 2),
        (5, 50, 3),
        (5, 100, 5),  # the ranks of 0.3 * 5 = 1.5 -> 2, 2, 2.5 -> 3, 5
        (20, 95, 19),
        (21, 95, 20),
        (10, 95, 10),
        (10, 99, 10),
        (99, 99, 99),
        (100, 99, 99),
        (1000, 99.9, 999),
        (1, 1, 1),
        (1, 99, 1),
        (7, 0.001, 1),
    ],
)
def test_percentiles_are_nearest_ranks(count: int, percent: float, expected: int) -> None:
    samples = np.random.default_rng(0).permutation(np.arange(1.0, count + 1)).tolist()
    assert percentile(samples, percent) == expected


def test_percentiles_equal_numpys_inverted_cdf() -> None:
    rng = np.random.default_rng(1)
    for count in range(1, 60):
        samples = rng.exponential(size=count).tolist()
        for percent in (5, 50, 90, 95, 99):
            assert percentile(samples, percent) == np.percentile(samples, percent, method="inverted_cdf")


@pytest.mark.parametrize(("samples", "percent"), [([], 50), ([1.0], 0), ([1.0], 101)])
def test_percentiles_that_make_no_sense(samples: list[float], percent: float) -> None:
    with pytest.raises(ValueError, match="percentile"):
        percentile(samples, percent)


def drawn(rng: np.random.Generator, count: int, middle: float) -> list[float]:
    """Times as they are: a floor, and a tail above it."""
    return (middle * (1 + 0.05 * rng.exponential(size=count) / np.log(2))).tolist()


def test_a_paired_ratio_cancels_what_disturbs_whole_rounds() -> None:
    rng = np.random.default_rng(2)
    mood = np.linspace(1, 3, 15)  # the machine becomes three times slower
    other = (10 * mood).tolist()
    one = (8 * mood * rng.normal(1, 0.01, 15)).tolist()
    found = paired_ratio_interval(one, other)
    assert found.value == pytest.approx(0.8, rel=0.01)
    assert found.low is not None
    assert found.high is not None
    assert 0.78 < found.low <= found.value <= found.high < 0.82
    assert found.verdict == "faster"
    assert paired_ratio_interval(other, one).verdict == "slower"
    assert ratio_interval(one, other).verdict == "no difference"  # unpaired, the mood hides it


@pytest.mark.parametrize("paired", [True, False])
def test_intervals_cover_the_true_ratio_about_as_often_as_they_say(paired: bool) -> None:
    rng, hits, runs = np.random.default_rng(3), 0, 300
    true = 0.8
    for _ in range(runs):
        one, other = drawn(rng, 25, 8.0), drawn(rng, 25, 10.0)
        # Both series have the same shape, so the medians' ratio is the ratio of scales, and so is that of pairs.
        found = paired_ratio_interval(one, other) if paired else ratio_interval(one, other)
        assert found.low is not None
        assert found.high is not None
        hits += found.low <= true <= found.high
    # 95 % of 300 is 285, with a standard deviation of 4; the bootstrap of a median is known to be a little off.
    assert 270 <= hits <= 299


def test_intervals_repeat_exactly_and_one_that_spans_one_is_no_difference() -> None:
    rng = np.random.default_rng(4)
    one, other = drawn(rng, 15, 10.0), drawn(rng, 15, 10.0)
    assert paired_ratio_interval(one, other) == paired_ratio_interval(one, other)
    assert ratio_interval(one, other) == ratio_interval(one, other)
    assert paired_ratio_interval(one, one) == Ratio(1.0, 1.0, 1.0)
    assert paired_ratio_interval(one, one).verdict == "no difference"
    assert Ratio(0.95, 0.9, 1.02).verdict == "no difference"
    assert str(Ratio(0.95, 0.9, 1.02)) == "0.95 [0.90, 1.02]"


def test_too_few_rounds_have_a_ratio_but_no_interval() -> None:
    few = [1.0] * (FEWEST_FOR_RATIO - 1)
    found = paired_ratio_interval(few, [2.0] * len(few))
    assert found == Ratio(0.5, None, None)
    assert (found.verdict, str(found)) == ("too few rounds", "0.50")
    assert paired_ratio_interval([1.0] * FEWEST_FOR_RATIO, [2.0] * FEWEST_FOR_RATIO).verdict == "faster"
    assert ratio_interval(few, [2.0] * 50).verdict == "too few rounds"
    with pytest.raises(ValueError, match="same number"):
        paired_ratio_interval([1.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="1 or more"):
        ratio_interval([], [1.0])


def test_a_quiet_series_has_no_noise() -> None:
    assert noise([10.0, 10.1, 10.2, 10.0, 10.1, 10.3, 10.2, 10.0]) == []


def test_spread_is_how_far_the_tail_is_from_the_middle() -> None:
    series = [10.0] * 18 + [12.0, 12.0]
    assert spread(series) == pytest.approx(0.2)
    assert noise([10.0] * 19 + [12.0]) == []  # one slow round of twenty is beyond the 95th percentile
    assert len(noise(series)) == 1
    assert "p95 lies 20% above p50" in noise(series)[0]


def test_drift_is_between_the_halves() -> None:
    assert drift([10.0, 10.0, 10.0, 50.0, 11.0, 11.0, 11.0]) == pytest.approx(0.1)
    assert drift([11.0, 11.0, 11.0, 10.0, 10.0, 10.0]) == pytest.approx(-1 / 11)
    assert drift([10.0, 20.0, 30.0, 40.0, 50.0]) == 0.0
    assert "second half of the rounds took +10%" in noise([10.0, 10.0, 10.0, 11.0, 11.0, 11.0])[0]
