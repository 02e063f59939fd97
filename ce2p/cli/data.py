"""`ce2p data`: the front door's work on data sets, with its tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ce2p.api.data import check_data, draw_data, merge_sbd
from ce2p.data.check import Problem, Report
from ce2p.labels import LabelSet

from .console import say, step_bars, table, write_json
from .preflight import check_json

__all__ = ["run_check", "run_sbd", "run_synthetic"]

_SHOWN = 20
"""Problems printed; all of them are in --json."""


def run_check(root: Path, *, json: str | None = None, overwrite: bool = False, **options: Any) -> None:
    """Check and print frequencies, sizes and problems; `options` are those of `ce2p.check_data`.

    Raises DataError when there is a problem, after everything has been printed, and MediaError, before, where `json`
    exists and `overwrite` does not allow that.
    """
    check_json(json, [], overwrite)
    with step_bars("pictures") as progress:
        checked = check_data(root, progress=progress, **options)
    if json:
        write_json(checked.to_dict(), json, "data")
    if json != "-":
        _frequency_table(checked.labels, checked.splits)
        _split_table(checked.splits)
        _say_problems(checked.problems)
    checked.require()


def run_synthetic(root: Path, *, train: int, val: int, size: tuple[int, int], dataset: str, seed: int) -> None:
    """Draw and report; the options are those of `ce2p.draw_data`. Raises DataError."""
    with step_bars("pictures") as progress:
        draw_data(root, dataset=dataset, train=train, val=val, size=size, seed=seed, progress=progress)
    say(f"wrote {train} training and {val} validation pictures of {size[0]}x{size[1]} to {root}")
    say(f"next: ce2p data check {root} --dataset {dataset}")


def run_sbd(voc: Path, sbd: Path) -> None:
    """Merge and report. Raises DataError."""
    with step_bars("annotations") as progress:
        merged = merge_sbd(voc, sbd, progress=progress)
    say(
        f"{merged.id_list}: {merged.pictures} pictures, {merged.from_voc} with VOC's annotations and {merged.from_sbd} "
        f"with SBD's, in {merged.folder}"
    )


def _frequency_table(labels: LabelSet, results: Mapping[str, Report | Problem]) -> None:
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


def _split_table(results: Mapping[str, Report | Problem]) -> None:
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
