"""What a run is going to write, checked before anything is parsed: no input and, unasked, no file is ever replaced."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..base.destinations import check_folder
from ..base.leftovers import remove_leftovers
from ..errors import MediaError

Existing = Literal["refuse", "skip", "replace"]
"""What to do about results that are there already."""


@dataclass(frozen=True)
class ResultPlan:
    """The files to be written."""

    targets: Mapping[Path, Mapping[str, Path]]
    """Per source file that is to be parsed: kind of result -> file (for masks a folder)."""
    done: frozenset[Path] = frozenset()
    """Source files whose results are all there, so that there is nothing to do."""
    may_replace: bool = False
    """Whether files that are there may be replaced."""


def plan_results(
    targets: Mapping[Path, Mapping[str, Path]], existing: Existing, inputs: Iterable[Path], output: Path
) -> ResultPlan:
    """Look for every target. What killed runs left on the way to them is removed.

    With "skip", of a source whose results are there in part the others are written. Raises MediaError when a target is
    one of `inputs` (also through a link), when one exists that may not be replaced, and when `output` cannot be a
    folder.
    """
    is_file = len(targets) == 1 and output in next(iter(targets.values())).values()
    check_folder(output.parent if is_file else output, what="the results")
    there = {file for kinds in targets.values() for file in kinds.values() if _exists(file)}
    _check_inputs(there, inputs)
    _check_kinds(targets, there)
    if there and existing == "refuse":
        total = sum(map(len, targets.values()))
        raise MediaError(
            f"{min(there)}: exists, {len(there)} of {total} results in all; --skip-existing keeps them and writes the "
            "others, --overwrite replaces them"
        )
    remove_leftovers(file for kinds in targets.values() for file in kinds.values())
    if existing != "skip":
        return ResultPlan(targets, may_replace=existing == "replace")
    missing = {
        source: {kind: file for kind, file in kinds.items() if file not in there} for source, kinds in targets.items()
    }
    return ResultPlan(
        {source: kinds for source, kinds in missing.items() if kinds},
        frozenset(source for source, kinds in missing.items() if not kinds),
    )


def _exists(file: Path) -> bool:
    """Whether something has this name, be it a link that leads nowhere. Raises MediaError for impossible names."""
    try:
        os.lstat(file)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise MediaError(
            f"{file}: cannot be written ({error.strerror}); rename the source or choose another -o"
        ) from error
    return True


def _check_kinds(targets: Mapping[Path, Mapping[str, Path]], there: Iterable[Path]) -> None:
    """Raise MediaError where a folder stands in a file's place, or the other way round."""
    folders = {kinds["masks"] for kinds in targets.values() if "masks" in kinds}
    for file in there:
        if file in folders and not file.is_dir():
            raise MediaError(f"{file}: is a file, expected a folder for masks; remove it or choose another -o")
        if file not in folders and not (file.is_file() or file.is_symlink()):
            raise MediaError(f"{file}: is no regular file, expected one for a result; remove it or choose another -o")


def _check_inputs(there: Iterable[Path], inputs: Iterable[Path]) -> None:
    """Raise MediaError where a file that would be replaced is read as well."""
    identities: dict[tuple[int, int], Path] | None = None
    for file in there:
        if identities is None:  # only where something exists: many pictures take a while
            identities = {found: path for path in inputs if (found := _identity(path)) is not None}
        if (found := _identity(file)) is not None and found in identities:
            raise MediaError(
                f"{file}: is an input ({identities[found]}), and a result would replace it; choose another -o"
            )


def _identity(file: Path) -> tuple[int, int] | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
