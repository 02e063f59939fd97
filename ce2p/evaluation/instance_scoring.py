"""Scores of several people and their parts: AP^r, AP^p and PCP, from results on disk.

AP^r (parts)   For each class the predicted parts of all pictures, by score. One is right if its IoU with a true part of
               its class is above t. Average precision, mean over the classes; the headline number is the mean over
               t = 0.1, 0.2 ... 0.9 ("AP^r_vol").
AP^p (people)  Predicted people of all pictures, by score. A person's label map is the class map inside the person's
               pixels, background elsewhere; two are compared by the mean IoU over the classes that occur in either,
               background of the whole picture included. A prediction is right if the best true person is above t and
               not taken by a prediction with a higher score. AP^p_0.5, and the mean over t ("AP^p_vol").
PCP            For each true person that AP^p matched: the share of its part classes with IoU above t; 0 for people not
               matched. Mean over all true people.

Sources: RanTaimu/M-CE2P metrics/metrics.py (AP^r), metrics/MHPv2/eval_mhp.py and eval_submission.py (AP^p, PCP; after
ZhaoJ9014/Multi-Human-Parsing_MHP). What is published was computed with that code, so its peculiarities are kept unless
`strict` is asked for; on random scenes both gave the same numbers to 1e-15, ties between scores apart. They are:

- AP^r there lets every true part be found any number of times: duplicates all count as right, recall can pass 1, and
  with it AP. `strict` gives each true part to one prediction at most, as in COCO: by score, each takes the free true
  part that it overlaps most, if above t.
- A class without true parts has an AP of 0 there if nothing is predicted for it either, and none if something is;
  `strict` leaves it out either way. On full validation splits every class has parts.
- The labels that code prints beside AP^r per threshold are in reverse order; ours are right. The mean is the same.
- A predicted person without pixels is not counted (`strict` or not), nor is a true person without parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ce2p_runtime.base.progress import Progress, without_progress

from ..data.splits import Sample
from ..errors import DataError
from ..labels import LabelSet
from .instance_scores import THRESHOLDS, InstanceScores, average_precision, by_score
from .people_files import PeopleFound, PeopleTruth, ResultFolder, read_truth
from .scores import ConfusionMatrix, PictureScore, Scores


def score_instances(
    samples: Sequence[Sample],
    results: Path,
    labels: LabelSet,
    *,
    strict: bool = False,
    progress: Progress = without_progress,
) -> InstanceScores:
    """Score the results of every sample against its annotation; each file is read once.

    `progress` is called with how many pictures are done and how many there are. Raises DataError: annotations or
    results that are missing, damaged, or do not fit each other, and a split without people.
    """
    folder = ResultFolder(results, labels)
    folder.require(samples)
    parts, people = _Parts(labels.num_classes, strict), _People(labels.num_classes)
    matrix, pictures = ConfusionMatrix(labels.num_classes), []
    for done, sample in enumerate(samples, 1):
        truth = read_truth(sample, labels)
        found = folder.read(sample, (truth.labels.shape[0], truth.labels.shape[1]))
        parts.add(truth, found)
        people.add(truth, found)
        own = ConfusionMatrix(labels.num_classes)
        own.add(truth.labels, found.labels)
        matrix.counts += own.counts
        pictures.append(PictureScore(sample.name, own.mean_iou_present(), own.pixel_accuracy()))
        progress("scoring", done, len(samples))
    if not people.positives:
        raise DataError(f"{results}: no person in the ground truth of {len(samples)} pictures, expected at least one")
    ap_p, pcp = people.scores()
    parsing = Scores(labels, matrix.counts, tuple(pictures), f"class maps in {results / 'global_parsing'}")
    return InstanceScores(
        labels=labels,
        class_ap_r=parts.scores(),
        parts=parts.positives[1:],
        ap_p=ap_p,
        pcp=pcp,
        people=people.positives,
        parsing=parsing,
        strict=strict,
        model=f"results in {results}",
    )


def part_overlaps(
    predicted: NDArray[np.int32], predicted_ids: Sequence[int], true: NDArray[np.int32], true_ids: Sequence[int]
) -> NDArray[np.float64]:
    """IoU [P, G] of the parts with these ids in two maps of ids [H, W]."""
    p, g = _index(predicted, predicted_ids), _index(true, true_ids)
    rows, columns = len(predicted_ids) + 1, len(true_ids) + 1
    table = np.bincount((p * columns + g).ravel(), minlength=rows * columns).reshape(rows, columns)
    both = table[1:, 1:]
    union = table.sum(1)[1:, np.newaxis] + table.sum(0)[np.newaxis, 1:] - both
    return np.asarray(both / np.maximum(union, 1))


def person_overlaps(
    found: PeopleFound, predicted_ids: Sequence[int], truth: PeopleTruth, true_ids: Sequence[int], classes: int
) -> NDArray[np.float64]:
    """IoU [P, G, C] of each class between the label maps of people; NaN for a class that occurs in neither.

    A person's label map covers the whole picture: the person's classes, background elsewhere. Pixels whose truth is
    255 are left out where they belong to the true person.
    """
    p, g = _index(found.humans, predicted_ids), _index(truth.humans, true_ids)
    seg, cat = found.labels.astype(np.int64), truth.labels.astype(np.int64)
    P, G = len(predicted_ids), len(true_ids)
    pairs = p * (G + 1) + g

    def count(codes: NDArray[np.int64], where: NDArray[np.bool_], *shape: int) -> NDArray[np.int64]:
        return np.bincount(codes[where], minlength=int(np.prod(shape))).reshape(shape)

    counted = cat < classes
    everywhere = np.ones_like(counted)
    agree = count(pairs * classes + seg, seg == cat, P + 1, G + 1, classes)[1:, 1:].astype(np.float64)
    both = count(pairs, (seg > 0) & counted & (cat > 0), P + 1, G + 1)[1:, 1:]
    left_out = count(pairs * classes + seg, ~counted, P + 1, G + 1, classes)[1:, 1:]
    predicted = count(p * classes + seg, everywhere, P + 1, classes)[1:, np.newaxis] - left_out
    true = count(g * classes + cat, counted, G + 1, classes)[np.newaxis, 1:]
    pixels = seg.size - count(g, ~counted, G + 1)[1:]
    # Background is what is left: of the picture without p's parts, without g's, without either's.
    either = predicted[..., 1:].sum(-1) + true[..., 1:].sum(-1) - both
    union = predicted + true - agree
    agree[..., 0], union[..., 0] = pixels - either, pixels - both
    with np.errstate(invalid="ignore"):
        return np.asarray(agree / union)


def _index(ids: NDArray[np.int32], wanted: Sequence[int]) -> NDArray[np.int64]:
    """Position from 1 of each pixel's id in `wanted`, 0 for other ids [H, W]."""
    table = np.zeros(max(int(ids.max(initial=0)), *wanted, 0) + 1, np.int64)
    table[list(wanted)] = np.arange(1, len(wanted) + 1)
    return table[ids]


