"""Ground truth and results of several people's parts, from files. Every file that does not fit is named.

Ground truth is CIHP's: `Category_ids`, `Human_ids`, `Instance_ids`, of which the table "part instance: class, person"
is made here (M-CE2P's metrics/helper.py writes it to text files beside the data set). Results are M-CE2P's:

    RESULTS/global_parsing/<name>.png     class of each pixel
    RESULTS/instance_parsing/<name>.png   part of each pixel, 0 = none
    RESULTS/instance_parsing/<name>.txt   line k: "class score" of part k
    RESULTS/global_tag/<name>.png         person of each pixel, 0 = nobody
    RESULTS/results.txt                   a line per picture: "name 1 score 2 score ..."
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..data.annotations import read_ids, read_labels
from ..data.instance_maps import values_under
from ..data.splits import Sample
from ..errors import DataError
from ..labels import IGNORE, LabelSet

Ids = NDArray[np.int32]
_MADE_BY = "write it with `ce2p people --save results`"


@dataclass(frozen=True, eq=False)
class PeopleTruth:
    """The annotation of one picture; maps are [H, W]."""

    labels: NDArray[np.uint8]
    humans: Ids
    parts: Ids
    part_classes: dict[int, int]
    """Class of each part instance."""


@dataclass(frozen=True, eq=False)
class PeopleFound:
    """The results of one picture; maps are [H, W]."""

    labels: NDArray[np.uint8]
    humans: Ids
    human_scores: tuple[tuple[int, float], ...]
    """(id, score) of each person."""
    parts: Ids
    part_scores: tuple[tuple[int, float], ...]
    """(class, score) of part k in entry k - 1; every part has pixels."""


def read_truth(sample: Sample, labels: LabelSet) -> PeopleTruth:
    """Read the three annotations of a picture. Raises DataError."""
    if sample.labels is None or sample.humans is None or sample.instances is None:
        missing = [
            folder
            for folder, path in (
                ("Category_ids", sample.labels),
                ("Human_ids", sample.humans),
                ("Instance_ids", sample.instances),
            )
            if path is None
        ]
        raise DataError(
            f"{sample.image}: the data set has no {', '.join(missing)}, expected all three of CIHP's annotations"
        )
    classes = read_labels(sample.labels)
    check_classes(classes, labels, sample.labels, ignore=True)
    humans, parts = read_ids(sample.humans), read_ids(sample.instances)
    for path, ids in ((sample.humans, humans), (sample.instances, parts)):
        _check_size(path, ids, sample.labels, classes)
    table = {}
    people_under = values_under(parts, humans)
    for part, found in values_under(parts, classes).items():
        if len(found) > 1 or len(people_under[part]) > 1:
            raise DataError(
                f"{sample.instances}: instance {part} spans classes {found} and people {people_under[part]}, "
                "expected one of each; correct the annotation"
            )
        table[part] = found[0]
    return PeopleTruth(classes, humans, parts, table)


class ResultFolder:
    """Results of many pictures below one folder."""

    def __init__(self, folder: Path, labels: LabelSet) -> None:
        """Reads results.txt. Raises DataError."""
        if not folder.is_dir():
            raise DataError(f"{folder}: no such folder, expected instance results; {_MADE_BY}")
        self.folder, self.labels = folder, labels
        self.scores = _read_people_scores(folder / "results.txt")

    def require(self, samples: Sequence[Sample]) -> None:
        """Raise DataError for the first picture without a line in results.txt, with how many there are."""
        missing = [sample.name for sample in samples if sample.name not in self.scores]
        if missing:
            raise DataError(
                f"{self.folder / 'results.txt'}: no line for {missing[0]}; {len(missing)} of {len(samples)} pictures "
                "have no results, expected all of the split; parse the rest, or score fewer with --limit"
            )

    def read(self, sample: Sample, size: tuple[int, int]) -> PeopleFound:
        """The results of a picture of `size` = (height, width). Raises DataError."""
        paths = {kind: self.folder / kind / f"{sample.name}.png" for kind in ("global_parsing", "global_tag")}
        parts_path = self.folder / "instance_parsing" / f"{sample.name}.png"
        labels = read_labels(paths["global_parsing"])
        humans, parts = read_ids(paths["global_tag"]), read_ids(parts_path)
        for path, ids in ((paths["global_parsing"], labels), (paths["global_tag"], humans), (parts_path, parts)):
            if ids.shape != size:
                raise DataError(f"{path}: is {_size(ids.shape)}, expected {_size(size)} as the annotation; parse again")
        check_classes(labels, self.labels, paths["global_parsing"], ignore=False)
        part_scores = _read_part_scores(parts_path.with_suffix(".txt"), self.labels)
        _check_parts(parts_path, parts, len(part_scores))
        human_scores = self.scores[sample.name]
        unknown = set(np.unique(humans).tolist()) - {0, *(person for person, _ in human_scores)}
        if unknown:
            raise DataError(
                f"{paths['global_tag']}: shows person {min(unknown)}, who has no score in results.txt; parse again"
            )
        return PeopleFound(labels, humans, human_scores, parts, part_scores)


def check_classes(classes: NDArray[np.uint8], labels: LabelSet, path: Path, *, ignore: bool) -> None:
    """Raise DataError for a pixel that is no class (and not 255, where that is allowed)."""
    counts = np.bincount(classes.ravel(), minlength=256)
    if ignore:
        counts[IGNORE] = 0
    wrong = np.flatnonzero(counts[labels.num_classes :]) + labels.num_classes
    if wrong.size:
        allowed = f"0 to {labels.num_classes - 1}" + (f" or {IGNORE}" if ignore else "")
        raise DataError(
            f"{path}: holds class {wrong[0]} in {counts[wrong[0]]} pixels, expected {allowed} ({labels.title}); "
            "correct it or choose another --dataset"
        )


def _check_parts(path: Path, parts: Ids, count: int) -> None:
    """Raise DataError unless the parts shown are exactly 1 to `count`."""
    shown = set(np.unique(parts).tolist()) - {0}
    if shown != set(range(1, count + 1)):
        odd = min(shown ^ set(range(1, count + 1)))
        what = "has no line" if odd in shown else "has a line but no pixel"
        raise DataError(f"{path}: part {odd} {what} in {path.stem}.txt, which has {count} lines; parse again")


def _check_size(path: Path, ids: Ids, labels_path: Path, classes: NDArray[np.uint8]) -> None:
    if ids.shape != classes.shape:
        raise DataError(f"{path}: is {_size(ids.shape)}, expected {_size(classes.shape)} as {labels_path}; replace it")


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]}"


def _read_part_scores(path: Path, labels: LabelSet) -> tuple[tuple[int, float], ...]:
    """(class, score) of each line."""
    scores = []
    for number, line in enumerate(_lines(path), start=1):
        try:
            class_id, score = line.split()
            entry = int(class_id), float(score)
            if not 1 <= entry[0] < labels.num_classes or not math.isfinite(entry[1]):
                raise ValueError
        except ValueError:
            raise DataError(
                f"{path}: line {number} is {line!r:.60}, expected class (1 to {labels.num_classes - 1}) and score"
            ) from None
        scores.append(entry)
    return tuple(scores)


def _read_people_scores(path: Path) -> dict[str, tuple[tuple[int, float], ...]]:
    """(id, score) of every person, by picture."""
    scores: dict[str, tuple[tuple[int, float], ...]] = {}
    for number, line in enumerate(_lines(path), start=1):
        name, *rest = line.split()
        try:
            people = tuple((int(person), float(score)) for person, score in zip(rest[::2], rest[1::2], strict=True))
            if len({person for person, _ in people}) < len(people) or name in scores:
                raise ValueError
            if not all(person > 0 and math.isfinite(score) for person, score in people):
                raise ValueError
        except ValueError:
            raise DataError(
                f"{path}: line {number} is {line!r:.60}, expected `name 1 score 2 score ...`, each name and id once"
            ) from None
        scores[name] = people
    return scores


def _lines(path: Path) -> list[str]:
    """Lines with something in them."""
    try:
        return [line for line in path.read_text("utf-8").splitlines() if line.strip()]
    except FileNotFoundError:
        raise DataError(f"{path}: no such file, expected instance results; {_MADE_BY}") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as text ({error}); {_MADE_BY}") from error
