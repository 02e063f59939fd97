"""Where each data set keeps its pictures and annotations: the published folder layouts, listed but not read.

============  =========================================================================================================
lip           `{split}_images/*.jpg`, `{split}_segmentations/*.png`, `{split}_id.txt` (LIP; CE2P's and SCHP's READMEs).
              Test pictures lie in `test_images` (CE2P) or `testing_images` (sssegmentation).
custom        as lip, pictures may be `.png` or `.jpeg` too; `classes.txt` beside them (ce2p.labels.read_label_set).
cihp          `{Training,Validation,Testing}/{Images,Category_ids,Human_ids,Instance_ids}` with `{split}_id.txt` inside;
              7-digit ids (shorter ones are padded, as sssegmentation does). Also inside a folder
              `instance-level_human_parsing`, as in M-CE2P's paths.
atr           `JPEGImages`, `SegmentationClassAug`, `{split}_id.txt` (sssegmentation).
ppp           either as lip, which is how SCHP's only data set class reads it, or as the data set is published:
              `JPEGImages`, `pascal_person_part_gt`, `pascal_person_part_trainval_list/{split}.txt`.
voc           `JPEGImages`, `SegmentationClass`, `ImageSets/Segmentation/{split}.txt`; root is `VOCdevkit/VOC2012` or a
              folder that contains it. Training takes `trainaug.txt` where it is there, with `SegmentationClassAug` or,
              as sssegmentation packs it, `SegmentationClass`; else `train.txt`. `describe` says which.
============  =========================================================================================================

Annotations are optional in the test split (all pictures have one, or none), and so are CIHP's `Human_ids` and
`Instance_ids`, by folder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ..errors import DataError
from .id_lists import read_id_list, repeated

__all__ = [
    "CUSTOM_LAYOUT",
    "DATASETS",
    "SPLITS",
    "Sample",
    "describe",
    "has_split",
    "not_recognised",
    "open_split",
    "recognise",
    "voc_folder",
]

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
    """Its id, as listed; CIHP's padded to seven digits."""
    image: Path
    labels: Path | None
    """Class ids; None where the split has no annotations (test)."""
    humans: Path | None = None
    """CIHP's `Human_ids`: person id per pixel, 0 = none."""
    instances: Path | None = None
    """CIHP's `Instance_ids`: part-instance id per pixel, 0 = none."""


@dataclass(frozen=True)
class _Folders:
    """What one split of a data set is made of. Whether any of it exists is not said."""

    id_list: Path
    images: Path
    labels: Path
    humans: Path | None = None
    instances: Path | None = None
    suffixes: tuple[str, ...] = (".jpg",)
    digits: int = 0
    """Ids are padded with zeros to that many."""


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
    samples = tuple(
        Sample(
            name,
            folders.images / _picture_name(name, images, folders),
            folders.labels / f"{name}.png" if annotated else None,
            _beside(folders.humans, name),
            _beside(folders.instances, name),
        )
        for name in names
    )
    if check_files:
        _require_files(samples, folders, dataset)
    return samples


def describe(dataset: str, root: Path, split: str) -> str:
    """Which list and which folders `open_split` takes, in words. Raises DataError as it does."""
    folders = _find(dataset, root, split)
    used = [folders.labels, folders.humans, folders.instances]
    home = folders.id_list.parent if dataset == "cihp" else folders.images.parent
    annotations = ", ".join(folder.name for folder in used if folder and folder.is_dir()) or "no annotations"
    return f"{folders.id_list.relative_to(home).as_posix()} with {folders.images.name}, {annotations} in {home}"


def has_split(dataset: str, root: Path, split: str) -> bool:
    """Whether the id list of a split is there; nothing else is looked at."""
    return _layout(dataset)(root, split).id_list.is_file()


def recognise(root: Path) -> str | None:
    """The data set whose layout a folder has, or None. Pascal-Person-Part stored like LIP is taken for LIP."""
    if _inside(root, _CIHP_HOMES, "Training", "Validation", "Testing") is not None:
        return "cihp"
    if _inside(root, _VOC_HOMES, "ImageSets/Segmentation") is not None:
        return "voc"
    if (root / "pascal_person_part_gt").is_dir():
        return "ppp"
    if (root / "JPEGImages").is_dir() and (root / "SegmentationClassAug").is_dir():
        return "atr"
    if any((root / f"{split}_images").is_dir() for split in SPLITS):
        return "custom" if (root / "classes.txt").is_file() else "lip"
    return None


def not_recognised(root: Path) -> str:
    """The message about a folder that `recognise` does not know."""
    return (
        f"{root}: has the layout of no data set we know; {_contents(root)}; name a published one with --dataset "
        f"({', '.join(DATASETS[:-1])}), or bring classes of your own as {CUSTOM_LAYOUT}"
    )


def voc_folder(root: Path) -> Path:
    """The folder VOC2012 that `root` is or contains. Raises DataError."""
    home = _inside(root, _VOC_HOMES, "ImageSets/Segmentation")
    if home is None:
        what = f"holds no ImageSets/Segmentation; {_contents(root)}" if root.is_dir() else "no such folder"
        raise DataError(f"{root}: {what}; expected the folder VOC2012 or one that contains it")
    return home


