"""Where results may go: nothing that exists is replaced unasked, and no input ever.

Commands check their destinations here before long work starts. A destination that is a symbolic link exists, wherever
it leads; with `overwrite` the link itself is replaced by the result and the file it led to stays as it was.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterable
from pathlib import Path

from ..errors import MediaError
from .leftovers import remove_leftovers


def check_destination(
    path: str | Path,
    *,
    what: str,
    suffixes: tuple[str, ...] = (),
    inputs: Iterable[str | Path] = (),
    overwrite: bool = False,
) -> Path:
    """`path` as a Path, once it is known that a file may be written there. Writes nothing and makes no folder; what a
    killed run left on its way to that name is removed.

    `what` names the file in messages ("the JSON result"). Raises MediaError, in one line, when the name is empty or a
    folder; has none of `suffixes` (any case; none given: all are fine); is one of `inputs`, also through a link or
    another spelling; is a device or pipe; exists, without `overwrite`; or when nothing can be made in its folder.

        check_destination("net.json", what="the JSON result", suffixes=(".json",), inputs=["net.onnx"])
    """
    file = _named(path, what)
    found = _status(file, what)
    if found is not None and stat.S_ISDIR(found.st_mode):
        raise MediaError(f"{file}: is a folder, expected the name of a file for {what}; add a file name")
    if suffixes and file.suffix.lower() not in suffixes:
        raise MediaError(f"{file}: expected a name ending in {' or '.join(suffixes)} for {what}; choose such a name")
    if found is not None:
        _check_replaceable(file, found, what, inputs, overwrite)
    _check_place(file.parent, file, what)
    remove_leftovers([file])
    return file


def check_folder(path: str | Path, *, what: str) -> Path:
    """`path` as a Path, once it is known that files can be made in it. Writes nothing, makes no folder.

    Raises MediaError when the name is empty or a file's, or when it cannot be made or written to.
    """
    folder = _named(path, what)
    found = _status(folder, what)
    if found is not None and not stat.S_ISDIR(found.st_mode):
        raise MediaError(f"{folder}: is a file, expected a folder for {what}; choose another name")
    _check_place(folder, folder, what)
    return folder


def _named(path: str | Path, what: str) -> Path:
    if not str(path).strip():
        raise MediaError(f"the name for {what} is empty; give one")
    return Path(path)


def _check_replaceable(
    file: Path, found: os.stat_result, what: str, inputs: Iterable[str | Path], overwrite: bool
) -> None:
    """Raise MediaError unless the file that stands there may be replaced."""
    if any(_same(file, Path(other)) for other in inputs):
        raise MediaError(f"{file}: is an input, and {what} would replace it; choose another name")
    link = stat.S_ISLNK(found.st_mode)
    if not link and not stat.S_ISREG(found.st_mode):
        raise MediaError(f"{file}: is a device or pipe, expected a regular file for {what}; choose another name")
    if not overwrite:
        kind = " (as a symbolic link)" if link else ""
        raise MediaError(
            f"{file}: exists{kind}, and {what} would replace it; choose another name, or add --overwrite to replace it"
        )


def _status(path: Path, what: str) -> os.stat_result | None:
    """What stands at `path`: a link to a folder stands for the folder, any other link for itself."""
    try:
        return path.stat() if path.is_dir() else path.lstat()
    except FileNotFoundError:
        return None
    except NotADirectoryError as error:
        raise MediaError(f"{path}: lies below a file instead of a folder, for {what}; choose another name") from error
    except (OSError, ValueError) as error:  # ValueError: a null character
        reason = error.strerror if isinstance(error, OSError) else error
        raise MediaError(f"{path!s:.300}: cannot hold {what} ({reason}); choose another name") from error


def _same(path: Path, other: Path) -> bool:
    """Whether both names lead to one file."""
    try:
        return path.samefile(other)
    except (OSError, ValueError):  # one of them leads nowhere: no file that could be lost
        return False


def _check_place(folder: Path, path: Path, what: str) -> None:
    """Make sure that files can be made in `folder`, or in the nearest one above it that exists."""
    place = folder
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        # A real file, because permissions alone do not tell: /proc, read-only disks, quotas. It has no name where the
        # system can do that.
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        raise MediaError(f"{path}: {what} cannot be written here ({error.strerror}); choose another place") from error
