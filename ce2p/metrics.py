"""Mean intersection over union, from one confusion matrix over all pixels (the single-person protocol of LIP)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["ConfusionMatrix"]


class ConfusionMatrix:
    """Counts of (true class, predicted class) pairs; pixels whose truth is 255 are left out."""

    def __init__(self, num_classes: int) -> None:
        self.counts: NDArray[np.int64] = np.zeros((num_classes, num_classes), np.int64)

    def add(self, truth: NDArray[np.uint8], predicted: NDArray[np.uint8]) -> None:
        """Count two label maps of the same shape. Raises ValueError for shapes or labels that do not fit."""
        classes = len(self.counts)
        if truth.shape != predicted.shape:
            raise ValueError(f"truth is {truth.shape}, prediction {predicted.shape}; expected the same size")
        valid = truth != 255
        t, p = truth[valid].astype(np.int64), predicted[valid].astype(np.int64)
        if t.size and max(int(t.max()), int(p.max())) >= classes:
            raise ValueError(f"a label is {max(int(t.max()), int(p.max()))}, expected at most {classes - 1}")
        self.counts += np.bincount(t * classes + p, minlength=classes * classes).reshape(classes, classes)

    def iou(self) -> NDArray[np.float64]:
        """Per class: intersection / union [C]; NaN for classes that occur in neither truth nor prediction."""
        intersection = np.diag(self.counts).astype(np.float64)
        union = self.counts.sum(0) + self.counts.sum(1) - intersection
        with np.errstate(invalid="ignore"):
            return np.asarray(intersection / union)

    def mean_iou_present(self) -> float:
        """Mean IoU over the classes that occur in the truth."""
        present = self.counts.sum(1) > 0
        return float(self.iou()[present].mean())

    def pixel_accuracy(self) -> float:
        """Share of pixels labelled right."""
        return float(np.trace(self.counts) / self.counts.sum())
