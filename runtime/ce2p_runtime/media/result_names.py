"""What the results of a source are called, and where they go.

A name depends on the source's own place and name only, never on what else is there or was parsed before:

    photos/summer/a.jpg  ->  OUT/summer/a_labels.png, a_overlay.jpg, a_cutout.png, a_masks/   (source: photos)
    walk.mp4             ->  OUT/walk_labels.mkv, walk_overlay.mp4

The suffix is left out, since what reads results looks for `a_labels.png`. So a.jpg and a.png side by side would share
their names: that is refused before anything is parsed, and `whole_names` keeps them apart (a.jpg_labels.png).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ..errors import MediaError
from .listing import PICTURE_SUFFIXES, VIDEO_SUFFIXES
from .sources import Source

SAVE_CHOICES = ("overlay", "labels", "masks", "cutout")

_OF_PICTURES = {"overlay": "_overlay.jpg", "labels": "_labels.png", "masks": "_masks", "cutout": "_cutout.png"}
_OF_VIDEOS = {"overlay": "_overlay.mp4", "labels": "_labels.mkv"}

_FILES_OF_PICTURES = {"overlay": (".jpg", ".jpeg", ".png", ".webp"), "labels": (".png",), "cutout": (".png",)}
_FILES_OF_VIDEOS = {"overlay": (".mp4", ".m4v", ".mov", ".mkv", ".webm"), "labels": (".mkv",)}
"""What a single result may be called."""


class ResultNames:
    """The files of each source's results, by kind."""

    def __init__(self, output: Path, source: Source, save: frozenset[str], *, whole_names: bool = False) -> None:
        """Results go below `output` as the pictures lie below `source.base`.

        `save` holds some of SAVE_CHOICES. Raises MediaError for others, and for kinds that videos do not have.
        """
        _check_save(save, source)
        self._output, self._base, self._save = output, source.base, save
        self._endings = _OF_VIDEOS if source.kind == "video" else _OF_PICTURES
        self._whole_names = whole_names

    def of(self, file: Path) -> dict[str, Path]:
        """Kind -> file (for masks a folder)."""
        folder = self._output / file.parent.relative_to(self._base)
        name = file.name if self._whole_names else file.stem
        return {kind: folder / (name + ending) for kind, ending in self._endings.items() if kind in self._save}

    def of_all(self, files: Iterable[Path]) -> dict[Path, dict[str, Path]]:
        """The same for many. Raises MediaError where two would share a name."""
        targets: dict[Path, dict[str, Path]] = {}
        owners: dict[Path, Path] = {}
        for file in files:
            targets[file] = self.of(file)
            for target in targets[file].values():
                if target in owners:
                    raise MediaError(
                        f"{file}: its results would get the same names as those of {owners[target]}; keep their "
                        "suffixes with --whole-names, or parse the two into different folders"
                    )
                owners[target] = file
        return targets


def check_save(save: frozenset[str]) -> None:
    """Raises MediaError for nothing, and for kinds of results that there are not."""
    unknown = save - set(SAVE_CHOICES)
    if unknown or not save:
        raise MediaError(
            f"cannot save {', '.join(sorted(unknown)) or 'nothing'}; expected some of {', '.join(SAVE_CHOICES)}"
        )


def _check_save(save: frozenset[str], source: Source) -> None:
    check_save(save)
    only_pictures = save - set(_OF_VIDEOS)
    if source.kind == "video" and only_pictures:
        raise MediaError(
            f"{source.name}: {' and '.join(sorted(only_pictures))} can be saved of pictures only; use labels, which "
            "holds every class"
        )


def names_one_file(output: Path) -> bool:
    """Whether an output is meant to be one file: by its suffix, unless a folder of that name is there."""
    return output.suffix.lower() in (*PICTURE_SUFFIXES, *VIDEO_SUFFIXES) and not output.is_dir()


def single_result(output: Path, save: frozenset[str] | None, source: Source) -> dict[str, Path]:
    """Kind -> the one file `output`. `save` None: the kind that fits its suffix.

    Raises MediaError where a kind asked for does not fit, where several do, and for sources of several pictures.
    """
    if source.kind in ("folder", "glob"):
        raise MediaError(f"{output}: is one file by its suffix, {source.name} is several pictures; name a folder")
    fitting = _FILES_OF_VIDEOS if source.kind == "video" else _FILES_OF_PICTURES
    kinds = [kind for kind in fitting if output.suffix.lower() in fitting[kind] and (save is None or kind in save)]
    if len(kinds) == 1 and len(save or kinds) == 1:
        return {kinds[0]: output}
    choices = ", or ".join(f"--save {kind} ({' '.join(suffixes)})" for kind, suffixes in fitting.items())
    raise MediaError(
        f"{output}: is one file by its suffix, so expected one kind of result that fits: {choices}; or name a folder"
    )
