"""AP^r, AP^p and PCP once more, written plainly from their definitions with one boolean mask per thing."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Labels = NDArray[np.integer]


@dataclass
class Picture:
    """Truth and results of one picture, as maps [H, W] and scores."""

    labels: Labels
    humans: Labels
    parts: Labels
    found_labels: Labels
    found_humans: Labels
    human_scores: list[float]
    found_parts: Labels
    part_scores: list[tuple[int, float]] = field(default_factory=list)


def iou(a: Mask, b: Mask) -> float:
    union = int(np.logical_or(a, b).sum())
    return int(np.logical_and(a, b).sum()) / union if union else 0.0


def area_under(ranked: list[bool], positives: int) -> float:
    """For each level of recall that is reached, the best precision at that recall or a higher one."""
    points = []
    for count in range(1, len(ranked) + 1):
        right = sum(ranked[:count])
        points.append((Fraction(right, positives), Fraction(right, count)))
    total, before = Fraction(0), Fraction(0)
    for recall in sorted({recall for recall, _ in points}):
        total += (recall - before) * max(p for r, p in points if r >= recall)
        before = recall
    return float(total)


def part_ap(pictures: list[Picture], class_id: int, limit: float, *, strict: bool) -> float:
    """One class at one threshold. `strict`: predictions in order of score take true parts away, as pycocotools does."""
    predictions, positives = [], 0
    for index, picture in enumerate(pictures):
        ids = [part for part in np.unique(picture.parts) if part]
        ids = [part for part in ids if picture.labels[picture.parts == part][0] == class_id]
        positives += len(ids)
        for number, (found_class, score) in enumerate(picture.part_scores, start=1):
            if found_class == class_id:
                predictions.append((score, index, picture.found_parts == number))
    predictions.sort(key=lambda prediction: -prediction[0])
    taken: set[tuple[int, int]] = set()
    ranked = []
    for _, index, mask in predictions:
        picture = pictures[index]
        best, best_iou = None, limit
        for part in np.unique(picture.parts):
            true = picture.parts == part
            if not part or picture.labels[true][0] != class_id or (strict and (index, int(part)) in taken):
                continue
            if iou(mask, true) > best_iou:
                best, best_iou = int(part), iou(mask, true)
        if best is not None:
            taken.add((index, best))
        ranked.append(best is not None)
    return area_under(ranked, positives) if positives else float("nan")


def person_map(labels: Labels, person: Mask) -> Labels:
    return np.where(person, labels, 0)


def compared(found: Labels, true: Labels, classes: int) -> list[float]:
    """IoU of each class between two label maps; NaN where neither has it."""
    counted = true < classes
    values = []
    for class_id in range(classes):
        a, b = (found == class_id) & counted, (true == class_id) & counted
        values.append(iou(a, b) if a.any() or b.any() else float("nan"))
    return values


def people_scores(pictures: list[Picture], classes: int, limit: float) -> tuple[float, float]:
    """AP^p and PCP at one threshold."""
    truths: list[list[Labels]] = []
    predictions = []
    for index, picture in enumerate(pictures):
        maps = [person_map(picture.labels, picture.humans == person) for person in np.unique(picture.humans) if person]
        truths.append([labels for labels in maps if ((labels > 0) & (labels < classes)).any()])
        for person, score in enumerate(picture.human_scores, start=1):
            mask = picture.found_humans == person
            if mask.any():
                predictions.append((score, index, person_map(picture.found_labels, mask)))
    predictions.sort(key=lambda prediction: -prediction[0])
    positives = sum(map(len, truths))
    taken: set[tuple[int, int]] = set()
    ranked, shares = [], []
    for _, index, labels in predictions:
        per_class = [compared(labels, true, classes) for true in truths[index]]
        means = [float(np.nanmean(values)) for values in per_class]
        best = max(range(len(means)), key=means.__getitem__, default=-1)
        right = best >= 0 and means[best] > limit and (index, best) not in taken
        if right:
            taken.add((index, best))
            true = truths[index][best]
            wanted = [c for c in range(1, classes) if (true == c).any()]
            shares.append(sum(per_class[best][c] > limit for c in range(1, classes)) / len(wanted))
        ranked.append(right)
    return area_under(ranked, positives), sum(shares) / positives
