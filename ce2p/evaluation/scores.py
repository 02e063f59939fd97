"""Scores of label maps over a whole data set, from one confusion matrix, as numbers, JSON and Markdown.

With gt_c and pred_c the pixels of class c in truth and prediction, tp_c those in both, all counted over every picture
at its original size without the pixels whose truth is 255:

    IoU_c      tp_c / max(1, gt_c + pred_c - tp_c)          accuracy_c   tp_c / max(1, gt_c)
    mIoU       mean of IoU_c over all C classes             mean acc.    mean of accuracy_c over all C classes
    pixel acc. sum tp_c / sum gt_c                          freq. w.     sum gt_c IoU_c / sum gt_c

This is the protocol of CE2P's and SCHP's utils/miou.py, background included. M-CE2P (metrics/metrics.py) and
sssegmentation (chainercv) leave classes out of the mean that occur nowhere, which is the same number as soon as every
class occurs in truth or prediction, as on every full validation split.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ce2p_runtime.judge.agreement import class_ious, pair_table

from ..datasets import NOISE, Published
from ..labels import IGNORE, LabelSet


@dataclass(frozen=True)
class PictureScore:
    """One picture by itself, to find those that went wrong."""

    name: str
    mean_iou: float
    """Over the classes in the picture's truth; NaN where all of it is 255."""
    pixel_accuracy: float


