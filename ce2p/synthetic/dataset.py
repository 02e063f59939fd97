"""Synthetic data sets: samples in memory, or a folder laid out as LIP was published.

A LIP folder holds `{train,val}_images/*.jpg`, `{train,val}_segmentations/*.png` (grey pictures of class ids)
and `{train,val}_id.txt` with one stem per line.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Literal, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from .scene import Scene, render, sample_scene

Split: TypeAlias = Literal["train", "val"]
Progress: TypeAlias = Callable[[int, int], None]
"""Called with how many samples are written and how many there will be."""

_SPLITS: Final[dict[Split, int]] = {"train": 0, "val": 1}
_JPEG_QUALITY: Final = 95


def sample_at(seed: int, index: int, size: tuple[int, int], split: Split = "train") -> Scene:
    """Return sample `index` of a data set, whatever was drawn before. `size` is (height, width).

    Raises `ValueError` for a negative `seed` or `index`.
    """
    return sample_scene(np.random.default_rng([seed, _SPLITS[split], index]), size)


def iter_samples(
    seed: int, count: int, size: tuple[int, int], *, split: Split = "train", start: int = 0
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """Yield `count` pictures, uint8 BGR (H, W, 3), with LIP labels, uint8 (H, W), from index `start` on.

    The splits draw from different streams: with the same seed they share no person and no place.
    """
    for index in range(start, start + count):
        yield render(sample_at(seed, index, size, split))


def write_lip_folder(
    root: Path,
    *,
    train: int,
    val: int,
    size: tuple[int, int],
    seed: int = 0,
    progress: Progress | None = None,
) -> None:
    """Write `train` and `val` samples of `size` = (height, width) into the new folder `root`.

    Everything is written into a folder beside `root` and renamed when complete, so that an interrupted run
    leaves no half data set. Raises `FileExistsError` if `root` exists and is not an empty folder, `OSError`
    if a file cannot be written.
    """
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise FileExistsError(f"{root} exists already; the synthetic data set wants a new folder")
    root.parent.mkdir(parents=True, exist_ok=True)
    partial = root.parent / f".{root.name}.partial-{os.getpid()}"
    partial.mkdir()
    try:
        counts: dict[Split, int] = {"train": train, "val": val}
        done = 0
        for split, count in counts.items():
            for _ in _write_split(partial, split, count, size, seed):
                done += 1
                if progress:
                    progress(done, train + val)
        if root.exists():
            root.rmdir()  # empty; not every system renames over a folder
        partial.rename(root)
    except BaseException:  # a keyboard interrupt too must not leave the partial folder
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _write_split(folder: Path, split: Split, count: int, size: tuple[int, int], seed: int) -> Iterator[str]:
    """Write one split and yield each stem once its two files are there."""
    images, segmentations = folder / f"{split}_images", folder / f"{split}_segmentations"
    images.mkdir()
    segmentations.mkdir()
    stems = [f"{split}_{index:06d}" for index in range(count)]
    for stem, (image, labels) in zip(stems, iter_samples(seed, count, size, split=split), strict=True):
        _write(images / f"{stem}.jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
        _write(segmentations / f"{stem}.png", labels, [])
        yield stem
    (folder / f"{split}_id.txt").write_text("".join(f"{stem}\n" for stem in stems), encoding="ascii")


def _write(path: Path, picture: NDArray[np.uint8], options: list[int]) -> None:
    # cv2.imwrite fails silently and, on Windows, for names outside the code page; Path does neither.
    done, data = cv2.imencode(path.suffix, picture, options)
    if not done:
        raise OSError(f"cannot encode {path.name}")
    path.write_bytes(data.tobytes())
