"""Figures beside their limits, and how much of what the limits allow is used up: what all metrics share."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

HOPELESS = 1e9
"""Share of an allowance where there is no figure to tell it; a number, so that candidates can still be ranked."""
SMALLEST_ALLOWANCE = 1e-6
"""A limit of exactly 1 allows nothing, and shares of nothing cannot be compared."""


@dataclass(frozen=True)
class Check:
    """One figure beside its limit."""

    what: str
    figure: float | None
    """None: there was nothing to compare, which counts as held."""
    limit: float
    at_least: bool = True
    """Whether the limit is the smallest allowed figure, or the largest."""
    where: str = ""
    """The picture or class that the figure belongs to; empty for all of them together."""
    is_share: bool = True
    """Whether people are shown a percentage; else a number with its power of ten."""

    @property
    def held(self) -> bool:
        """Written so that NaN fails."""
        if self.figure is None:
            return True
        return self.figure >= self.limit if self.at_least else self.figure <= self.limit

    @property
    def used(self) -> float:
        """Share of the allowance that is used up, 1 at the limit; HOPELESS for a figure that is no number."""
        if self.figure is None:
            return 0.0
        loss, allowed = (1 - self.figure, 1 - self.limit) if self.at_least else (self.figure, self.limit)
        used = loss / max(allowed, SMALLEST_ALLOWANCE)
        return min(used, HOPELESS) if used == used else HOPELESS

    @property
    def text(self) -> str:
        """One line: figure and limit."""
        where = f" ({self.where})" if self.where else ""
        return f"{self.what}{where} is {self.shown}, expected {self.bound}"

    @property
    def bound(self) -> str:
        """The limit for people."""
        limit = percent(self.limit) if self.is_share else f"{self.limit:.0e}"
        return f"at {'least' if self.at_least else 'most'} {limit}"

    @property
    def shown(self) -> str:
        """The figure for people; a percentage is never rounded onto its limit from the wrong side."""
        if self.figure is None:
            return "-"
        return percent(self.figure, up=not self.at_least) if self.is_share else f"{self.figure:.1e}"


def allowance_used(checks: Iterable[Check], passed: bool) -> float:
    """The largest share of an allowance that is used up; HOPELESS for what fails by something that has no figure."""
    most = max((check.used for check in checks), default=0.0)
    return most if passed or most > 1 else HOPELESS


def percent(share: float, *, up: bool = False) -> str:
    """At most four decimals of a per cent, cut off (or, with `up`, raised) rather than rounded to the nearest."""
    if not math.isfinite(share):
        return str(share)
    units = round(share * 1e6, 3)  # 0.29 * 1e6 is a hair off 290000
    return f"{(math.ceil(units) if up else math.floor(units)) / 1e4:.6g} %"
