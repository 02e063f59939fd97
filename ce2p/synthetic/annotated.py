"""Synthetic samples by seed, split and index: scenes, pictures with LIP's labels, and those of other data sets.

How other data sets annotate the same people, says `SyntheticPeople` in each one's module; bags and groups apart, the
pictures are LIP's. `folders.py` writes them as the data sets are published.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal, NamedTuple, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from ..datasets import DATASETS, names_of
from ..errors import ConfigError
from ..labels import IGNORE
from .body import place
from .classes import class_table
from .group import render_group, sample_group
from .lip import Lip
from .parts import body_parts
from .regions import Region
from .scene import Scene, render, render_regions, sample_scene, with_bag

SYNTHETIC: Final = names_of(people=True)
"""The data sets that there are synthetic people for."""
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


class Annotated(NamedTuple):
    """One sample of a data set."""

    image: NDArray[np.uint8]
    """BGR (H, W, 3)."""
    labels: NDArray[np.uint8]
    """Class ids (H, W); 255 is "ignore"."""
    humans: NDArray[np.uint8] | None = None
    """Where the data set has them: person id per pixel (H, W), 0 = none."""
    instances: NDArray[np.uint8] | None = None
    """Part-instance id per pixel (H, W), 0 = none. Each id has one class and one person."""


def annotated_at(
    dataset: str, seed: int, index: int, size: tuple[int, int], split: Split = "train", *, whole_figures: bool = False
) -> Annotated:
    """Return sample `index` of a split with the annotations of `dataset`, whatever was drawn before.

    `size` is (height, width). With `whole_figures` nobody is cropped below the hips. Raises `ConfigError` for data sets
    not in `SYNTHETIC`, `ValueError` for a negative `seed` or `index` or a size below 16 pixels.
    """
    entry = DATASETS.get(dataset)
    if entry is None or entry.people is None:
        raise ConfigError(f"no synthetic people for data set {dataset!r}; expected one of {', '.join(SYNTHETIC)}")
    rng = stream(seed, split, index)
    if entry.has_instances:
        group = render_group(sample_group(rng, size, whole=whole_figures))
        labels = class_table(dataset)[group.labels, group.regions]
        return Annotated(group.image, labels, group.humans, part_instances(labels, group.humans))
    scene = sample_scene(rng, size, whole=whole_figures)
    if entry.people.body_parts:
        image, _, regions = render_regions(scene)
        return Annotated(image, body_parts(regions, place(scene.person.physique, scene.pose, scene.view)))
    table = class_table(dataset)
    if table[Lip.BACKGROUND, Region.BAG]:
        scene = with_bag(scene, rng)
    image, labels, regions = render_regions(scene)
    labels = table[labels, regions]
    if entry.people.border:
        labels[outline(labels > 0, entry.people.border)] = IGNORE
    return Annotated(image, labels)


def part_instances(labels: NDArray[np.uint8], humans: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return an id for every pair of person and class, uint8 (H, W): 1, 2, ... by person, then by class; 0 for class 0.

    Pieces of one part that something else separates are one instance. Source of what is asked for: M-CE2P,
    metrics/helper.py, which wants each id to have one class and one person.
    """
    pairs = np.where(labels > 0, humans.astype(np.int64) * 256 + labels, 0)
    known, ids = np.unique(np.append(pairs, 0), return_inverse=True)
    if len(known) > 256:
        raise ValueError(f"{len(known) - 1} part instances in one picture, expected at most 255")
    return np.asarray(ids.ravel()[:-1].reshape(labels.shape), np.uint8)


def outline(mask: NDArray[np.bool_], width: int) -> NDArray[np.bool_]:
    """Return the band along an object's outline that VOC's annotations ignore, bool (H, W).

    It is `width` pixels wide, whatever the size of the picture: the object's outermost pixels, and half of the rest to
    either side. Where the picture cuts the object off there is none.
    """
    inside = mask.astype(np.uint8)
    outermost = inside - cv2.erode(inside, np.ones((3, 3), np.uint8))  # the picture's edge counts as inside
    return np.asarray(cv2.dilate(outermost, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width))) > 0)
