"""Statistics of measured times: percentiles, ratios with an interval, and signs that a series was disturbed.

Times have a hard floor and a long tail, so nothing here uses a mean or a standard deviation. Intervals come from the
percentile bootstrap (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13) with a fixed seed: the
same samples always give the same interval. Samples are taken to be independent of each other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FEWEST_FOR_P99 = 100
"""Below this the 99th percentile by nearest rank is the slowest sample itself."""
FEWEST_FOR_RATIO = 6
"""Below this not even the smallest and the largest of n samples enclose the median with 95 %: 2 * 0.5^n > 0.05."""
MAX_SPREAD = 0.15
"""A series is noisy whose 95th percentile lies further above its median. Quiet machines stay below 5 %."""
MAX_DRIFT = 0.05
"""A series is noisy whose halves' medians differ by more."""

_RESAMPLES = 4000
_SEED = 0


@dataclass(frozen=True)
class Ratio:
    """A ratio of times, below 1 where the first is faster, with its 95 % interval."""

    value: float
    low: float | None
    """None, as `high`, where there were fewer than FEWEST_FOR_RATIO samples."""
    high: float | None

    @property
    def verdict(self) -> str:
        """ "faster", "slower", "no difference" (the interval spans 1) or "too few rounds"."""
        if self.low is None or self.high is None:
            return "too few rounds"
        if self.high < 1:
            return "faster"
        return "slower" if self.low > 1 else "no difference"

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return f"{self.value:.2f}"
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


def percentile(samples: Sequence[float], percent: float) -> float:
    """Nearest rank: the smallest sample that at least `percent` % of the samples do not exceed.

    Always one of the samples. Raises ValueError for no samples or a percentage outside 0 < p <= 100.
    """
    if not samples or not 0 < percent <= 100:
        raise ValueError(
            f"percentile {percent} of {len(samples)} samples, expected 0 < p <= 100 and one sample or more"
        )
    # Rounded first, since a product such as 99.9 * 1000 / 100 may come out a hair above its whole number.
    rank = math.ceil(round(percent * len(samples) / 100, 9))
    return sorted(samples)[rank - 1]


def paired_ratio_interval(one: Sequence[float], other: Sequence[float]) -> Ratio:
    """Median over the rounds of one / other; whole rounds are resampled. Both must come from the same rounds.

    Raises ValueError for series of different length or without samples.
    """
    if len(one) != len(other) or not one:
        raise ValueError(f"paired series of {len(one)} and {len(other)} samples, expected the same number, 1 or more")
    quotients = np.asarray(one, np.float64) / np.asarray(other, np.float64)
    return _ratio(float(np.median(quotients)), _medians(quotients, np.random.default_rng(_SEED)), len(one))


def ratio_interval(new: Sequence[float], old: Sequence[float]) -> Ratio:
    """Median of `new` / median of `old`, from two runs that share no rounds. Raises ValueError for no samples."""
    if not new or not old:
        raise ValueError(f"series of {len(new)} and {len(old)} samples, expected 1 or more each")
    rng = np.random.default_rng(_SEED)
    above, below = np.asarray(new, np.float64), np.asarray(old, np.float64)
    quotients = _medians(above, rng) / _medians(below, rng)
    return _ratio(float(np.median(above) / np.median(below)), quotients, min(len(new), len(old)))


def spread(samples: Sequence[float]) -> float:
    """(p95 - p50) / p50."""
    middle = float(np.median(samples))
    return (percentile(samples, 95) - middle) / middle


def drift(samples: Sequence[float]) -> float:
    """Median of the second half of the rounds over that of the first, minus 1; of an odd number the middle is left out.

    0 for fewer than FEWEST_FOR_RATIO samples, whose halves say nothing.
    """
    half = len(samples) // 2
    if len(samples) < FEWEST_FOR_RATIO:
        return 0.0
    return float(np.median(samples[-half:]) / np.median(samples[:half])) - 1


def noise(samples: Sequence[float]) -> list[str]:
    """One line for each sign that a series in the order of its rounds was disturbed; empty for a quiet one."""
    found = []
    if spread(samples) > MAX_SPREAD:
        found.append(f"p95 lies {spread(samples):.0%} above p50 (more than {MAX_SPREAD:.0%})")
    if abs(drift(samples)) > MAX_DRIFT:
        found.append(
            f"the second half of the rounds took {drift(samples):+.0%} against the first (more than {MAX_DRIFT:.0%})"
        )
    return found


def _medians(samples: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Medians of `_RESAMPLES` samples drawn with replacement."""
    drawn = rng.integers(len(samples), size=(_RESAMPLES, len(samples)))
    return np.asarray(np.median(samples[drawn], axis=1), np.float64)


def _ratio(value: float, resampled: NDArray[np.float64], count: int) -> Ratio:
    if count < FEWEST_FOR_RATIO:
        return Ratio(value, None, None)
    low, high = np.quantile(resampled, (0.025, 0.975))
    return Ratio(value, float(low), float(high))
