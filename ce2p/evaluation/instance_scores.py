"""Scores of people and parts as numbers, JSON and Markdown. What each means and where it comes from: `instances`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..datasets import Published
from ..labels import LabelSet
from .scores import Scores, comparison_notes, comparison_row

THRESHOLDS = tuple(step / 10 for step in range(1, 10))
"""IoU thresholds t: 0.1 to 0.9."""
_HALF = THRESHOLDS.index(0.5)


@dataclass(frozen=True, eq=False)
class InstanceScores:
    """What instance results reached on a data set. All scores are shares; T = 9 thresholds.

    Without `strict`, AP^r is the published one, which counts duplicates as right and can pass 1.
    """

    labels: LabelSet
    class_ap_r: NDArray[np.float64]
    """AP^r [C - 1, T] of each class but the background; NaN where there is none."""
    parts: NDArray[np.int64]
    """True parts of each class but the background [C - 1]."""
    ap_p: NDArray[np.float64]
    """AP^p [T]."""
    pcp: NDArray[np.float64]
    """PCP [T]."""
    people: int
    """True people."""
    parsing: Scores
    """The class maps by themselves, pixel by pixel."""
    strict: bool
    model: str = ""
    """What was scored, in words."""

    @property
    def ap_r(self) -> NDArray[np.float64]:
        """AP^r [T]: mean over the classes that have one."""
        return np.array([_mean(column) for column in self.class_ap_r.T])

    @property
    def mean_ap_r(self) -> float:
        """The headline AP^r: mean over classes and thresholds."""
        return _mean(self.ap_r)

    @property
    def ap_p_50(self) -> float:
        """AP^p at threshold 0.5."""
        return float(self.ap_p[_HALF])

    @property
    def mean_ap_p(self) -> float:
        """AP^p_vol: mean over the thresholds."""
        return _mean(self.ap_p)

    @property
    def pcp_50(self) -> float:
        """PCP at threshold 0.5."""
        return float(self.pcp[_HALF])

    def to_json(self, published: Sequence[Published] = ()) -> dict[str, Any]:
        """Plain types, NaN as null."""
        return {
            "model": self.model,
            "dataset": self.labels.dataset,
            "pictures": len(self.parsing.pictures),
            "people": self.people,
            "parts": int(self.parts.sum()),
            "strict": self.strict,
            "thresholds": list(THRESHOLDS),
            "mean_ap_r": _number(self.mean_ap_r),
            "ap_r": _numbers(self.ap_r),
            "mean_ap_p": _number(self.mean_ap_p),
            "ap_p": _numbers(self.ap_p),
            "pcp": _numbers(self.pcp),
            "classes": [
                {"name": name, "parts": int(parts), "ap_r": _numbers(row)}
                for name, parts, row in zip(self.labels.names[1:], self.parts, self.class_ap_r, strict=True)
            ],
            "parsing": self.parsing.to_json(published),
            "published": [figure.to_dict() for figure in published],
        }

    def mean_rows(self, published: Sequence[Published] = ()) -> list[tuple[str, str, str, str]]:
        """Rows (score, ours, published, difference) for tables, in percent."""
        named = {
            "AP^r": self.mean_ap_r,
            "AP^r 0.5": float(self.ap_r[_HALF]),
            "AP^p 0.5": self.ap_p_50,
            "AP^p vol": self.mean_ap_p,
            "PCP 0.5": self.pcp_50,
        }
        # What is published was not computed strictly, except for AP^p and PCP, where there is no difference.
        comparable = [f for f in published if not (self.strict and f.metric.startswith("AP^r"))]
        rows = [comparison_row(name, value, comparable) for name, value in named.items()]
        return rows + self.parsing.mean_rows(published)

    def threshold_rows(self) -> list[tuple[str, str, str, str]]:
        """Rows (threshold, AP^r, AP^p, PCP) for tables, in percent."""
        columns = zip(THRESHOLDS, self.ap_r, self.ap_p, self.pcp, strict=True)
        return [(f"{limit:.1f}", _percent(r), _percent(p), _percent(pcp)) for limit, r, p, pcp in columns]

    def class_rows(self) -> list[tuple[str, str, str, str]]:
        """Rows (class, AP^r, AP^r 0.5, true parts) for tables, in percent."""
        rows = zip(self.labels.names[1:], self.class_ap_r, self.parts, strict=True)
        return [(name, _percent(_mean(ap)), _percent(float(ap[_HALF])), f"{parts:,}") for name, ap, parts in rows]

    @property
    def matching(self) -> str:
        """How AP^r matched, in words."""
        if self.strict:
            return "AP^r is strict: each true part is found once at most, which the published figures do not ask for."
        return "AP^r is the published one: a true part may be found more than once."

    def to_markdown(self, published: Sequence[Published] = ()) -> str:
        """A report: means beside what was published, thresholds, classes."""
        lines = [f"# {self.labels.title}, {len(self.parsing.pictures)} pictures, {self.people} people", ""]
        lines += [self.model, ""] if self.model else []
        lines += _grid(("", "ours", "published", "difference"), self.mean_rows(published))
        lines += [*comparison_notes(published), self.matching, ""]
        lines += _grid(("threshold", "AP^r", "AP^p", "PCP"), self.threshold_rows())
        lines += _grid(("class", "AP^r", "AP^r 0.5", "true parts"), self.class_rows())
        return "\n".join(lines)


def _grid(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table and an empty line."""
    lines = [f"| {' | '.join(heading)} |", "|" + "---|" * len(heading)]
    return [*lines, *(f"| {' | '.join(row)} |" for row in rows), ""]


def _mean(values: NDArray[np.float64]) -> float:
    """Mean without NaN; NaN if nothing is left."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else math.nan


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _numbers(values: NDArray[np.float64]) -> list[float | None]:
    return [_number(float(value)) for value in values]


def _percent(share: float) -> str:
    return "-" if math.isnan(share) else f"{100 * share:.2f}"


def by_score(scores: Sequence[float] | NDArray[np.float64]) -> NDArray[np.intp]:
    """The order of predictions by score, the highest first; equal scores keep their order.

    The public code leaves the order of equal scores to an unstable sort.
    """
    return np.argsort(-np.asarray(scores, np.float64), kind="stable")


def average_precision(hits: NDArray[np.bool_], positives: int) -> float:
    """AP of predictions sorted by score: `hits` [N] says which are right, `positives` how many there were to find.

    It is the area under precision over recall (PASCAL VOC 2010 and later). Precision at a recall is the highest reached
    there or beyond, and every step of recall counts ("all points"), as `voc_ap` in M-CE2P's metrics/MHPv2/voc_eval.py
    computes it with `use_07_metric=False`.

    0 where nothing was predicted, NaN where there was nothing to find. With one hit per positive the result lies
    between 0 and 1; hits beyond `positives` raise it past 1 (see `InstanceScores`).
    """
    if positives == 0:
        return float("nan")
    found = np.cumsum(hits)
    precision = found / np.arange(1, len(hits) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    steps = np.diff(found / positives, prepend=0.0)
    return float((steps * envelope).sum())
