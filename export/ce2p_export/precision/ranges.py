"""From statistics to the range that 8 bits are spread over. What lies outside is clipped, what lies inside is rounded.

    minmax      the extremes: nothing is clipped, a single stray value makes every step coarser
    percentile  the middle 99.99 % of the values
    entropy     the range whose 128 levels lose the least information about the distribution (Kullback-Leibler; Migacz,
                "8-bit inference with TensorRT", GTC 2017), found on absolute values
    mse         the range with the least mean squared error of clipping and rounding together

Zero stays representable in all of them: padding and ReLU put it everywhere. The sliver below zero behind a LeakyReLU
stays, too: giving it up saves 1 % of a network's time (no zero point), and costs a point of boundary agreement.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from ce2p_runtime.precisions import CalibrationMethod

from .calibration import ActivationStatistics

Range = tuple[float, float]

PERCENTILE = 0.9999
"""Share of the values that stay inside."""
_LEVELS = 128
_FRACTIONS = np.linspace(0.2, 1.0, 81)
"""Of the whole range, tried by `mse`."""


def activation_ranges(statistics: Mapping[str, ActivationStatistics], method: CalibrationMethod) -> dict[str, Range]:
    """(low, high) of every tensor, with low <= 0 <= high. Raises ValueError for an unknown method."""
    if method not in METHODS:
        raise ValueError(f"calibration method {method!r}, expected one of {', '.join(METHODS)}")
    found = {tensor: METHODS[method](entry) for tensor, entry in statistics.items()}
    return {tensor: (min(low, 0.0), max(high, 0.0)) for tensor, (low, high) in found.items()}


def _minmax(entry: ActivationStatistics) -> Range:
    return entry.low, entry.high


def _percentile(entry: ActivationStatistics) -> Range:
    """Half of the rest is cut on each side; a side where the values pile up, as zeros behind a ReLU, stays whole."""
    shares = np.cumsum(entry.histogram) / entry.histogram.sum()
    tail = (1 - PERCENTILE) / 2
    first = int(np.searchsorted(shares, tail, side="right"))
    last = int(np.searchsorted(shares, 1 - tail, side="left"))
    return float(entry.edges[first]), float(entry.edges[min(last, len(shares) - 1) + 1])


def _entropy(entry: ActivationStatistics) -> Range:
    sizes, counts = _absolute(entry)
    counts[0] = counts[1]  # a ReLU's zeros are exact in any range, and would drown everything else
    lengths = range(_LEVELS, len(counts) + 1, 8)
    divergences = [_divergence(counts, length) for length in lengths]
    threshold = sizes[lengths[int(np.argmin(divergences))]]
    return max(entry.low, -threshold), min(entry.high, threshold)


def _absolute(entry: ActivationStatistics) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Edges and counts of the histogram of absolute values, with as many bins."""
    middles = np.abs((entry.edges[:-1] + entry.edges[1:]) / 2)
    bins = len(entry.histogram)
    counts, edges = np.histogram(middles, bins, (0.0, max(-entry.low, entry.high)), weights=entry.histogram)
    return edges, counts


def _divergence(counts: NDArray[np.float64], length: int) -> float:
    """KL divergence between the first `length` bins, what lies beyond put into the last, and their 128 levels."""
    inside = counts[:length]
    reference = inside.copy()
    reference[-1] += counts[length:].sum()
    starts = (np.arange(_LEVELS) * length) // _LEVELS
    totals = np.add.reduceat(inside, starts)
    filled = np.add.reduceat((inside > 0).astype(float), starts)
    level = np.repeat(totals / np.maximum(filled, 1), np.diff(np.append(starts, length)))
    candidate = np.where(inside > 0, level, 0.0)
    # A bin that only the clipped values fill would be infinitely surprising; a thousandth of a count stands in.
    p = reference / reference.sum()
    q = np.maximum(candidate, 1e-3) / np.maximum(candidate, 1e-3).sum()
    present = p > 0
    return float(np.sum(p[present] * np.log(p[present] / q[present])))


def _mse(entry: ActivationStatistics) -> Range:
    values = (entry.edges[:-1] + entry.edges[1:]) / 2
    low, high = min(entry.low, 0.0), max(entry.high, 0.0)
    errors = [_squared_error(values, entry.histogram, low * f, high * f) for f in _FRACTIONS]
    best = float(_FRACTIONS[int(np.argmin(errors))])
    return low * best, high * best


def _squared_error(values: NDArray[np.float64], counts: NDArray[np.int64], low: float, high: float) -> float:
    step = (high - low) / 255
    rounded = np.clip(np.round(values / step), round(low / step), round(high / step)) * step
    # Values inside a bin are rounded, too, where the step is finer than the bin: step²/12 is that error's mean.
    error = np.maximum((values - rounded) ** 2, np.where((values >= low) & (values <= high), step**2 / 12, 0.0))
    return float((error * counts).sum())


METHODS: dict[CalibrationMethod, Callable[[ActivationStatistics], Range]] = {
    "minmax": _minmax,
    "percentile": _percentile,
    "entropy": _entropy,
    "mse": _mse,
}
"""One for each `CalibrationMethod`."""
