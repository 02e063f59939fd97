"""Several people in one place, the nearer ones in front of the farther ones, and who covers each pixel.

The person of a pixel is exact where people overlap: each figure is painted into maps of its own first, so that no
detail of one garment can bleed onto another person's garment of the same class.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .backgrounds import Background, sample_background
from .body import Pose, View
from .figure import Person, figure_shapes, ground_shadow, sample_person
from .motion import sample_pose
from .render import paint
from .scene import UPPER_BODY_SHARE, Light, expose, paint_place, sample_light

PEOPLE: Final = (2, 4)
"""The fewest and the most people in a group."""

_STRAY: Final = 0.22  # how far someone may stand from the middle of their place, in distances between places


@dataclass(frozen=True)
class Figure:
    """One of a group: who, how and where."""

    person: Person
    pose: Pose
    view: View


@dataclass(frozen=True)
class Group:
    """All that a picture of several people depends on. `figures` are from back to front, the rest is as in `Scene`."""

    figures: tuple[Figure, ...]
    background: Background
    light: Light
    size: tuple[int, int]
    noise_seed: int = 0


class GroupPicture(NamedTuple):
    """A rendered group."""

    image: NDArray[np.uint8]
    """BGR (H, W, 3)."""
    labels: NDArray[np.uint8]
    """LIP classes (H, W)."""
    regions: NDArray[np.uint8]
    """`Region` of each pixel (H, W)."""
    humans: NDArray[np.uint8]
    """Whose pixel it is (H, W): 0 nobody's, else 1 to the number of people one can see, from back to front."""


def sample_views(rng: np.random.Generator, count: int, size: tuple[int, int], *, whole: bool = False) -> list[View]:
    """Draw where `count` people stand, from back to front: side by side at uneven distances from the camera.

    Nearer people are larger and stand lower in the picture. As in `sample_view` some pictures are cropped below the
    hips, unless all figures are to be `whole`.
    """
    height, width = size
    cropped = rng.random() < UPPER_BODY_SHARE
    if cropped and not whole:
        nearest = float(rng.uniform(1.2, 1.6)) * height
        ground = float(rng.uniform(0.02, 0.08)) * height + 1.03 * nearest
    else:
        nearest = float(rng.uniform(0.70, 0.95)) * height
        ground = height - float(rng.uniform(0.01, 0.03)) * height
    # From shoulder behind shoulder to an arm's length apart, and never wider than the picture.
    step = min(width / (count + 0.4), float(rng.uniform(0.17, 0.38)) * nearest)
    left = 0.5 * width - 0.5 * step * (count - 1)
    xs = left + step * (rng.permutation(count) + rng.uniform(-_STRAY, _STRAY, count))
    shrunk = np.sort(rng.uniform(0.72, 1.0, count))
    # Eyes of grown-ups are level with the camera: who is farther away shrinks towards the horizon at eye height.
    eye = ground - 0.93 * nearest
    return [View(nearest * f, float(x), eye + (ground - eye) * f) for x, f in zip(xs, shrunk.tolist(), strict=True)]


def sample_group(rng: np.random.Generator, size: tuple[int, int], *, whole: bool = False) -> Group:
    """Draw a still picture of 2 to 4 people, `size` = (height, width). Deterministic in the state of `rng`."""
    count = int(rng.integers(PEOPLE[0], PEOPLE[1] + 1))
    views = sample_views(rng, count, size, whole=whole)
    return Group(
        figures=tuple(Figure(sample_person(rng), sample_pose(rng), view) for view in views),
        background=sample_background(rng),
        light=sample_light(rng),
        size=size,
        noise_seed=int(rng.integers(2**31)),
    )


def render_group(group: Group) -> GroupPicture:
    """Return the picture with its three maps. A pure function of `group`.

    Someone who is covered completely gets no number, so that numbers have no gaps. Raises `ValueError` for a size
    below 16 pixels.
    """
    image = paint_place(group.background, group.size)
    labels, regions, humans = (np.zeros(group.size, np.uint8) for _ in range(3))
    paint(image, labels, [ground_shadow(figure.view) for figure in group.figures])
    for number, figure in enumerate(group.figures, 1):
        own_labels, own_regions = np.zeros(group.size, np.uint8), np.zeros(group.size, np.uint8)
        shapes = figure_shapes(figure.person, figure.pose, figure.view)
        paint(image, own_labels, shapes, light_from_left=group.light.from_left, regions=own_regions)
        own = own_labels > 0
        labels[own], regions[own], humans[own] = own_labels[own], own_regions[own], number
    visible = np.unique(humans[humans > 0])
    renumbered = np.zeros(256, np.uint8)
    renumbered[visible] = np.arange(1, len(visible) + 1)
    return GroupPicture(expose(image, group.light, group.noise_seed), labels, regions, renumbered[humans])
