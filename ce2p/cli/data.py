"""`ce2p data`: check a data set, draw a synthetic one, merge SBD into VOC. Runs without torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ce2p.data.check import Problem, Report, check_split
from ce2p.data.layouts import SPLITS, describe, has_split, not_recognised, open_split, recognise
from ce2p.errors import DataError
from ce2p.labels import LabelSet, labels_in

from .console import progress_bar, remark, say, table, write_json
from .preflight import check_json

__all__ = ["run_check", "run_sbd", "run_synthetic"]

_SHOWN = 20
"""Problems printed; all of them are in --json."""

Result = Report | Problem
"""Of one split: what it holds, or why it cannot even be listed."""


def run_check(
    root: Path, dataset: str | None, splits: Sequence[str] | None, json: str | None, *, overwrite: bool = False
) -> None:
    """Check the splits of a data set and print frequencies, sizes and problems.

    Without `dataset` it is recognised from the folders; without `splits` those that have an id list are checked, and
    val beside train, since training asks for both.
    Raises DataError when there is a problem, after everything has been printed, and MediaError, before, where `json`
    exists and `overwrite` does not allow that.
    """
    check_json(json, [], overwrite)
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
    results = {split: _check(dataset, labels, root, split, names) for split in chosen}
    found_all = [problem for result in results.values() for problem in _problems(result)]
    problems = [problem for problem in found_all if not problem.is_note]
    if json:
        write_json(_document(root, labels, results, len(problems)), json, "data")
    if json != "-":
        _frequency_table(labels, results)
        _split_table(results)
        _say_problems(problems)
    _remark_shared(names)
    _remark_notes([problem for problem in found_all if problem.is_note])
    if problems:
        raise DataError(_summary(root, problems))


def run_synthetic(root: Path, dataset: str, train: int, val: int, size: tuple[int, int], seed: int) -> None:
    """Draw a synthetic data set of people in the layout of `dataset` into the new folder `root`.

    `size` is (height, width). Raises DataError when `root` is there and not empty, or for a size or count that makes no
    sense.
    """
    from ce2p.synthetic import write_dataset

    with _bar("drawing", "pictures") as progress:
        try:
            write_dataset(root, dataset, train=train, val=val, size=size, seed=seed, progress=progress)
        except (FileExistsError, ValueError) as error:  # its messages are for people already
            raise DataError(str(error)) from error
    say(f"wrote {train} training and {val} validation pictures of {size[0]}x{size[1]} to {root}")
    say(f"next: ce2p data check {root} --dataset {dataset}")


def run_sbd(voc: Path, sbd: Path) -> None:
    """Merge SBD's annotations into a VOC 2012 folder. Raises DataError."""
    from ce2p.data.sbd import TRAINAUG_PICTURES, merge_sbd

    with _bar("merging", "annotations") as progress:
        merged = merge_sbd(voc, sbd, progress)
    say(
        f"{merged.id_list}: {merged.pictures} pictures, {merged.from_voc} with VOC's annotations and {merged.from_sbd} "
        f"with SBD's, in {merged.folder}"
    )
    if merged.kept:
        remark(f"note: {merged.kept} annotations were there and stay as they were")
    if merged.pictures != TRAINAUG_PICTURES:
        remark(f"note: the complete VOC 2012 and SBD give {TRAINAUG_PICTURES} pictures")


def _recognised(root: Path) -> str:
    if not root.is_dir():
        what = "is a file" if root.exists() else "no such folder"
        raise DataError(f"{root}: {what}, expected the folder of a data set")
    dataset = recognise(root)
    if dataset is None:
        raise DataError(not_recognised(root))
    remark(f"{root}: taken for {dataset} by its folders; --dataset says otherwise")
    return dataset


