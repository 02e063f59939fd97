"""The augmentation of CE2P's first version and M-CE2P: mirror, scale by one of twelve factors, pad, crop.

Source: `LIPParsingEdgeDataSet` in dataset/datasets.py of M-CE2P. Padding goes to the right and below: labels 255,
edges 0 (they count as "no edge"), and the picture 0 after the mean was subtracted, which is `padding_colour` here,
rounded to whole grey levels. The crop may lie anywhere.

That code reads edges from files, made beforehand at the picture's own size, so they are made there here, before the
mirror, and scaled along with the labels (nearest pixel): unlike elsewhere their width scales too. Those files are not
published; ours hold what `edge_map` makes. Its files of mirrored labels become the data set's left/right pairs.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ..errors import ConfigError
from ..labels import LabelSet
from .base import Augmented, Pixels, check_colour, check_number
from .edge_maps import edge_map
from .geometric_steps import mirror, pad


@dataclass(frozen=True)
class CropAugmentation:
    """The pipeline above. The defaults are the published values."""

    size: tuple[int, int]
    """(h, w) of the crop in pixels."""
    label_set: LabelSet
    scales: tuple[float, ...] = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6)
    """Factors on the picture's own size, one of which is drawn."""
    flip_probability: float = 0.5
    padding_colour: tuple[int, int, int] = (104, 117, 123)
    """BGR."""

    def __post_init__(self) -> None:
        check_number("flip_probability", self.flip_probability, 0, 1)
        if not self.scales:
            raise ConfigError("augmentation: scales is empty, expected at least one factor")
        for scale in self.scales:
            check_number("scales", scale, 0.05, 20)
        check_colour("padding_colour", self.padding_colour)

    def __call__(self, image: Pixels, labels: Pixels, rng: np.random.Generator) -> Augmented:
        """See `Augmentation`."""
        edges = edge_map(labels)
        if rng.random() < self.flip_probability:
            image, labels = mirror(image, labels, self.label_set)
            edges = np.asarray(cv2.flip(edges, 1), np.uint8)
        image, labels, edges = _scaled(
            Augmented(image, labels, edges), float(self.scales[rng.integers(len(self.scales))])
        )
        spare = [have - want for have, want in zip(labels.shape, self.size, strict=True)]
        top, left = (int(rng.integers(max(0, room) + 1)) for room in spare)
        window = (slice(top, top + self.size[0]), slice(left, left + self.size[1]))
        sides = (0, max(0, -spare[0]), 0, max(0, -spare[1]))
        return pad(Augmented(image[window], labels[window], edges[window]), sides, self.padding_colour, 0)


def _scaled(sample: Augmented, factor: float) -> Augmented:
    """Labels and edges take the nearest pixel. Sizes are rounded, but the factor is kept as it is (OpenCV's fx, fy)."""
    methods = (cv2.INTER_LINEAR, cv2.INTER_NEAREST, cv2.INTER_NEAREST)
    return Augmented(
        *(
            np.asarray(cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=method), np.uint8)
            for pixels, method in zip(sample, methods, strict=True)
        )
    )
