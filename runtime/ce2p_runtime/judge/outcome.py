"""The gate on every backend that may serve a file, and what follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .report import GateReport


@dataclass(frozen=True)
class GateOutcome:
    """What the gate found for one file."""

    reports: Mapping[str, GateReport]
    """By backend."""
    refused: Mapping[str, str]
    """Backends that do not run the file, with the reason."""
    required: frozenset[str] = frozenset()
    """Backends that must pass."""
    rounded: GateReport | None = None
    """Of a file of half precision: with every rounding put in, which CPU backends leave out. It stands for a GPU, and
    must pass."""

    @property
    def passed_on(self) -> tuple[str, ...]:
        """Backends that passed."""
        return tuple(name for name, report in self.reports.items() if report.passed)

    @property
    def passed(self) -> bool:
        """Whether what must pass does, and somebody can serve the file."""
        if self.rounded is not None and not self.rounded.passed:
            return False
        served = bool(self.passed_on) or (self.rounded is not None and not self.reports)
        return served and self.required <= set(self.passed_on)

    @property
    def decisive(self) -> GateReport | None:
        """The report that a failure is explained with: of what must pass the worst, else of the backends the best."""
        needed = [report for name, report in self._named("").items() if name in {"", *self.required}]
        failing = [report for report in needed if not report.passed]
        if failing:
            return max(failing, key=lambda report: report.used)
        among = self.titled if self.passed else self.reports
        return min(among.values(), key=lambda report: report.used, default=self.rounded)

    @property
    def titled(self) -> dict[str, GateReport]:
        """Every report under what people are shown for it."""
        return self._named("every rounding put in")

    def to_dict(self) -> dict[str, Any]:
        """For the metadata: the verdicts and figures, without the single pictures."""
        kept = ("passed", "failures", "pixel_agreement", "boundary_agreement", "mean_iou", "truth_miou", "worst")
        figures = {name: report.to_dict() for name, report in self._named("rounded").items()}
        return {
            "passed_on": list(self.passed_on),
            "figures": {name: {key: figure[key] for key in kept} for name, figure in figures.items()},
            "refused": dict(self.refused),
        }

    def _named(self, rounded: str) -> dict[str, GateReport]:
        return {**({} if self.rounded is None else {rounded: self.rounded}), **self.reports}
