"""Data sets before training: `ce2p.check_data`, `ce2p.draw_data`, `ce2p.merge_sbd`. They need no torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ce2p.data.check import Problem, Report, check_split
from ce2p.data.sbd import TRAINAUG_PICTURES, Merged
from ce2p.data.sbd import merge_sbd as merge
from ce2p.data.splits import SPLITS, describe, has_split, not_recognised, open_split, recognise
from ce2p.errors import DataError
from ce2p.labels import LabelSet, labels_in
from ce2p_runtime.base.progress import Progress, without_progress

from .notes import note


@dataclass(frozen=True)
class CheckedData:
    """What the splits of a data set hold, and what is wrong with them."""

    root: Path
    labels: LabelSet
    splits: Mapping[str, Report | Problem]
    """By name; a problem in place of a report where a split cannot even be listed."""

    @property
    def problems(self) -> tuple[Problem, ...]:
        """All that must be mended before training."""
        return tuple(problem for problem in _all_problems(self.splits) if not problem.is_note)

    def require(self) -> None:
        """Raise DataError, in one line, where there are problems."""
        problems = self.problems
        if len(problems) == 1:
            raise DataError(str(problems[0]))
        if problems:
            kinds = Counter(problem.kind for problem in problems)
            counts = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
            raise DataError(
                f"{self.root}: {len(problems)} problems ({counts}), expected none; the first is {problems[0]}"
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain types, for JSON."""
        return {
            "root": str(self.root),
            "dataset": self.labels.dataset,
            "classes": list(self.labels.names),
            "problems": len(self.problems),
            "splits": {
                split: {"problems": [found.to_dict()]} if isinstance(found, Problem) else found.to_dict()
                for split, found in self.splits.items()
            },
        }


def check_data(
    root: str | Path, *, dataset: str | None = None, splits: Sequence[str] = (), progress: Progress = without_progress
) -> CheckedData:
    """Read every picture and annotation of a data set; find what training would stumble over.

        ce2p.check_data("LIP").require()

    `dataset`: whose layout and classes (None: recognised from the folders). `splits`: train, val, test (none named:
    those that have an id list, and val beside train, since training asks for both). Raises DataError where there is
    nothing to check; problems of files are returned.
    """
    root = Path(root)
    dataset = dataset or _recognised(root)
    found = [split for split in SPLITS if has_split(dataset, root, split)]
    needed = [split for split in SPLITS if split in found or (split == "val" and "train" in found)]
    chosen = list(splits or needed or SPLITS[:1])  # nothing found: opening "train" says what is missing
    if unknown := [split for split in chosen if split not in SPLITS]:
        raise DataError(f"no split {unknown[0]!r}; expected train, val or test")
    if not root.is_dir() or not (splits or found):
        open_split(dataset, root, chosen[0])
    labels = labels_in(dataset, root)
    names: dict[str, set[str]] = {}
    checked = CheckedData(root, labels, {name: _check(labels, root, name, names, progress) for name in chosen})
    _note_shared(names)
    if notes := [problem for problem in _all_problems(checked.splits) if problem.is_note]:
        note(f"note: {len(notes)} annotations are background only, such as {notes[0].file}")
    return checked


def draw_data(
    root: str | Path,
    *,
    dataset: str = "lip",
    train: int = 400,
    val: int = 50,
    size: tuple[int, int] = (256, 192),
    seed: int = 0,
    progress: Progress = without_progress,
) -> None:
    """Draw people with exact labels, in the layout and the classes of `dataset`, into the new folder `root`.

        ce2p.draw_data("people", dataset="cihp", train=100)

    `size`: (height, width) in pixels. The same seed draws the same people; those of the two splits are different
    ones. Raises DataError where `root` is there and not empty, or for a size or count that makes no sense.
    """
    from ce2p.synthetic import write_dataset

    try:
        write_dataset(Path(root), dataset, train=train, val=val, size=size, seed=seed, progress=progress)
    except (FileExistsError, ValueError) as error:  # its messages are for people already
        raise DataError(str(error)) from error


def merge_sbd(voc: str | Path, sbd: str | Path, *, progress: Progress = without_progress) -> Merged:
    """Make VOC's training set `trainaug` (10,582 pictures) in a VOC 2012 folder, with the annotations of SBD.

        ce2p.merge_sbd("VOCdevkit/VOC2012", "benchmark_RELEASE").id_list

    `sbd`: SBD, unpacked: cls/*.mat, train.txt, val.txt. Annotations that are there stay as they are. Raises DataError.
    """
    merged = merge(Path(voc), Path(sbd), progress)
    if merged.kept:
        note(f"note: {merged.kept} annotations were already there and are unchanged")
    if merged.pictures != TRAINAUG_PICTURES:
        note(f"note: the complete VOC 2012 and SBD give {TRAINAUG_PICTURES} pictures")
    return merged


def _recognised(root: Path) -> str:
    if not root.is_dir():
        what = "is a file" if root.exists() else "no such folder"
        raise DataError(f"{root}: {what}, expected the folder of a data set")
    dataset = recognise(root)
    if dataset is None:
        raise DataError(not_recognised(root))
    note(f"{root}: recognised as {dataset} by its folders; --dataset names another")
    return dataset


def _check(
    labels: LabelSet, root: Path, split: str, names: dict[str, set[str]], progress: Progress
) -> Report | Problem:
    """Check one split; the ids it lists go into `names`."""
    dataset = labels.dataset
    try:
        samples = open_split(dataset, root, split, check_files=False)
    except DataError as error:
        file, _, text = str(error).partition(": ")
        if split == "val" and not has_split(dataset, root, split):
            text += "; training scores on it, unless it runs with --val-every 0; --splits train checks that split alone"
        return Problem(Path(file), "split", text)
    names[split] = {sample.name for sample in samples}
    note(f"{split}: {describe(dataset, root, split)}")
    return check_split(labels, samples, lambda step, done, total: progress(f"{step} {split}", done, total))


def _all_problems(splits: Mapping[str, Report | Problem]) -> list[Problem]:
    reports = [(found,) if isinstance(found, Problem) else found.problems for found in splits.values()]
    return [problem for problems in reports for problem in problems]


def _note_shared(names: Mapping[str, set[str]]) -> None:
    """Ids in two splits: no fault of any file, but scores on pictures that were trained on say little."""
    splits = list(names)
    for index, first in enumerate(splits):
        for second in splits[index + 1 :]:
            if shared := sorted(names[first] & names[second]):
                note(f"note: {len(shared)} ids are in both {first} and {second}, such as {shared[0]}")
