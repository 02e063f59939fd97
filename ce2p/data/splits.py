"""The samples of a data set's splits, listed but not read, and which data set a folder is.

Where each keeps its files says its module in `ce2p.datasets`. Annotations are optional in the test split (all pictures
have one, or none), and so are maps of people and part instances, by folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..datasets import DATASETS, names_of
from ..datasets.entry import Folders, Layout
from ..datasets.voc import voc_home
from ..errors import DataError
from .id_lists import read_id_list, repeated

SPLITS = ("train", "val", "test")

CUSTOM_LAYOUT = (
    "classes.txt (one name per line, the background first), train_id.txt (one id per line), train_images/ID.jpg (or "
    ".png), train_segmentations/ID.png (grey or palette, pixel = number of the class from 0, 255 = ignore), and the "
    "same for val"
)
"""What a data set with classes of one's own consists of."""


@dataclass(frozen=True)
class Sample:
    """One picture and what belongs to it."""

    name: str
    """Its id, as listed; padded with zeros where ids are numbers."""
    image: Path
    labels: Path | None
    """Class ids; None where the split has no annotations (test)."""
    humans: Path | None = None
    """Person id per pixel, 0 = none."""
    instances: Path | None = None
    """Part-instance id per pixel, 0 = none."""


def open_split(dataset: str, root: Path, split: str, *, check_files: bool = True) -> tuple[Sample, ...]:
    """The samples of one split ("train", "val" or "test"), in the order of its id list.

    With `check_files` an id listed twice and a listed file that is not there are errors; without, they are left for
    `ce2p.data.check.check_split` to count. Raises DataError: unknown data set or split, no such folder, no or an empty
    id list, another data set's layout.
    """
    folders = _find(dataset, root, split)
    names = [name.zfill(folders.digits) for name in read_id_list(folders.id_list, folders.images.name)]
    if check_files and (twice := repeated(names)):
        raise DataError(
            f"{folders.id_list}: lists {twice[0]} more than once ({len(twice)} such ids), expected each id once; "
            f"remove the repetitions"
        )
    images, labels = _entries(folders.images), _entries(folders.labels)
    annotated = split != "test" or any(f"{name}.png" in labels for name in names)
    maps = (folders.labels if annotated else None, _there(folders.humans), _there(folders.instances))
    samples = tuple(
        Sample(
            name,
            folders.images / _picture_name(name, images, folders),
            *(folder / f"{name}.png" if folder else None for folder in maps),
        )
        for name in names
    )
    if check_files:
        _require_files(samples, folders)
    return samples


def describe(dataset: str, root: Path, split: str) -> str:
    """Which list and which folders `open_split` takes, in words. Raises DataError as it does."""
    folders = _find(dataset, root, split)
    used = [_there(folder) for folder in (folders.labels, folders.humans, folders.instances)]
    home = folders.images.parent
    annotations = ", ".join(folder.name for folder in used if folder) or "no annotations"
    return f"{folders.id_list.relative_to(home).as_posix()} with {folders.images.name}, {annotations} in {home}"


def has_split(dataset: str, root: Path, split: str) -> bool:
    """Whether the id list of a split is there; nothing else is looked at."""
    return _layout(dataset).folders(root, split).id_list.is_file()


def recognise(root: Path) -> str | None:
    """The data set whose layout a folder has, or None. Pascal-Person-Part stored like LIP is taken for LIP."""
    found = [name for name, entry in DATASETS.items() if entry.layout and entry.layout.recognised(root)]
    return found[-1] if found else None


def stored_alike(root: Path, dataset: str, other: str) -> bool:
    """Whether the folder can be opened as either data set: nothing in it tells the two apart for certain."""
    layouts = [DATASETS[name].layout if name in DATASETS else None for name in (dataset, other)]
    found = {
        (folders.id_list, folders.images, folders.labels)
        for folders in (layout.folders(root, "train") for layout in layouts if layout)
    }
    return None not in layouts and len(found) == 1