@dataclass(frozen=True, eq=False)
class Scores:
    """What a network reached on a data set. All scores are shares, 0 to 1."""

    labels: LabelSet
    counts: NDArray[np.int64]
    """The confusion matrix [C, C]: rows are true classes, columns predicted ones."""
    pictures: tuple[PictureScore, ...]
    model: str = ""
    """What was scored and how, in words."""

    @property
    def pixels(self) -> int:
        """Counted pixels."""
        return int(self.counts.sum())

    @property
    def iou(self) -> NDArray[np.float64]:
        """IoU of each class [C]; NaN for a class that occurs in neither truth nor prediction."""
        return self._matrix.iou()

    @property
    def accuracy(self) -> NDArray[np.float64]:
        """Share of each class's true pixels found [C]; NaN for a class that the truth lacks."""
        return self._matrix.accuracy()

    @property
    def pixel_accuracy(self) -> float:
        """Share of all counted pixels labelled right."""
        return self._matrix.pixel_accuracy()

    @property
    def mean_accuracy(self) -> float:
        """Mean accuracy over all C classes; one that the truth lacks counts as 0, as published."""
        return float(np.nan_to_num(self.accuracy).mean())

    @property
    def mean_iou(self) -> float:
        """The published mIoU: mean IoU over all C classes; one that occurs nowhere counts as 0.

        So on a part of a data set, or on pictures that lack a class, it is lower than `mean_iou_present`.
        """
        return float(np.nan_to_num(self.iou).mean())

    @property
    def mean_iou_present(self) -> float:
        """Mean IoU over the classes in the truth; one that occurs nowhere, or in predictions only, is left out.

        Pixels given to a class that the truth lacks still count against the classes that they really are.
        """
        return self._matrix.mean_iou_present()

    @property
    def frequency_weighted_iou(self) -> float:
        """IoU weighted by the classes' true pixels; a class that the truth lacks has no weight."""
        true = self.counts.sum(1)
        present = true > 0
        return float((true[present] * self.iou[present]).sum() / true.sum()) if present.any() else math.nan

    @property
    def _matrix(self) -> ConfusionMatrix:
        matrix = ConfusionMatrix(len(self.counts))
        matrix.counts += self.counts
        return matrix

    def worst(self, number: int) -> list[PictureScore]:
        """The pictures with the lowest mean IoU, the worst first; pictures without a counted pixel are left out."""
        scored = [picture for picture in self.pictures if not math.isnan(picture.mean_iou)]
        return sorted(scored, key=lambda picture: (picture.mean_iou, picture.pixel_accuracy))[:number]

    def means(self) -> dict[str, float]:
        """The scores over all classes, by their names in JSON."""
        return {
            "mean_iou": self.mean_iou,
            "mean_iou_present": self.mean_iou_present,
            "frequency_weighted_iou": self.frequency_weighted_iou,
            "pixel_accuracy": self.pixel_accuracy,
            "mean_accuracy": self.mean_accuracy,
        }

    def to_json(self, published: Sequence[Published] = ()) -> dict[str, Any]:
        """Plain types, NaN as null; `published` are the figures of the network's row, the one to compare with first."""
        iou, accuracy, true = self.iou, self.accuracy, self.counts.sum(1)
        return {
            "model": self.model,
            "dataset": self.labels.dataset,
            "pictures": len(self.pictures),
            "pixels": self.pixels,
            **{name: _number(value) for name, value in self.means().items()},
            "classes": [
                {
                    "name": name,
                    "iou": _number(iou[index]),
                    "accuracy": _number(accuracy[index]),
                    "true_pixels": int(true[index]),
                }
                for index, name in enumerate(self.labels.names)
            ],
            "published": [figure.to_dict() for figure in published],
            "difference": _number(self.difference(published)),
            "worst": [
                {"name": p.name, "mean_iou": _number(p.mean_iou), "pixel_accuracy": _number(p.pixel_accuracy)}
                for p in self.worst(20)
            ],
        }

    def difference(self, published: Sequence[Published]) -> float:
        """Our mIoU less the first published one, in points (hundredths); NaN where none is published."""
        figures = [figure for figure in published if figure.metric == "mIoU"]
        return 100 * self.mean_iou - figures[0].value if figures else math.nan

    def to_markdown(self, published: Sequence[Published] = ()) -> str:
        """A report: means beside what was published, then every class."""
        lines = [f"# {self.labels.title}, {len(self.pictures)} pictures", ""]
        lines += [self.model, ""] if self.model else []
        lines += ["| | ours | published | difference |", "|---|---|---|---|"]
        lines += [f"| {' | '.join(row)} |" for row in self.mean_rows(published)]
        lines += ["", *comparison_notes(published), ""]
        lines += ["| class | IoU | published | accuracy | true pixels |", "|---|---|---|---|---|"]
        lines += [f"| {' | '.join(row)} |" for row in self.class_rows(published)]
        return "\n".join(lines) + "\n"

    def mean_rows(self, published: Sequence[Published] = ()) -> list[tuple[str, str, str, str]]:
        """Rows (score, ours, published, difference) for tables, in percent."""
        named = {
            "mIoU": self.mean_iou,
            "mIoU, classes present": self.mean_iou_present,
            "frequency weighted IoU": self.frequency_weighted_iou,
            "pixel accuracy": self.pixel_accuracy,
            "mean accuracy": self.mean_accuracy,
        }
        return [comparison_row(name, value, published) for name, value in named.items()]

    def class_rows(self, published: Sequence[Published] = ()) -> list[tuple[str, str, str, str, str]]:
        """Rows (class, IoU, published IoU, accuracy, true pixels) for tables, in percent; a dash where unknown."""
        figures = next((f.per_class for f in published if f.metric == "mIoU"), ())
        theirs = [f"{figure:.2f}" for figure in figures] or ["-"] * len(self.counts)
        rows = zip(self.labels.names, self.iou, theirs, self.accuracy, self.counts.sum(1), strict=True)
        return [
            (name, _percent(iou), their, _percent(accuracy), f"{pixels:,}")
            for name, iou, their, accuracy, pixels in rows
        ]


def comparison_row(name: str, value: float, published: Sequence[Published]) -> tuple[str, str, str, str]:
    """One row (score, ours, published, difference), in percent; `value` is a share."""
    figure = next((figure for figure in published if figure.metric == name), None)
    if figure is None:
        return name, _percent(value), "none", ""
    difference = "" if math.isnan(value) else f"{100 * value - figure.value:+.2f}"
    return name, _percent(value), f"{figure.value:.2f}", difference


def comparison_notes(published: Sequence[Published]) -> list[str]:
    """Where the published figures come from, and how far apart two trainings are anyway."""
    if not published:
        return ["No figure is published for this row."]
    lines = []
    for figure in published:
        how = f" ({figure.note})" if figure.note else ""
        lines.append(f"Published: {figure.metric} {figure.value:.2f}, {figure.source}{how}.")
    return [*lines, NOISE]


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _percent(share: float) -> str:
    return "-" if math.isnan(share) else f"{100 * share:.2f}"


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