_CIHP_HOMES = ("", "instance-level_human_parsing")
_VOC_HOMES = ("", "VOC2012", "VOCdevkit/VOC2012")


def _inside(root: Path, homes: Iterable[str], *marks: str) -> Path | None:
    """The first of the folders root/home that holds one of the marks."""
    return next((root / home for home in homes if any((root / home / mark).is_dir() for mark in marks)), None)


def _lip(root: Path, split: str, suffixes: tuple[str, ...] = (".jpg",)) -> _Folders:
    def folder(kind: str) -> Path:
        other = root / f"testing_{kind}"
        return other if split == "test" and other.is_dir() else root / f"{split}_{kind}"

    return _Folders(root / f"{split}_id.txt", folder("images"), folder("segmentations"), suffixes=suffixes)


def _cihp(root: Path, split: str) -> _Folders:
    home = _inside(root, _CIHP_HOMES, "Training", "Validation", "Testing") or root
    part = home / {"train": "Training", "val": "Validation", "test": "Testing"}[split]
    humans, instances = (part / name if (part / name).is_dir() else None for name in ("Human_ids", "Instance_ids"))
    return _Folders(part / f"{split}_id.txt", part / "Images", part / "Category_ids", humans, instances, digits=7)


def _atr(root: Path, split: str) -> _Folders:
    return _Folders(root / f"{split}_id.txt", root / "JPEGImages", root / "SegmentationClassAug")


def _ppp(root: Path, split: str) -> _Folders:
    if (root / "pascal_person_part_gt").is_dir():
        lists = root / "pascal_person_part_trainval_list"
        return _Folders(lists / f"{split}.txt", root / "JPEGImages", root / "pascal_person_part_gt")
    return _lip(root, split)


def _voc(root: Path, split: str) -> _Folders:
    # torchvision.datasets.VOCSegmentation lists the same files, but only under VOCdevkit, only from SegmentationClass,
    # knows no trainaug list and imports torch; only its folder structure is taken over.
    home = _inside(root, _VOC_HOMES, "ImageSets/Segmentation") or root
    lists, augmented, plain = home / "ImageSets/Segmentation", home / "SegmentationClassAug", home / "SegmentationClass"
    if split == "train" and (lists / "trainaug.txt").is_file():
        return _Folders(lists / "trainaug.txt", home / "JPEGImages", augmented if augmented.is_dir() else plain)
    return _Folders(lists / f"{split}.txt", home / "JPEGImages", plain)


_LAYOUTS: dict[str, Callable[[Path, str], _Folders]] = {
    "lip": _lip,
    "cihp": _cihp,
    "atr": _atr,
    "ppp": _ppp,
    "voc": _voc,
    "custom": partial(_lip, suffixes=(".jpg", ".jpeg", ".png")),
}
DATASETS = tuple(_LAYOUTS)
"""The data sets whose folders can be opened."""

_STORED_ALIKE = {"lip", "custom", "ppp"}
"""Data sets that one folder can be opened as: nothing in it tells them apart for certain."""


def _layout(dataset: str) -> Callable[[Path, str], _Folders]:
    if dataset not in _LAYOUTS:
        raise DataError(f"no folder layout known for data set {dataset!r}; expected one of {', '.join(DATASETS)}")
    return _LAYOUTS[dataset]


def _find(dataset: str, root: Path, split: str) -> _Folders:
    """The folders of a split whose id list and picture folder exist. Raises DataError."""
    layout = _layout(dataset)
    if split not in SPLITS:
        raise DataError(f"no split {split!r}; expected train, val or test")
    if not root.is_dir():
        what = "is a file" if root.exists() else "no such folder"
        raise DataError(f"{root}: {what}, expected the folder of the data set {dataset}; unpack it there or correct it")
    folders = layout(root, split)
    for path, there in ((folders.id_list, folders.id_list.is_file()), (folders.images, folders.images.is_dir())):
        if not there:
            raise DataError(_not_there(path, dataset, root, split))
    return folders


def _not_there(path: Path, dataset: str, root: Path, split: str) -> str:
    """The message for an id list or picture folder that is missing."""
    actual = recognise(root)
    if actual and actual != dataset and not {actual, dataset} <= _STORED_ALIKE:
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


def _picture_name(name: str, present: frozenset[str], folders: _Folders) -> str:
    """The picture's file name. Where several suffixes are allowed, the one that is there; two are an error."""
    found = [name + suffix for suffix in folders.suffixes if name + suffix in present]
    if len(found) > 1:
        raise DataError(f"{folders.images}: holds {' and '.join(found)}, expected one picture per id; remove one")
    return found[0] if found else name + folders.suffixes[0]


def _beside(folder: Path | None, name: str) -> Path | None:
    return folder / f"{name}.png" if folder else None


def _require_files(samples: Sequence[Sample], folders: _Folders, dataset: str) -> None:
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
            cure = "complete the data set or shorten the list"
            if dataset == "voc" and folders.id_list.name == "trainaug.txt" and kind == "annotation":
                cure = "make the annotations with `ce2p data sbd`, or remove trainaug.txt to train on train.txt"
            raise DataError(
                f"{missing[0]}: no such file; {len(missing)} of the {len(wanted)} {kind}s that {folders.id_list} lists "
                f"are missing; {cure}"
            )
