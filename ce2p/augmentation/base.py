"""What an augmentation is, and the checks its parameters share."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError

Pixels: TypeAlias = NDArray[np.uint8]


class Augmented(NamedTuple):
    """One training sample, before it is normalised (which happens later, on the device)."""

    image: Pixels
    """uint8 BGR [h, w, 3]."""
    labels: Pixels
    """uint8 [h, w], class ids; 255 is ignored."""
    edges: Pixels
    """uint8 [h, w]: 1 along borders, 0 elsewhere; 255 where the edge loss ignores the pixel."""


class Augmentation(Protocol):
    """Turns a picture of any size into a training sample of one size."""

    def __call__(self, image: Pixels, labels: Pixels, rng: np.random.Generator) -> Augmented:
        """`image` uint8 BGR [H, W, 3] and `labels` uint8 [H, W], neither of which it changes, become a sample.

        Every random choice is drawn from `rng` and from nothing else.
        """
        ...


def check_number(name: str, value: Any, low: float, high: float) -> None:
    """Raise ConfigError unless `value` is a number from `low` to `high`, both included."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise ConfigError(f"augmentation: {name} is {value!r}, expected a number from {low:g} to {high:g}")


def check_range(name: str, value: Any, low: float, high: float) -> None:
    """Raise ConfigError unless `value` is two numbers in rising order, both from `low` to `high`."""
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise ConfigError(f"augmentation: {name} is {value!r}, expected two numbers: least and greatest")
    for number in value:
        check_number(name, number, low, high)
    if value[0] > value[1]:
        raise ConfigError(f"augmentation: {name} is {value!r}, expected the lesser number first")


def check_colour(name: str, value: Any) -> None:
    """Raise ConfigError unless `value` is three whole numbers from 0 to 255."""
    if not isinstance(value, list | tuple) or len(value) != 3 or any(number not in range(256) for number in value):
        raise ConfigError(f"augmentation: {name} is {value!r}, expected three whole numbers from 0 to 255 (BGR)")
