"""How the command line talks: results on standard output, progress and remarks on standard error.

Whatever comes from files (class names, families, notes, names of files) passes `printable` here, so that nothing a
terminal would obey ever reaches it. JSON needs no such care: its strings escape control characters.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from ce2p.api.documents import json_text, write_text
from ce2p_runtime.base.text import printable
from ce2p_runtime.errors import MediaError

_FILE_WIDTH = 140
"""Characters of a table's line where nobody says how wide a line is: in files and pipes."""
_known = sys.stdout.isatty() or "COLUMNS" in os.environ

# No markup: texts of ours hold square brackets that mean themselves, as in ce2p[gpu].
_out = Console(highlight=False, markup=False, width=None if _known else _FILE_WIDTH)
_remarks = Console(stderr=True, highlight=False, markup=False)


class _PlainColumn(TextColumn):
    """Text that means itself, whatever file names are in it."""

    def render(self, task: Task) -> Text:
        return Text(printable(self.text_format.format(task=task)))


def remark(text: str) -> None:
    """A line for the user that is not part of the result."""
    _remarks.print(printable(text), soft_wrap=True)


@contextmanager
def progress_bar(unit: str = "") -> Iterator[Progress]:
    """Progress bars on standard error, nothing at all where that is not a terminal."""
    columns = (
        _PlainColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _PlainColumn(unit),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        _PlainColumn("{task.fields[note]}"),
    )
    progress = Progress(*columns, console=_remarks, disable=not shows_bars())
    # One that nobody sees is not started: rich 13.0 prints an empty line where it ends.
    with nullcontext() if progress.disable else progress:
        yield progress


def shows_bars() -> bool:
    """Whether anybody sees progress bars."""
    return _remarks.is_terminal and not _remarks.quiet


@contextmanager
def step_bars(unit: str = "", *, announced: bool = False) -> Iterator[Callable[..., None]]:
    """The `progress` of the front door's functions: a bar for each step while it has parts left.

    What is yielded may be called from any thread, with a note beside the bar as a fourth argument. `announced`: a line,
    too, whenever another step begins.
    """
    lock, said = threading.Lock(), ""
    tasks: dict[str, TaskID] = {}
    with progress_bar(unit) as bars:

        def tell(step: str, done: int, total: int, note: str = "") -> None:
            nonlocal said
            with lock:
                if announced and step != said and step not in tasks:
                    remark(f"{step} ...")
                    said = step
                has_parts_left = done < total or (done > 0 and total == 0)
                if has_parts_left and step not in tasks:
                    tasks[step] = bars.add_task(step, total=total or None, completed=done, note=note)
                elif has_parts_left:
                    bars.update(tasks[step], completed=done, note=note)
                elif step in tasks:
                    bars.remove_task(tasks.pop(step))

        yield tell


def say(text: str, style: str = "") -> None:
    """A line of the result, never broken by us."""
    _out.print(printable(text), style=style, soft_wrap=True)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: bool = True) -> None:
    """Print a table; with `numbers` every column but the first is aligned to the right. Cells may have line breaks."""
    say(title, style="bold")
    grid = Table()
    for index, column in enumerate(columns):
        grid.add_column(printable(column), justify="right" if numbers and index else "left", overflow="fold")
    for row in rows:
        grid.add_row(*(printable(cell, keep="\n") for cell in row))
    _out.print(grid)


def fact_list(facts: dict[str, str]) -> None:
    """Print names and values in two columns, long values wrapped."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in facts.items():
        grid.add_row(printable(name), printable(value))
    _out.print(grid)


def write_json(document: dict[str, Any], target: str, kind: str) -> None:
    """Write a document to a file, or to standard output for `-`; `kind` goes into its `schema`, as in "ce2p.parse/1".

    Raises MediaError where it cannot be written.
    """
    text = json_text(document, kind)
    try:
        if target == "-":
            _out.file.write(text)
            _out.file.flush()
        else:
            write_text(Path(target), text)
    except OSError as error:
        raise MediaError(f"standard output: the JSON result cannot be written ({error.strerror})") from error
    except MediaError as error:
        raise MediaError(f"the JSON result is lost: {error}") from error


@contextmanager
def quietly(quiet: bool) -> Iterator[None]:
    """With `quiet`, only errors and JSON are printed meanwhile."""
    before = _out.quiet
    _out.quiet = _remarks.quiet = quiet or before
    try:
        yield
    finally:
        _out.quiet = _remarks.quiet = before
