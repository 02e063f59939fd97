"""No augmentation: the picture in the input as evaluation puts it there.

`affine` is the whole-picture crop of CE2P and SCHP, `resize` the stretch of M-CE2P and sssegmentation; which one a
family has is `ce2p.families`. Meant for statistics over pictures as the network will meet them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..errors import ConfigError
from ..labels import LabelSet
from .affine import crop_matrix
from .base import Augmented, Pixels
from .edge_maps import edge_map
from .geometric_steps import resize, warp


@dataclass(frozen=True)
class PlainAugmentation:
    """Nothing random: the same sample every time."""

    size: tuple[int, int]
    """(h, w) of the input in pixels."""
    label_set: LabelSet
    geometry: Literal["affine", "resize"] = "affine"
    half_pixel: bool = False
    """Affine: CE2P's convention of where the input's middle is; SCHP's if False."""

    def __post_init__(self) -> None:
        if self.geometry not in ("affine", "resize"):
            raise ConfigError(f"augmentation: geometry is {self.geometry!r}, expected 'affine' or 'resize'")

    def __call__(self, image: Pixels, labels: Pixels, rng: np.random.Generator) -> Augmented:
        """See `Augmentation`; `rng` is not used."""
        if self.geometry == "affine":
            matrix = crop_matrix(labels.shape, self.size, half_pixel=self.half_pixel)
            image, labels = warp(image, labels, matrix, self.size)
        else:
            image, labels = resize(image, labels, self.size)
        return Augmented(image, labels, edge_map(labels))
