"""The same people as six data sets annotate them: picture and label maps of one sample.

lip      20 classes of clothes and limbs.
custom   nine classes, `CUSTOM_LABELS`, a data set of one's own to fine-tune on.
atr      18 classes. Some people carry a bag, which LIP has no class for; apart from bags the pictures are LIP's.
cihp     20 classes (Torso-skin instead of Jumpsuits), 2 to 4 people, with person and part-instance ids.
ppp      seven body parts below the clothes; the pictures are LIP's.
voc      person (15) and background, 255 along the outline; the pictures are LIP's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError
from ..labels import IGNORE, LABEL_SETS
from .body import place
from .classes import ATR_TABLE, CIHP_TABLE, CUSTOM_TABLE, translate
from .dataset import Split, sample_at, stream
from .group import render_group, sample_group
from .parts import body_parts
from .scene import render, render_regions, sample_scene, with_bag

__all__ = ["DATASETS", "VOC_BORDER", "Annotated", "annotated_at"]

VOC_BORDER: Final = 5
"""Width in pixels of the ignored band along objects, as in VOC, whatever the size of the picture."""

_PERSON: Final = LABEL_SETS["voc"].names.index("person")


class Annotated(NamedTuple):
    """One sample of a data set."""

    image: NDArray[np.uint8]
    """BGR (H, W, 3)."""
    labels: NDArray[np.uint8]
    """Class ids (H, W); 255 is "ignore"."""
    humans: NDArray[np.uint8] | None = None
    """CIHP: person id per pixel (H, W), 0 = none."""
    instances: NDArray[np.uint8] | None = None
    """CIHP: part-instance id per pixel (H, W), 0 = none. Each id has one class and one person."""


def annotated_at(
    dataset: str,
    seed: int,
    index: int,
    size: tuple[int, int],
    split: Split = "train",
    *,
    whole_figures: bool = False,
) -> Annotated:
    """Return sample `index` of a split with the annotations of `dataset`, whatever was drawn before.

    `size` is (height, width). With `whole_figures` nobody is cropped below the hips. Raises `ConfigError` for data sets
    not in `DATASETS`, `ValueError` for a negative `seed` or `index` or a size below 16 pixels.
    """
    if dataset not in _ANNOTATE:
        raise ConfigError(f"no synthetic people for data set {dataset!r}; expected one of {', '.join(DATASETS)}")
    return _ANNOTATE[dataset](seed, index, size, split, whole_figures)


def _lip(seed: int, index: int, size: tuple[int, int], split: Split, whole: bool) -> Annotated:
    return Annotated(*render(sample_at(seed, index, size, split, whole_figures=whole)))


def _custom(seed: int, index: int, size: tuple[int, int], split: Split, whole: bool) -> Annotated:
    image, labels, regions = render_regions(sample_at(seed, index, size, split, whole_figures=whole))
    return Annotated(image, translate(labels, regions, CUSTOM_TABLE))


def _atr(seed: int, index: int, size: tuple[int, int], split: Split, whole: bool) -> Annotated:
    rng = stream(seed, split, index)
    scene = with_bag(sample_scene(rng, size, whole=whole), rng)
    image, labels, regions = render_regions(scene)
    return Annotated(image, translate(labels, regions, ATR_TABLE))


def _cihp(seed: int, index: int, size: tuple[int, int], split: Split, whole: bool) -> Annotated:
    picture = render_group(sample_group(stream(seed, split, index), size, whole=whole))
    labels = translate(picture.labels, picture.regions, CIHP_TABLE)
    return Annotated(picture.image, labels, picture.humans, part_instances(labels, picture.humans))


def _ppp(seed: int, index: int, size: tuple[int, int], split: Split, whole: bool) -> Annotated:
    scene = sample_at(seed, index, size, split, whole_figures=whole)
    image, _, regions = render_regions(scene)
    return Annotated(image, body_parts(regions, place(scene.person.physique, scene.pose, scene.view)))


def _voc(seed: int, index: int, size: tuple[int, int], split: Split, whole: bool) -> Annotated:
    image, labels = render(sample_at(seed, index, size, split, whole_figures=whole))
    return Annotated(image, object_labels(labels > 0, _PERSON))


_ANNOTATE: Final[dict[str, Callable[[int, int, tuple[int, int], Split, bool], Annotated]]] = {
    "lip": _lip,
    "custom": _custom,
    "atr": _atr,
    "cihp": _cihp,
    "ppp": _ppp,
    "voc": _voc,
}
DATASETS: Final = tuple(_ANNOTATE)
"""The data sets that there are synthetic people for."""


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


def object_labels(mask: NDArray[np.bool_], label: int) -> NDArray[np.uint8]:
    """Return VOC's annotation of an object, uint8 (H, W): `label` inside, 0 outside, 255 along its outline.

    The band is `VOC_BORDER` pixels wide: the object's outermost pixels, and half of the rest to either side. Where the
    picture cuts the object off there is none.
    """
    inside = mask.astype(np.uint8)
    outline = inside - cv2.erode(inside, np.ones((3, 3), np.uint8))  # the picture's edge counts as inside
    band = cv2.dilate(outline, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (VOC_BORDER, VOC_BORDER)))
    return np.where(band > 0, IGNORE, inside * label).astype(np.uint8)
