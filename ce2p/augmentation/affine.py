"""The augmentation of CE2P and SCHP: the whole picture, scaled, rotated and mirrored by one affine warp.

The box is the whole picture, from pixel 0 to pixel W-1; its shorter side is extended until it has the aspect of the
crop. With (cx, cy) = ((W-1)/2, (H-1)/2) its centre, `sw` its width and `R(r)` the rotation by r, the crop is

    SCHP (half_pixel False)   p' = (w-1)/(f sw) R(-r) (p - c) + ((w-1)/2, (h-1)/2)
    CE2P (half_pixel True)    p' =     w/(f sw) R(-r) (p - c) + (w/2, h/2)

    f = clip(1 + s N(0, 1), 1-s, 1+s)                          s = scale_sigma: above 1 the picture gets smaller
    r = clip(d N(0, 1), -2d, 2d) degrees, or 0                 d = rotation_sigma, with rotation_probability

Sources: `LIPDataSet` in dataset/datasets.py of CE2P and datasets/datasets.py of SCHP, `get_affine_transform` in their
utils/transforms.py, which solves three float32 points instead (less than 1e-3 pixels away from the closed form).
Around its own centre the mirrored picture lies where the picture did, so the mirror goes into the same matrix.
Edges are made from the warped labels. (The options --random-scale and --random-mirror of their scripts do nothing.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..labels import LabelSet
from .base import Augmented, Pixels, check_number
from .edge_maps import edge_map
from .geometric_steps import swap_sides, warp


@dataclass(frozen=True)
class AffineAugmentation:
    """One warp by a random scale, rotation and mirror. The defaults are the published values, with SCHP's geometry."""

    size: tuple[int, int]
    """(h, w) of the crop in pixels."""
    label_set: LabelSet
    scale_sigma: float = 0.25
    """Standard deviation of the box's factor around 1, and the most it may deviate."""
    rotation_sigma: float = 30.0
    """Standard deviation of the angle in degrees; the angle is clipped to twice this."""
    rotation_probability: float = 0.6
    flip_probability: float = 0.5
    half_pixel: bool = False
    """CE2P's convention of where the crop's middle is; SCHP's if False."""

    def __post_init__(self) -> None:
        check_number("scale_sigma", self.scale_sigma, 0, 0.99)
        check_number("rotation_sigma", self.rotation_sigma, 0, 180)
        check_number("rotation_probability", self.rotation_probability, 0, 1)
        check_number("flip_probability", self.flip_probability, 0, 1)

    def __call__(self, image: Pixels, labels: Pixels, rng: np.random.Generator) -> Augmented:
        """See `Augmentation`."""
        spread, turn = self.scale_sigma, self.rotation_sigma
        factor = float(np.clip(1 + spread * rng.standard_normal(), 1 - spread, 1 + spread))
        degrees = float(np.clip(turn * rng.standard_normal(), -2 * turn, 2 * turn))
        if rng.random() >= self.rotation_probability:
            degrees = 0.0
        mirrored = rng.random() < self.flip_probability
        matrix = crop_matrix(
            labels.shape, self.size, half_pixel=self.half_pixel, factor=factor, degrees=degrees, mirrored=mirrored
        )
        image, labels = warp(image, labels, matrix, self.size)
        if mirrored:
            labels = swap_sides(labels, self.label_set)
        return Augmented(image, labels, edge_map(labels))


def crop_matrix(
    picture: tuple[int, ...],
    crop: tuple[int, int],
    *,
    half_pixel: bool,
    factor: float = 1.0,
    degrees: float = 0.0,
    mirrored: bool = False,
) -> NDArray[np.float64]:
    """The 2x3 matrix that takes pixels (x, y) of a picture (H, W) to pixels of the crop (h, w); formula above."""
    height, width = picture
    box_width = max(width - 1.0, (height - 1.0) * crop[1] / crop[0]) or 1.0  # a single pixel has no extent
    across, down = (side if half_pixel else side - 1.0 for side in (crop[1], crop[0]))
    scale = across / (factor * box_width)
    cosine, sine = scale * math.cos(math.radians(degrees)), scale * math.sin(math.radians(degrees))
    linear = np.array([[cosine, sine], [-sine, cosine]])
    if mirrored:
        linear[:, 0] *= -1
    shift = np.array([across / 2, down / 2]) - linear @ np.array([(width - 1) / 2, (height - 1) / 2])
    return np.column_stack([linear, shift])
