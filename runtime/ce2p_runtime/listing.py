"""Which files a source means: one picture or video, the pictures of a folder, the matches of a pattern."""

from __future__ import annotations

import glob
import re
from pathlib import Path
from typing import Literal

from .errors import MediaError
from .files import existing_file
from .sniff import sniff_file

__all__ = ["PICTURE_FORMATS", "PICTURE_SUFFIXES", "VIDEO_SUFFIXES", "find_pictures", "source_kind"]

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

PICTURE_FORMATS = "JPEG, PNG, WebP, BMP, GIF or TIFF"


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
    raise MediaError(f"{file}: is {found.name}, expected a picture ({PICTURE_FORMATS}) or a video; convert it first")


def _is_picture_name(path: Path) -> bool:
    # Hidden names are unfinished outputs of ours, or the `._` companions that macOS leaves on foreign disks.
    return path.suffix.lower() in PICTURE_SUFFIXES and not path.name.startswith(".") and path.is_file()


def _natural(path: Path) -> list[tuple[int, int, str]]:
    """Sort key under which numbers count as numbers: frame2 comes before frame10."""
    parts = re.split(r"(\d+)", path.as_posix().casefold())
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part]
