"""`ce2p data`: its commands' options, and the front door's work on data sets with its tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ce2p.datasets import names_of

from .options import Json, Overwrite

if TYPE_CHECKING:  # they load NumPy and OpenCV, which the help of a command does without
    from ce2p.data.check import Problem, Report
    from ce2p.labels import LabelSet

data_app = typer.Typer(help="Check data sets, draw synthetic ones, merge SBD into VOC.", no_args_is_help=True)
_OPENED, _DRAWN = ", ".join(names_of(layout=True)), ", ".join(names_of(people=True))
_SHOWN = 20
"""Problems printed; all of them are in --json."""


@data_app.command()
def check(
    root: Annotated[Path, typer.Argument(help="Folder of the data set, in its published layout.")],
    dataset: Annotated[str | None, typer.Option(help=f"{_OPENED}. Default: recognised from the folder.")] = None,
    splits: Annotated[
        str | None,
        typer.Option(help="Comma-separated: train,val,test. Default: those with an id list, and val beside train."),
    ] = None,
    overwrite: Overwrite = False,
    json: Json = None,
) -> None:
    """Find missing pairs, wrong sizes and labels out of range; show how often each class occurs.

    Published data sets are taken in their published layouts. Classes of your own:

    \b
    DIR/classes.txt                  one name per line, the background first
    DIR/train_id.txt                 one id per line
    DIR/train_images/ID.jpg          or .png, .jpeg
    DIR/train_segmentations/ID.png   grey or palette; pixel = class number from 0, 255 = ignore
    DIR/val_id.txt, DIR/val_...      the same; training scores on these
    """
    run_check(root, json=json, overwrite=overwrite, dataset=dataset, splits=splits.split(",") if splits else ())


@data_app.command()
def synthetic(
    root: Annotated[Path, typer.Argument(help="New folder.")],
    dataset: Annotated[str, typer.Option(help=f"Whose layout and classes: {_DRAWN}.")] = "lip",
    train: Annotated[int, typer.Option(min=0, help="Pictures to train on.")] = 400,
    val: Annotated[int, typer.Option(min=0, help="Pictures to score on; other people than those to train on.")] = 50,
    size: Annotated[str, typer.Option(help="Height x width.")] = "256x192",
    seed: Annotated[int, typer.Option(help="The same seed draws the same people.")] = 0,
) -> None:
    """Draw people with exact labels, in any data set's layout."""
    from .arguments import image_size

    run_synthetic(root, dataset=dataset, train=train, val=val, size=image_size(size, "--size"), seed=seed)


@data_app.command()
def sbd(
    voc: Annotated[Path, typer.Argument(help="VOCdevkit/VOC2012, or a folder that contains it.")],
    sbd: Annotated[Path, typer.Argument(help="SBD, unpacked: cls/*.mat, train.txt, val.txt.")],
) -> None:
    """Make VOC's training set `trainaug` (10,582 pictures) with the annotations of SBD."""
    run_sbd(voc, sbd)


def run_check(root: Path, *, json: str | None = None, overwrite: bool = False, **options: Any) -> None:
    """Check and print frequencies, sizes and problems; `options` are those of `ce2p.check_data`.

    Raises DataError when there is a problem, after everything has been printed, and MediaError, before, where `json`
    exists and `overwrite` does not allow that.
    """
    from ce2p.api.data import check_data

    from .console import step_bars, write_json
    from .preflight import check_json

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
    from ce2p.api.data import draw_data

    from .console import say, step_bars

    with step_bars("pictures") as progress:
        draw_data(root, dataset=dataset, train=train, val=val, size=size, seed=seed, progress=progress)
    say(f"wrote {train} training and {val} validation pictures of {size[0]}x{size[1]} to {root}")
    say(f"next: ce2p data check {root} --dataset {dataset}")


def run_sbd(voc: Path, sbd: Path) -> None:
    """Merge and report. Raises DataError."""
    from ce2p.api.data import merge_sbd

    from .console import say, step_bars

    with step_bars("annotations") as progress:
        merged = merge_sbd(voc, sbd, progress=progress)
    say(
        f"{merged.id_list}: {merged.pictures} pictures, {merged.from_voc} with VOC's annotations and {merged.from_sbd} "
        f"with SBD's, in {merged.folder}"
    )


def _frequency_table(labels: LabelSet, results: Mapping[str, Report | Problem]) -> None:
    """Share of the pixels and number of the pictures of each class, for every split with annotations."""
    from ce2p.data.check import Report

    from .console import table

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
    from ce2p.data.check import Problem

    from .console import table

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
    from .console import say

    for problem in problems[:_SHOWN]:
        say(str(problem))
    if len(problems) > _SHOWN:
        say(f"and {len(problems) - _SHOWN} more problems; --json lists all")
    if not problems:
        say("no problems")
