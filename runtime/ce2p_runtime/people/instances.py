"""People found in a picture, and which of them are parsed: what M-CE2P and SCHP do between detector and networks.

M-CE2P (code_for_maskrcnn/MHP_infer_simple_test.py): detections with a score of at least 0.7, by mask area from the
largest, boxes enlarged 1.2 times about their centre and clipped to the picture. SCHP
(mhp_extension/make_crop_and_mask_w_mask_nms.py) takes scores of at least 0.5 and makes the masks disjoint.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MOST_PEOPLE = 255
"""In one picture: what the layout of results holds."""
_MOST_MASK_BYTES = 2**31

Box = tuple[int, int, int, int]
"""x0, y0, x1, y1 in whole pixels; x1 and y1 are the first column and row outside."""


@dataclass(frozen=True, eq=False)
class Person:
    """One person as a detector, an annotation or our own refinement sees it."""

    box: tuple[float, float, float, float]
    """x0, y0, x1, y1 in pixels, with (0, 0) the outer corner of the first pixel; as detected, not enlarged."""
    mask: NDArray[np.bool_] | None
    """bool [H, W] at the picture's size. None: nobody knows better than the box."""
    score: float
    """Confidence of the detector; 1 for annotations."""

    def __post_init__(self) -> None:
        x0, y0, x1, y1 = self.box
        if not all(map(math.isfinite, (*self.box, self.score))) or x1 <= x0 or y1 <= y0:
            raise ValueError(f"a person's box is {self.box} with score {self.score}, expected x0 < x1, y0 < y1, finite")
        if self.mask is not None and (self.mask.dtype != np.bool_ or self.mask.ndim != 2):
            raise ValueError(f"a person's mask is {self.mask.dtype} {list(self.mask.shape)}, expected bool [H, W]")

    @property
    def area(self) -> float:
        """Pixels of the mask, or of the box where there is none."""
        if self.mask is not None:
            return float(np.count_nonzero(self.mask))
        return (self.box[2] - self.box[0]) * (self.box[3] - self.box[1])


def check_people(number: int, frame_size: tuple[int, int]) -> None:
    """Raise ValueError for more people in a (H, W) frame than results hold, or whose masks would fill the memory."""
    height, width = frame_size
    if number > MOST_PEOPLE:
        raise ValueError(
            f"{number} people in one picture, expected at most {MOST_PEOPLE}; raise the threshold or cut the picture"
        )
    if number * height * width > _MOST_MASK_BYTES:
        raise ValueError(
            f"the masks of {number} people in {width}x{height} pixels take {number * height * width / 2**30:.1f} GiB, "
            f"expected at most {_MOST_MASK_BYTES / 2**30:g}; make the picture smaller or cut it"
        )


def select_people(people: Iterable[Person], threshold: float = 0.7) -> list[Person]:
    """Those with a score of at least `threshold`, the largest area first; equal areas keep their order."""
    return sorted((person for person in people if person.score >= threshold), key=lambda person: -person.area)


def mask_nms(people: Iterable[Person], threshold: float = 0.5, covered: float = 0.5) -> list[Person]:
    """SCHP's choice: disjoint masks, in the order of the scores from the highest.

    A person is left out with a score below `threshold`, without a pixel, or if more than the share `covered` of the
    mask belongs to people before it; otherwise what belongs to those is taken from the mask. Raises ValueError for a
    person without a mask.
    """
    kept: list[Person] = []
    taken: NDArray[np.bool_] | None = None
    for person in sorted(people, key=lambda person: -person.score):
        if person.score < threshold:
            break
        if person.mask is None:
            raise ValueError("mask NMS needs a mask for every person, and one has only a box")
        taken = np.zeros_like(person.mask) if taken is None else taken
        area = np.count_nonzero(person.mask)
        if area == 0 or np.count_nonzero(person.mask & taken) / area > covered:
            continue
        kept.append(dataclasses.replace(person, mask=person.mask & ~taken))
        taken |= person.mask
    return kept


def crop_box(box: Sequence[float], frame_size: tuple[int, int], enlarge: float = 1.2) -> Box:
    """The part of a (H, W) frame that a network sees of a person: `box` enlarged about its centre, clipped, truncated.

    Published: `int()` of each corner, x1 and y1 exclusive (M-CE2P-test.py). SCHP rounds instead, and clips to W - 1 and
    H - 1 inclusive, so its crops may be a pixel larger. A box too small to hold a whole pixel gets the one where it
    begins. Raises ValueError for a box beside the frame.
    """
    height, width = frame_size
    centre_x, centre_y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    half_width, half_height = (box[2] - box[0]) * enlarge / 2, (box[3] - box[1]) * enlarge / 2
    left, right = max(0, centre_x - half_width), min(width, centre_x + half_width)
    top, bottom = max(0, centre_y - half_height), min(height, centre_y + half_height)
    if left >= right or top >= bottom:
        corners = ", ".join(f"{corner:g}" for corner in box)
        raise ValueError(f"the box ({corners}) lies outside the {width}x{height} picture")
    x0, y0 = int(left), int(top)
    return x0, y0, max(int(right), x0 + 1), max(int(bottom), y0 + 1)


def person_mask(person: Person, frame_size: tuple[int, int]) -> NDArray[np.bool_]:
    """The person's pixels, bool [H, W]: a copy of the mask, or the pixels with their centre in the box.

    Raises ValueError for a mask of another size.
    """
    if person.mask is not None:
        if person.mask.shape != tuple(frame_size):
            raise ValueError(f"a person's mask is {list(person.mask.shape)}, the picture is {list(frame_size)}")
        return person.mask.copy()
    x, y = np.arange(frame_size[1]) + 0.5, np.arange(frame_size[0]) + 0.5
    x0, y0, x1, y1 = person.box
    return ((y >= y0) & (y < y1))[:, np.newaxis] & ((x >= x0) & (x < x1))


def people_of_ids(ids: NDArray[np.integer]) -> list[Person]:
    """The people of an id map [H, W] (0 = nobody), in the order of their ids, with tight boxes and score 1.

    CIHP's Human_ids and our own global_tag pictures are such maps. Raises ValueError as `check_people`.
    """
    numbers = [number for number in np.unique(ids) if number != 0]
    check_people(len(numbers), (ids.shape[0], ids.shape[1]))
    people = []
    for number in numbers:
        mask = ids == number
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        box = (float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))
        people.append(Person(box, mask, 1.0))
    return people
