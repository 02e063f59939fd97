"""Which class was taken for which, counted over pixels: all that the scores of label maps are made of."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ce2p_runtime.judge.agreement import class_ious, pair_table

from ..labels import IGNORE

__all__ = ["ConfusionMatrix"]


class ConfusionMatrix:
    """Counts of (true class, predicted class) pairs; pixels whose truth is 255 are left out."""

    def __init__(self, num_classes: int) -> None:
        self.counts: NDArray[np.int64] = np.zeros((num_classes, num_classes), np.int64)
        """[C, C]: rows are true classes, columns predicted ones."""

    def add(self, truth: NDArray[np.uint8], predicted: NDArray[np.uint8]) -> None:
        """Count two label maps of the same shape. Raises ValueError for shapes or labels that do not fit."""
        classes = len(self.counts)
        if truth.shape != predicted.shape:
            raise ValueError(f"truth is {truth.shape}, prediction {predicted.shape}; expected the same size")
        table = pair_table(truth, predicted)
        table[IGNORE] = 0
        if table[classes:].any() or table[:, classes:].any():
            largest = max(int(np.flatnonzero(table.sum(axis)).max()) for axis in (0, 1))
            raise ValueError(f"a label is {largest}, expected at most {classes - 1}")
        self.counts += table[:classes, :classes]

    def iou(self) -> NDArray[np.float64]:
        """Per class: intersection / union [C]; NaN for classes that occur in neither truth nor prediction."""
        return np.array([np.nan if iou is None else iou for iou in class_ious(self.counts)])

    def accuracy(self) -> NDArray[np.float64]:
        """Per class: share of its true pixels labelled right [C]; NaN for classes that the truth lacks."""
        with np.errstate(invalid="ignore"):
            return np.asarray(np.diag(self.counts) / self.counts.sum(1))

    def mean_iou_present(self) -> float:
        """Mean IoU over the classes that occur in the truth; NaN without a counted pixel."""
        present = self.counts.sum(1) > 0
        return float(self.iou()[present].mean()) if present.any() else float("nan")

    def pixel_accuracy(self) -> float:
        """Share of pixels labelled right; NaN without a counted pixel."""
        total = int(self.counts.sum())
        return float(np.trace(self.counts) / total) if total else float("nan")
