"""Which files a source means: one picture or video, the pictures of a folder, the matches of a pattern."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Literal

from ..base.files import existing_file
from ..errors import MediaError
from .own_mark import bears_mark
from .sniff import sniff_file

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".avif", ".bmp", ".tif", ".tiff", ".gif")
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

PICTURE_FORMATS = "JPEG, PNG, WebP, AVIF, BMP, GIF or TIFF"

_OTHERS = {"video": "video", "text": "text file"}
"""What kinds of content are called, beside pictures and those that only their suffix tells."""

_NAMED = 3
"""Files named in a line about many."""


@dataclass
class FoundPictures:
    """The pictures that a source means, and what else was there."""

    base: Path
    """What the places of results mirror: the folder that is the source, or a pattern's part without wildcards."""
    pictures: list[Path] = field(default_factory=list)
    unreadable: dict[str, list[Path]] = field(default_factory=dict)
    """Pictures of a kind that cannot be read, by kind: a loss."""
    others: dict[str, list[Path]] = field(default_factory=dict)
    """Files that are no pictures, by kind: no loss, but worth a word."""
    earlier_results: list[Path] = field(default_factory=list)
    """Pictures in the folder of results that this package wrote itself."""

    @property
    def expected(self) -> int:
        """How many pictures there are, also those that cannot be read."""
        return len(self.pictures) + sum(map(len, self.unreadable.values()))

    @property
    def problems(self) -> list[str]:
        """One line for every kind of picture that cannot be read."""
        return [
            f"{self.base}: {_counted(kind, files)} cannot be read and {'is' if len(files) == 1 else 'are'} left out, "
            f"expected {PICTURE_FORMATS}; convert or replace those that you want"
            for kind, files in sorted(self.unreadable.items())
        ]

    @property
    def notes(self) -> list[str]:
        """What else was there, in a line each."""
        lines = []
        if self.others:
            kinds = "; ".join(_counted(kind, files) for kind, files in sorted(self.others.items()))
            lines.append(f"{self.base}: left out files that are no pictures: {kinds}")
        if self.earlier_results:
            lines.append(f"{self.base}: left out {_counted('earlier result', self.earlier_results)} of ce2p")
        return lines


def find_pictures(source: str | Path) -> list[Path]:
    """The picture files that `source` means: one file, those of a folder and its sub-folders, or a glob's matches.

    `folder/*` leaves the sub-folders out. Order is natural (2 before 10); hidden files and folders are left out. A name
    that exists is never taken for a glob. Raises MediaError when there is nothing.
    """
    return list_pictures(source).pictures


def list_pictures(source: str | Path, results_in: Path | None = None) -> FoundPictures:
    """The same with what else was there. Links to folders are not followed, but counted among the others.

    `results_in`: the folder that results will go to. Pictures in it that carry the mark of this package are results of
    an earlier run, and left out. Raises MediaError when there is nothing.
    """
    path = Path(source)
    if path.is_dir():
        found, nothing = FoundPictures(path), "no pictures in this folder"
        _sort_in(found, _files_below(found, path), results_in)
    elif not path.exists() and glob.has_magic(str(source)):
        # Not `Path.glob`, which refuses absolute patterns.
        matches = [Path(match) for match in glob.glob(str(source), recursive=True)]  # noqa: PTH207
        found = FoundPictures(_without_wildcards(path))
        _sort_in(found, (match for match in matches if not match.is_dir()), results_in)
        nothing = f"none of its {len(matches)} matches is a picture" if matches else "nothing matches this pattern"
    else:
        return FoundPictures(path.parent, [existing_file(source, "a picture")])
    if not found.pictures:
        left_out = "; ".join(line.partition(": ")[2] for line in (*found.problems, *found.notes))
        there = f" ({left_out})" if left_out else ""
        quote = "" if path.is_dir() else "; quote the pattern in a shell"
        raise MediaError(f"{source}: {nothing}{there}, expected files ending in {' '.join(PICTURE_SUFFIXES)}{quote}")
    found.pictures.sort(key=_natural)
    return found


