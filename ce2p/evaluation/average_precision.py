"""Average precision of scored predictions, the area under precision over recall (PASCAL VOC 2010 and later).

Precision at a recall is the highest reached there or beyond, and every step of recall counts ("all points"), as
`voc_ap` in M-CE2P's metrics/MHPv2/voc_eval.py computes it with `use_07_metric=False`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["average_precision", "by_score"]


def by_score(scores: Sequence[float] | NDArray[np.float64]) -> NDArray[np.intp]:
    """The order of predictions by score, the highest first; equal scores keep their order.

    The public code leaves the order of equal scores to an unstable sort.
    """
    return np.argsort(-np.asarray(scores, np.float64), kind="stable")


def average_precision(hits: NDArray[np.bool_], positives: int) -> float:
    """AP of predictions sorted by score: `hits` [N] says which are right, `positives` how many there were to find.

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