def _part_hits(overlaps: NDArray[np.float64], scores: Sequence[float], strict: bool) -> NDArray[np.bool_]:
    """Which predictions of one picture and class are right, [P, T], from their overlaps [P, G] with true parts."""
    limits = np.asarray(THRESHOLDS)
    if not overlaps.shape[1]:
        return np.zeros((len(overlaps), len(limits)), np.bool_)
    if not strict:
        return np.asarray(overlaps.max(1)[:, np.newaxis] > limits)
    hits = np.zeros((len(overlaps), len(limits)), np.bool_)
    for column, limit in enumerate(limits):
        free = overlaps.copy()
        for prediction in by_score(scores):
            best = int(free[prediction].argmax())
            if free[prediction, best] > limit:
                hits[prediction, column] = True
                free[:, best] = 0
    return hits


class _Parts:
    """Predicted parts of all pictures, class by class."""

    def __init__(self, classes: int, strict: bool) -> None:
        self.strict = strict
        self.positives = np.zeros(classes, np.int64)
        self._scores: list[list[float]] = [[] for _ in range(classes)]
        self._hits: list[list[NDArray[np.bool_]]] = [[] for _ in range(classes)]

    def add(self, truth: PeopleTruth, found: PeopleFound) -> None:
        true_ids = list(truth.part_classes)
        overlaps = part_overlaps(found.parts, range(1, len(found.part_scores) + 1), truth.parts, true_ids)
        true_classes = np.array([truth.part_classes[part] for part in true_ids], np.int64)
        own_classes = np.array([class_id for class_id, _ in found.part_scores], np.int64)
        for class_id in range(1, len(self.positives)):
            mine, theirs = own_classes == class_id, true_classes == class_id
            self.positives[class_id] += theirs.sum()
            if mine.any():
                scores = [score for c, score in found.part_scores if c == class_id]
                self._scores[class_id] += scores
                self._hits[class_id].append(_part_hits(overlaps[mine][:, theirs], scores, self.strict))

    def scores(self) -> NDArray[np.float64]:
        """AP [C - 1, T]; NaN where there is none."""
        return np.array([self._class_scores(class_id) for class_id in range(1, len(self.positives))])

    def _class_scores(self, class_id: int) -> list[float]:
        positives = int(self.positives[class_id])
        if not self._scores[class_id]:
            nothing = float("nan") if self.strict and not positives else 0.0
            return [nothing] * len(THRESHOLDS)
        hits = np.concatenate(self._hits[class_id])[by_score(self._scores[class_id])]
        return [average_precision(column, positives) for column in hits.T]