def source_kind(source: str | Path) -> Literal["picture", "folder", "glob", "video"]:
    """What a source is, by its suffix, or by its content when the suffix says nothing. Nothing is decoded.

    Raises MediaError when it does not exist or is neither.
    """
    if not str(source).strip():  # a path would make the working folder of it
        raise MediaError("the name of the source is empty, expected a picture, folder, pattern or video; give one")
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


def _files_below(found: FoundPictures, folder: Path) -> Iterator[Path]:
    """All files of a folder and its sub-folders, without hidden folders; folders that stay shut go into `found`."""

    def shut(error: OSError) -> None:
        found.unreadable.setdefault("closed folder", []).append(Path(error.filename))

    for place, folders, files in os.walk(folder, onerror=shut):
        for name in list(folders):
            if name.startswith("."):
                folders.remove(name)
            elif Path(place, name).is_symlink():  # os.walk does not go in, which nobody would notice
                found.others.setdefault("link to a folder", []).append(Path(place, name))
        yield from (Path(place, name) for name in files)


def _without_wildcards(pattern: Path) -> Path:
    """The folders that a pattern names literally."""
    fixed = Path()
    for index, part in enumerate(pattern.parts[:-1]):
        if glob.has_magic(part):
            if ".." in pattern.parts[index:]:
                raise MediaError(
                    f"{pattern}: has .. after a wildcard, expected names of folders there; write the pattern without it"
                )
            break
        fixed /= part
    return fixed


def _sort_in(found: FoundPictures, files: Iterable[Path], results_in: Path | None) -> None:
    """Put each file where it belongs."""
    among_results = _within(results_in)
    for file in files:
        kind, readable, is_picture = _look_at(file)
        if not readable:
            (found.unreadable if is_picture else found.others).setdefault(kind, []).append(file)
        elif among_results(file.parent) and _is_ours(file):
            found.earlier_results.append(file)
        else:
            found.pictures.append(file)


def _within(folder: Path | None) -> Callable[[Path], bool]:
    """Tells whether another folder is `folder` or lies below it; each is looked up once."""
    outer = folder.resolve() if folder is not None else None

    @cache
    def within(other: Path) -> bool:
        return outer is not None and other.resolve().is_relative_to(outer)

    return within


def _is_ours(file: Path) -> bool:
    try:
        return bears_mark(file)
    except OSError:  # reading it as a picture will say why
        return False


def _look_at(file: Path) -> tuple[str, bool, bool]:
    """What a file is called in messages, whether it is to be read as a picture, and whether it is meant to be one."""
    suffix = file.suffix.lower()
    named_so = suffix in PICTURE_SUFFIXES
    # Unfinished outputs of ours, or the `._` companions that macOS leaves on foreign disks.
    if file.name.startswith("."):
        return "hidden file", False, False
    if not file.is_file():
        return "broken link" if file.is_symlink() else "device or pipe", False, named_so
    if named_so:
        return "picture", True, True
    if suffix in VIDEO_SUFFIXES:
        return "video", False, False
    try:
        content = sniff_file(file)
    except OSError:
        return "unreadable file", False, False
    if content.kind == "picture" and not suffix:
        return "picture", True, True
    # By suffix, since camera raw files begin as TIFF does.
    if content.kind == "picture" or content.name.endswith("picture"):
        return f"{suffix[1:].upper()} picture".strip(), False, True
    return (suffix or "other") + " file" if content.kind == "other" else _OTHERS[content.kind], False, False


def _counted(kind: str, files: list[Path]) -> str:
    """`2 videos (a.mp4, b.mp4)`."""
    names = ", ".join(file.name for file in files[:_NAMED]) + (", ..." if len(files) > _NAMED else "")
    plural = "" if len(files) == 1 else "s"
    noun = f"link{plural} to a folder" if kind == "link to a folder" else f"{kind}{plural}"
    return f"{len(files)} {noun} ({names})"


def _natural(path: Path) -> list[tuple[int, int, str]]:
    """Sort key under which numbers count as numbers: frame2 comes before frame10."""
    parts = re.split(r"(\d+)", path.as_posix().casefold())
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part]