def not_recognised(root: Path) -> str:
    """The message about a folder that `recognise` does not know."""
    return (
        f"{root}: has the layout of no data set we know; {_contents(root)}; name a published one with --dataset "
        f"({', '.join(names_of(layout=True, published=True))}), or bring classes of your own as {CUSTOM_LAYOUT}"
    )


def voc_folder(root: Path) -> Path:
    """The folder VOC2012 that `root` is or contains. Raises DataError."""
    home = voc_home(root)
    if home is None:
        what = f"holds no ImageSets/Segmentation; {_contents(root)}" if root.is_dir() else "no such folder"
        raise DataError(f"{root}: {what}; expected the folder VOC2012 or one that contains it")
    return home


def _layout(dataset: str) -> Layout:
    layout = DATASETS[dataset].layout if dataset in DATASETS else None
    if layout is None:
        known = ", ".join(names_of(layout=True))
        raise DataError(f"no folder layout known for data set {dataset!r}; expected one of {known}")
    return layout


def _find(dataset: str, root: Path, split: str) -> Folders:
    """The folders of a split whose id list and picture folder exist. Raises DataError."""
    layout = _layout(dataset)
    if split not in SPLITS:
        raise DataError(f"no split {split!r}; expected train, val or test")
    if not root.is_dir():
        what = "is a file" if root.exists() else "no such folder"
        raise DataError(f"{root}: {what}, expected the folder of the data set {dataset}; unpack it there or correct it")
    folders = layout.folders(root, split)
    for path, there in ((folders.id_list, folders.id_list.is_file()), (folders.images, folders.images.is_dir())):
        if not there:
            raise DataError(_not_there(path, dataset, root, split))
    return folders


def _not_there(path: Path, dataset: str, root: Path, split: str) -> str:
    """The message for an id list or picture folder that is missing."""
    actual = recognise(root)
    if actual and actual != dataset and not stored_alike(root, actual, dataset):
        return f"{root}: has the layout of data set {actual}, expected {dataset}; use --dataset {actual}, or correct it"
    place = next(parent for parent in path.parents if parent.is_dir())
    kind = "id list (one per line)" if path.suffix == ".txt" else "pictures"
    return (
        f"{path}: not there, expected the {kind} of the {split} split of {dataset}; {_contents(place)}; complete or "
        f"correct the folder"
    )


def _contents(folder: Path, shown: int = 8) -> str:
    names = sorted(f"{entry.name}/" if entry.is_dir() else entry.name for entry in folder.iterdir())
    if not names:
        return f"{folder} is empty"
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return f"{folder} holds {', '.join(names[:shown])}{more}"


def _entries(folder: Path) -> frozenset[str]:
    """Names in a folder, read once: asking for each of 30,000 files by itself is slow on network disks."""
    return frozenset(entry.name for entry in folder.iterdir()) if folder.is_dir() else frozenset()


def _picture_name(name: str, present: frozenset[str], folders: Folders) -> str:
    """The picture's file name. Where several suffixes are allowed, the one that is there; two are an error."""
    found = [name + suffix for suffix in folders.suffixes if name + suffix in present]
    if len(found) > 1:
        raise DataError(f"{folders.images}: holds {' and '.join(found)}, expected one picture per id; remove one")
    return found[0] if found else name + folders.suffixes[0]


def _there(folder: Path | None) -> Path | None:
    return folder if folder and folder.is_dir() else None


def _require_files(samples: Sequence[Sample], folders: Folders) -> None:
    """Raise DataError for the first listed file that is missing, with how many are."""
    kinds: list[tuple[str, list[Path | None]]] = [
        ("picture", [sample.image for sample in samples]),
        ("annotation", [sample.labels for sample in samples]),
        ("human id map", [sample.humans for sample in samples]),
        ("instance id map", [sample.instances for sample in samples]),
    ]
    for kind, paths in kinds:
        wanted = [path for path in paths if path]
        present = _entries(wanted[0].parent) if wanted else frozenset()
        missing = [path for path in wanted if path.name not in present]
        if missing:
            cure = folders.cure if kind == "annotation" else Folders.cure
            raise DataError(
                f"{missing[0]}: no such file; {len(missing)} of the {len(wanted)} {kind}s that {folders.id_list} lists "
                f"are missing; {cure}"
            )
