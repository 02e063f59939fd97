"""Whose part a pixel is: person masks cut by classes, their confidences, and the map of people.

Source: get_instance, compute_confidence and result_saving in M-CE2P-test.py; the other confidence is SCHP's
(logits_fusion.py). The published code stops in silence at part 255; here there is no such limit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Confidence = Literal["logit", "weighted"]
"""`logit`: mean fused logit over the part (M-CE2P). `weighted`: that times the person's score (SCHP)."""

_MOST_PARTS = 65535


@dataclass(frozen=True)
class PartInstance:
    """One part of one person."""

    id: int
    """Its number in the part map, from 1."""
    class_id: int
    person: int
    """Its person's number in the map of people, from 1."""
    score: float
    """Confidence in units of the fused logits: comparable between results of the same networks, no probability."""


@dataclass(frozen=True, eq=False)
class PartMap:
    """Part ids of a frame. Entry k of `classes` and `people` belongs to id k + 1."""

    ids: NDArray[np.uint16]
    """uint16 [H, W], 0 = no part."""
    classes: NDArray[np.intp]
    people: NDArray[np.intp]
    """Index of each part's mask."""


def part_map(labels: NDArray[np.uint8], masks: NDArray[np.bool_]) -> PartMap:
    """Cut masks bool [P, H, W] by labels uint8 [H, W]. Background is no part.

    Ids run through the masks in order and, within one, through the classes. Where masks overlap the last one wins;
    parts that lose all their pixels get no id. Raises ValueError for more than 65535 parts.
    """
    codes = np.zeros(labels.shape, np.int32)  # 256 · (index of the mask) + class
    foreground = labels > 0
    for index, mask in enumerate(masks):
        np.add(labels, 256 * index, out=codes, where=mask & foreground, casting="unsafe", dtype=np.int32)
    counts = np.bincount(codes.ravel(), minlength=1)
    counts[0] = 0
    present = np.flatnonzero(counts)
    if len(present) > _MOST_PARTS:
        raise ValueError(f"{len(present)} parts in one frame, expected at most {_MOST_PARTS}")
    ids = np.zeros(len(counts), np.uint16)
    ids[present] = np.arange(1, len(present) + 1)
    return PartMap(ids[codes], present % 256, present // 256)


def human_map(masks: NDArray[np.bool_]) -> tuple[NDArray[np.uint16], NDArray[np.intp]]:
    """Person ids uint16 [H, W] and the masks' indices in the order of these ids, from 1.

    The largest mask is person 1; where masks overlap the smaller one is seen. Equal areas keep their order.
    """
    order = np.argsort(-np.count_nonzero(masks, axis=(1, 2)), kind="stable")
    humans = np.zeros(masks.shape[1:], np.uint16)
    for number, index in enumerate(order, start=1):
        humans[masks[index]] = number
    return humans, order


def part_confidences(
    parts: PartMap, logits: NDArray[np.float32], weights: Sequence[float] | None = None
) -> list[float]:
    """Mean over each part of the best class's logits, float32 [H, W], which is the part's own class there.

    `weights`: the scores of the people by index of mask; each part's mean is multiplied by its person's.
    """
    ids = parts.ids.ravel()
    inside = ids > 0
    sums = np.bincount(ids[inside], weights=logits.ravel()[inside], minlength=len(parts.classes) + 1)[1:]
    counts = np.bincount(ids[inside], minlength=len(parts.classes) + 1)[1:]
    means = sums / counts
    if weights is not None:
        means = means * np.asarray(weights, np.float64)[parts.people]
    return [float(mean) for mean in means]
