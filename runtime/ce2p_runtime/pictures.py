"""Pictures from files, folders and patterns, checked before they are decoded."""

from __future__ import annotations

import glob
import re
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from .errors import MediaError
from .files import atomic_path, existing_file
from .picture_headers import missing_part, picture_size
from .sniff import HEAD, sniff, sniff_file

__all__ = [
    "MAX_PIXELS",
    "PICTURE_SUFFIXES",
    "VIDEO_SUFFIXES",
    "find_pictures",
    "read_picture",
    "source_kind",
    "write_picture",
]

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif")
VIDEO_SUFFIXES = (
    ".mp4",
    ".m4v",
    ".mov",
    ".mkv",
    ".webm",
    ".avi",
    ".ts",
    ".mts",
    ".m2ts",
    ".mpg",
    ".mpeg",
    ".wmv",
    ".flv",
    ".3gp",
    ".ogv",
)

MAX_PIXELS = 50_000_000
"""Larger pictures are refused by `read_picture`: a few hundred kilobytes can unfold to gigabytes."""

_MAX_BYTES = 512 * 2**20
_FORMATS = "JPEG, PNG, WebP, BMP, GIF or TIFF"


def read_picture(path: str | Path) -> NDArray[np.uint8]:
    """Decode a picture to uint8 BGR [H, W, 3], turned upright by its EXIF orientation like `cv2.imread`.

    Gray, 16-bit and CMYK pictures become 8-bit BGR; transparency is dropped; of animations the first frame is
    read. Raises MediaError for anything that is not a whole picture of at most `MAX_PIXELS` pixels: missing,
    empty, a folder, another kind of file (named), cut short, damaged.
    """
    file = existing_file(path, "a picture")
    data = _read_bytes(file)
    size = picture_size(data)
    if size is None or 0 in size:
        raise MediaError(f"{file}: is damaged (its header gives no picture size); copy or download it again")
    if size[0] * size[1] > MAX_PIXELS:
        megapixels = f"{size[1]}x{size[0]} pixels ({size[0] * size[1] / 1e6:.0f} megapixels)"
        raise MediaError(f"{file}: has {megapixels}, expected at most {MAX_PIXELS / 1e6:.0f}; make it smaller first")
    fault = missing_part(data)
    if fault is not None:
        raise MediaError(f"{file}: is cut short or damaged ({fault}); copy or download it again")
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        picture = None
    if picture is None:
        kind = sniff(data[:HEAD]).name
        raise MediaError(f"{file}: looks like {kind} but cannot be decoded, so it is damaged; copy or convert it again")
    return np.asarray(picture, np.uint8)


def write_picture(path: str | Path, picture: NDArray[np.uint8]) -> Path:
    """Write uint8 BGR [H, W, 3] in the format of the suffix (.jpg, .png), atomically. Raises MediaError."""
    suffix = Path(path).suffix
    try:
        done, data = cv2.imencode(suffix, picture)
    except cv2.error:
        done = False
    if not done:
        raise MediaError(f"{path}: no picture format for the suffix {suffix!r}; use .jpg, .png or .webp")
    with atomic_path(path) as temporary:
        temporary.write_bytes(data.tobytes())
    return Path(path)


def find_pictures(source: str | Path) -> list[Path]:
    """The picture files that `source` means: one file, the pictures of a folder, or the matches of a glob.

    Folders are listed without their sub-folders; `folder/**/*.jpg` reaches those. Order is natural (2 before
    10); hidden files are left out. A name that exists is never taken for a glob. Raises MediaError when there
    is nothing.
    """
    path = Path(source)
    suffixes = " ".join(PICTURE_SUFFIXES)
    if path.is_dir():
        found = [entry for entry in path.iterdir() if _is_picture_name(entry)]
        if not found:
            raise MediaError(f"{path}: no pictures in this folder, expected files ending in {suffixes}")
    elif not path.exists() and glob.has_magic(str(source)):
        # Not `Path.glob`, which refuses absolute patterns.
        matches = [Path(match) for match in glob.glob(str(source), recursive=True)]  # noqa: PTH207
        found = [entry for entry in matches if _is_picture_name(entry)]
        if not found:
            what = f"none of its {len(matches)} matches is a picture" if matches else "nothing matches this pattern"
            raise MediaError(f"{source}: {what}, expected files ending in {suffixes}; quote the pattern in a shell")
    else:
        return [existing_file(source, "a picture")]
    return sorted(found, key=_natural)


def source_kind(source: str | Path) -> Literal["picture", "folder", "glob", "video"]:
    """What a source is, by its suffix, or by its content when the suffix says nothing. Nothing is decoded.

    Raises MediaError when it does not exist or is neither.
    """
    path = Path(source)
    if path.is_dir():
        return "folder"
    if not path.exists() and glob.has_magic(str(source)):
        return "glob"
    file = existing_file(source, "a picture, folder, pattern or video")
    if file.suffix.lower() in PICTURE_SUFFIXES:
        return "picture"
    if file.suffix.lower() in VIDEO_SUFFIXES:
        return "video"
    found = sniff_file(file)
    if found.kind == "picture" or found.kind == "video":
        return found.kind
    raise MediaError(f"{file}: is {found.name}, expected a picture ({_FORMATS}) or a video; convert it first")


def _read_bytes(file: Path) -> bytes:
    """All bytes of a file that starts like a picture and is not absurdly long."""
    try:
        with file.open("rb") as stream:
            head = stream.read(HEAD)
            found = sniff(head)
            if found.kind != "picture":
                cure = "use it as a video" if found.kind == "video" else "replace or convert it"
                raise MediaError(f"{file}: is {found.name}, expected a picture ({_FORMATS}); {cure}")
            rest = stream.read(_MAX_BYTES)
    except OSError as error:
        raise MediaError(
            f"{file}: cannot be read ({error.strerror}), expected a picture; check its permissions"
        ) from error
    if len(rest) == _MAX_BYTES:
        raise MediaError(f"{file}: is longer than {_MAX_BYTES >> 20} MiB, expected a picture; make it smaller first")
    return head + rest


def _is_picture_name(path: Path) -> bool:
    # Hidden names are unfinished outputs of ours, or the `._` companions that macOS leaves on foreign disks.
    return path.suffix.lower() in PICTURE_SUFFIXES and not path.name.startswith(".") and path.is_file()


def _natural(path: Path) -> list[tuple[int, int, str]]:
    """Sort key under which numbers count as numbers: frame2 comes before frame10."""
    parts = re.split(r"(\d+)", path.as_posix().casefold())
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part]
