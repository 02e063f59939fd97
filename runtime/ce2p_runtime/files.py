"""Files that appear whole or not at all, and the first look at a file somebody named."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import MediaError
from .leftovers import temporary_name

__all__ = ["atomic_path", "existing_file"]


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`: on success it takes the name `path`, on any exception it goes.

    Parent folders are made. The temporary name keeps the suffix (writers choose the format by it) and starts
    with a dot (folder listings of this package skip it). Raises MediaError when the folder cannot be made,
    when the body cannot write there (a full disk, a limit, a lost folder), when it wrote nothing, or when the name
    cannot be taken; other exceptions of the body pass through unchanged.
    """
    target = Path(path)
    # Not `tempfile`: it makes files of mode 0600, and a result should have the permissions the user's umask
    # gives.
    temporary = target.with_name(temporary_name(target.name))
    if target.is_dir():
        raise MediaError(f"{target}: is a folder, expected the name of a file to write; add a file name")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MediaError(f"{target}: its folder cannot be made ({error.strerror}); choose another place") from error
    try:
        try:
            yield temporary
        except OSError as error:
            # Writing gives no name, opening gives ours; an error with another name is not about this file.
            if error.strerror is None or error.filename not in (None, str(temporary)):
                raise
            raise MediaError(
                f"{target}: cannot be written ({error.strerror}); check the free space and the folder"
            ) from error
        if not temporary.exists():
            raise MediaError(f"{target}: nothing was written, expected a file; this is a fault of the writer")
        try:
            # No fsync: a rename protects against our own death; a power cut costs a rerun, not a wrong
            # result.
            temporary.replace(target)
        except OSError as error:
            raise MediaError(f"{target}: cannot be replaced ({error.strerror}); close or remove it first") from error
    finally:
        temporary.unlink(missing_ok=True)


def existing_file(path: str | Path, expected: str) -> Path:
    """`path` as a Path once it is known to be a non-empty regular file.

    `expected` ("a picture", "a video") goes into the message. Raises MediaError for URLs, missing files,
    folders, devices and empty files.
    """
    file = Path(path)
    try:
        if file.is_dir():
            raise MediaError(f"{file}: is a folder, expected {expected}; name one file inside it")
        if not file.exists():
            if "://" in str(path):
                raise MediaError(f"{path}: is a URL, expected {expected} on this machine; download it first")
            raise MediaError(f"{file}: no such file, expected {expected}; check the path")
        if not file.is_file():
            raise MediaError(f"{file}: is a device or pipe, expected {expected} in a regular file; save it first")
        if file.stat().st_size == 0:
            raise MediaError(f"{file}: is empty (0 bytes), expected {expected}; copy or download it again")
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        raise MediaError(f"{path!s:.200}: cannot be opened ({error}), expected {expected}") from error
    return file
