"""Synthetic samples in memory, by seed, split and index. `folders.py` writes them as data sets are published."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .scene import Scene, render, sample_scene

__all__ = ["Split", "iter_samples", "sample_at", "stream"]

Split: TypeAlias = Literal["train", "val"]

_SPLITS: Final[dict[Split, int]] = {"train": 0, "val": 1}


def stream(seed: int, split: Split, index: int) -> np.random.Generator:
    """Return the generator that everything in sample `index` of a split is drawn from, whatever was drawn before.

    Raises `ValueError` for a negative `seed` or `index`.
    """
    return np.random.default_rng([seed, _SPLITS[split], index])


def sample_at(
    seed: int, index: int, size: tuple[int, int], split: Split = "train", *, whole_figures: bool = False
) -> Scene:
    """Return sample `index` of a split. `size` is (height, width); `whole_figures` as in `sample_scene`.

    Raises `ValueError` for a negative `seed` or `index`.
    """
    return sample_scene(stream(seed, split, index), size, whole=whole_figures)


def iter_samples(
    seed: int, count: int, size: tuple[int, int], *, split: Split = "train", start: int = 0
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """Yield `count` pictures, uint8 BGR (H, W, 3), with LIP labels, uint8 (H, W), from index `start` on.

    The splits draw from different streams: with the same seed they share no person and no place.
    """
    for index in range(start, start + count):
        yield render(sample_at(seed, index, size, split))
