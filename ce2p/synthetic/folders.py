"""Synthetic data sets as folders, laid out as the real ones are published (`Layout` in each data set's module)."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from ce2p_runtime.base.progress import Progress, without_progress
from ce2p_runtime.label_conventions import PASCAL_PALETTE
from ce2p_runtime.media.png import encode_png

from ..datasets import DATASETS
from ..errors import ConfigError
from .annotated import SYNTHETIC, Annotated, Split, annotated_at

_JPEG_QUALITY: Final = 95
_MOST_PER_SPLIT: Final = 1_000_000


def write_dataset(
    root: Path,
    dataset: str,
    *,
    train: int,
    val: int,
    size: tuple[int, int],
    seed: int = 0,
    whole_figures: bool = False,
    progress: Progress = without_progress,
) -> None:
    """Write `train` and `val` samples of `size` = (height, width) into the new folder `root`.

    The same arguments give the same bytes (with one version of OpenCV and Pillow); sample i is the same however many
    there are. With `whole_figures` nobody is cropped below the hips, where now and then a dress cannot be told from a
    top.

    Everything is written into a folder beside `root` and renamed when complete, so that an interrupted run leaves no
    half data set. Raises `ConfigError` for a data set that there are no synthetic people for, `ValueError` for a
    negative count or seed, more than a million per split or a size below 16 pixels, `FileExistsError` if `root` exists
    and is not an empty folder, `OSError` if a file cannot be written.
    """
    if dataset not in SYNTHETIC:
        raise ConfigError(f"no synthetic people for data set {dataset!r}; expected one of {', '.join(SYNTHETIC)}")
    counts: dict[Split, int] = {"train": train, "val": val}
    for split, count in counts.items():
        if not 0 <= count <= _MOST_PER_SPLIT:
            raise ValueError(f"{count} {split} pictures, expected 0 to {_MOST_PER_SPLIT}")
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise FileExistsError(f"{root} exists already; the synthetic data set wants a new folder")
    root.parent.mkdir(parents=True, exist_ok=True)
    partial = root.parent / f".{root.name}.partial-{os.getpid()}"
    partial.mkdir()
    try:
        done = 0
        for split, count in counts.items():
            samples = (annotated_at(dataset, seed, i, size, split, whole_figures=whole_figures) for i in range(count))
            for _ in _write_split(partial, dataset, split, samples):
                done += 1
                progress("drawing people", done, train + val)
        if DATASETS[dataset].own_classes:
            _write_lines(partial / "classes.txt", DATASETS[dataset].labels.names)
        if root.exists():
            root.rmdir()  # empty; not every system renames over a folder
        partial.rename(root)
    except BaseException:  # a keyboard interrupt too must not leave the partial folder
        shutil.rmtree(partial, ignore_errors=True)
        raise


write_lip_folder = partial(write_dataset, dataset="lip")
"""`write_dataset` for LIP."""


def _write_split(root: Path, dataset: str, split: Split, samples: Iterator[Annotated]) -> Iterator[str]:
    """Write one split and yield each name once its files are there; the list of names comes last."""
    entry = DATASETS[dataset]
    if entry.layout is None or entry.people is None:
        raise ConfigError(f"{dataset}: synthetic people want a folder layout, and the data set has none")
    files = entry.layout.folders(root / entry.layout.home, split)
    folders = [folder for folder in (files.labels, files.humans, files.instances) if folder]
    for folder in (files.images, *folders):
        folder.mkdir(parents=True, exist_ok=True)
    names = []
    for index, (image, *maps) in enumerate(samples):
        # No two of a data set are the same, though splits may have folders of their own.
        number = (split == "val") * _MOST_PER_SPLIT + index + 1
        name = f"{number:0{files.digits}d}" if files.digits else f"{split}_{index:06d}"
        photo = _encoded(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
        (files.images / f"{name}.jpg").write_bytes(photo)
        for folder, ids in zip(folders, (ids for ids in maps if ids is not None), strict=True):
            data = encode_png(ids, PASCAL_PALETTE) if entry.people.palette else _encoded(".png", ids, [])
            (folder / f"{name}.png").write_bytes(data)
        names.append(name)
        yield name
    _write_lines(files.id_list, names)


def _encoded(suffix: str, picture: NDArray[np.uint8], options: list[int]) -> bytes:
    # cv2.imwrite fails silently and, on Windows, for names outside the code page; Path does neither.
    done, data = cv2.imencode(suffix, picture, options)
    if not done:
        raise OSError(f"cannot encode a {suffix} file")
    return bytes(data)


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="ascii", newline="\n") as file:  # the same bytes on every system
        file.writelines(f"{line}\n" for line in lines)
