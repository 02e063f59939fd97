"""Files that appear whole or not at all, the first look at a file somebody named, and what tells files apart."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import MediaError
from .leftovers import temporary_name

_BLOCK = 1 << 20
_NO_FOLDER_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EACCES, errno.EPERM}
"""File systems that keep no order of names, and folders that may be written but not read."""


@contextmanager
def atomic_path(path: str | Path, *, durable: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside `path`: on success it takes the name `path`, on any exception it goes.

    The bytes are on the disk before the name is: after a power cut `path` is the old file or the new one, whole.
    `durable=False` leaves that to the system and is for results of which there is one for each picture: waiting for the
    disk takes 3 to 10 ms a file, as long as all the rest of writing it; a power cut then costs a rerun.

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
        if durable:
            _to_disk(temporary, target)
        try:
            temporary.replace(target)
        except OSError as error:
            raise MediaError(f"{target}: cannot be replaced ({error.strerror}); close or remove it first") from error
        if durable:
            _to_disk(target.parent, target)
    finally:
        temporary.unlink(missing_ok=True)


def _to_disk(path: Path, target: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    if os.name == "nt" and path.is_dir():  # Windows has no handle for a folder's entries
        return
    try:
        # Windows flushes only what may be written.
        handle = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        if path.is_dir() and error.errno in _NO_FOLDER_SYNC:
            return
        raise MediaError(
            f"{target}: cannot be written to the disk ({error.strerror}); check the free space and the disk"
        ) from error


def file_sha256(path: str | Path) -> str:
    """SHA-256 of a file's bytes, as hexadecimal digits. Raises OSError."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


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