def _check(dataset: str, labels: LabelSet, root: Path, split: str, names: dict[str, set[str]]) -> Result:
    """Check one split; the ids it lists go into `names`."""
    try:
        samples = open_split(dataset, root, split, check_files=False)
    except DataError as error:
        file, _, text = str(error).partition(": ")
        if split == "val" and not has_split(dataset, root, split):
            text += "; training scores on it, unless it runs with --val-every 0; --splits train checks that split alone"
        return Problem(Path(file), "split", text)
    names[split] = {sample.name for sample in samples}
    remark(f"{split}: {describe(dataset, root, split)}")
    with _bar(f"checking {split}", "pictures") as progress:
        return check_split(labels, samples, progress)


@contextmanager
def _bar(title: str, unit: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar as a function of (done, total)."""
    with progress_bar(unit) as progress:
        task = progress.add_task(title, total=None, note="")
        yield lambda done, total: progress.update(task, completed=done, total=total)


def _problems(result: Result) -> Sequence[Problem]:
    return (result,) if isinstance(result, Problem) else result.problems


def _document(root: Path, labels: LabelSet, results: dict[str, Result], problems: int) -> dict[str, object]:
    splits = {
        split: {"problems": [result.to_dict()]} if isinstance(result, Problem) else result.to_dict()
        for split, result in results.items()
    }
    return {
        "root": str(root),
        "dataset": labels.dataset,
        "classes": list(labels.names),
        "problems": problems,
        "splits": splits,
    }


def _frequency_table(labels: LabelSet, results: dict[str, Result]) -> None:
    """Share of the pixels and number of the pictures of each class, for every split with annotations."""
    reports = {split: result for split, result in results.items() if isinstance(result, Report) and result.pixels.any()}
    if not reports:
        return
    columns = ["class", *(f"{split}: {what}" for split in reports for what in ("pixels", "pictures"))]
    rows = []
    for index, name in enumerate(labels.names):
        row = [f"{index} {name}"]
        for report in reports.values():
            row += [f"{report.pixels[index] / report.pixels.sum():.3%}", f"{report.pictures[index]}"]
        rows.append(row)
    table(f"Classes of {labels.title}", columns, rows)


def _split_table(results: dict[str, Result]) -> None:
    columns = ("split", "pictures", "smallest", "median", "largest", "ignored", "EXIF-turned", "problems")
    rows = []
    for split, result in results.items():
        if isinstance(result, Problem):
            rows.append((split, *[""] * 6, "1"))
            continue
        sides = result.size_range()
        sizes = [f"{sides[key][0]}x{sides[key][1]}" if sides else "" for key in ("min", "median", "max")]
        ignored = f"{result.ignored_share:.3%}"
        faults = sum(not problem.is_note for problem in result.problems)
        rows.append((split, str(result.samples), *sizes, ignored, str(result.turned), str(faults)))
    table("Splits (height x width, each side by itself)", columns, rows)


def _say_problems(problems: Sequence[Problem]) -> None:
    for problem in problems[:_SHOWN]:
        say(str(problem))
    if len(problems) > _SHOWN:
        say(f"and {len(problems) - _SHOWN} more problems; --json lists all")
    if not problems:
        say("no problems")


def _remark_shared(names: dict[str, set[str]]) -> None:
    """Ids in two splits: no fault of any file, but scores on pictures that were trained on say little."""
    splits = list(names)
    for index, first in enumerate(splits):
        for second in splits[index + 1 :]:
            if shared := sorted(names[first] & names[second]):
                remark(f"note: {len(shared)} ids are in both {first} and {second}, such as {shared[0]}")


def _remark_notes(notes: Sequence[Problem]) -> None:
    if notes:
        remark(f"note: {len(notes)} annotations are background only, such as {notes[0].file}")


def _summary(root: Path, problems: Sequence[Problem]) -> str:
    """All problems in one line; the only one itself where there is one."""
    if len(problems) == 1:
        return str(problems[0])
    kinds = ", ".join(f"{count} {kind}" for kind, count in Counter(problem.kind for problem in problems).items())
    return f"{root}: {len(problems)} problems ({kinds}), expected none; the first is {problems[0]}"
