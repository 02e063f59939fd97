"""Small label maps and pictures, drawn with characters."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def labels_of(*rows: str) -> NDArray[np.uint8]:
    """One character per pixel: 0-9, a = 10 ... k = 20, and `.` = 255."""
    return np.array([[255 if cell == "." else _DIGITS.index(cell) for cell in row] for row in rows], np.uint8)


def picture_of(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A BGR picture whose three channels say 10 times the label, 5 times the label, and 200 minus the label."""
    return np.stack([labels * np.uint8(10), labels * np.uint8(5), np.uint8(200) - labels], axis=-1)


def scene(height: int, width: int, seed: int = 0, classes: int = 20) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A smooth BGR picture and labels in blocks of a few pixels, both random."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    waves = [128 + 100 * np.sin(x / rng.uniform(5, 20) + y / rng.uniform(5, 20) + c) for c in range(3)]
    blocks = rng.integers(0, classes, (-(-height // 8), -(-width // 8)))
    labels = np.kron(blocks, np.ones((8, 8), int))[:height, :width]
    return np.stack(waves, axis=-1).astype(np.uint8), labels.astype(np.uint8)


class Script:
    """A stand-in for numpy's Generator that gives the values it was told, method by method, and counts none twice."""

    def __init__(
        self,
        random: Iterable[float] = (),
        integers: Iterable[int] = (),
        uniform: Iterable[float] = (),
        standard_normal: Iterable[float] = (),
    ) -> None:
        self._left = {
            "random": list(random),
            "integers": list(integers),
            "uniform": list(uniform),
            "standard_normal": list(standard_normal),
        }

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda *_: self._left[name].pop(0)

    def left(self) -> int:
        """How many values nobody asked for."""
        return sum(map(len, self._left.values()))


def within_binomial_bounds(found: int, draws: int, probability: float) -> bool:
    """Whether a count lies within four standard deviations of what `draws` draws of `probability` give."""
    return abs(found - draws * probability) <= 4 * (draws * probability * (1 - probability)) ** 0.5