@dataclass(frozen=True, eq=False)
class _PersonFound:
    """One predicted person and the true one it is most like."""

    score: float
    best: int
    """Number of the true person among all; -1 in a picture without people."""
    mean_iou: float
    part_iou: NDArray[np.float64]
    """[C - 1], the background left out."""


@dataclass
class _People:
    """Predicted people of all pictures."""

    classes: int
    positives: int = 0
    _part_counts: list[int] = field(default_factory=list)
    """Part classes of each true person."""
    _found: list[_PersonFound] = field(default_factory=list)

    def add(self, truth: PeopleTruth, found: PeopleFound) -> None:
        own = truth.labels.astype(np.int64)
        annotated = (own > 0) & (own < self.classes) & (truth.humans > 0)
        # One number per pair of person and class.
        pairs = np.unique(truth.humans[annotated].astype(np.int64) * 256 + own[annotated]) // 256
        true_ids, part_counts = np.unique(pairs, return_counts=True)
        shown = set(np.unique(found.humans).tolist())
        predicted = [(person, score) for person, score in found.human_scores if person in shown]
        ids = [person for person, _ in predicted]
        overlaps = person_overlaps(found, ids, truth, true_ids.tolist(), self.classes)
        for (_, score), against in zip(predicted, overlaps, strict=True):
            if not len(true_ids):
                self._found.append(_PersonFound(score, -1, 0.0, np.zeros(self.classes - 1)))
                continue
            means = np.nanmean(against, axis=1)
            best = int(means.argmax())
            self._found.append(_PersonFound(score, self.positives + best, float(means[best]), against[best, 1:]))
        self._part_counts += part_counts.tolist()
        self.positives += len(true_ids)

    def scores(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """AP^p and PCP, [T] each."""
        ordered = [self._found[index] for index in by_score([person.score for person in self._found])]
        both = np.array([self._at(ordered, limit) for limit in THRESHOLDS])
        return both[:, 0], both[:, 1]

    def _at(self, ordered: Sequence[_PersonFound], limit: float) -> tuple[float, float]:
        hits = np.zeros(len(ordered), np.bool_)
        shares: dict[int, float] = {}
        for index, person in enumerate(ordered):
            if person.best >= 0 and person.mean_iou > limit and person.best not in shares:
                hits[index] = True
                shares[person.best] = float((person.part_iou > limit).sum()) / self._part_counts[person.best]
        return average_precision(hits, self.positives), sum(shares.values()) / self.positives
