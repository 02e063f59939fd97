"""Body parts as Pascal-Person-Part has them: what is below the clothes, not the clothes.

The painter knows exactly which limb a pixel belongs to (`Region`), also where an arm lies before the trunk. What is
left is to cut limbs at elbow and knee (the nearer of two bones decides) and trousers, skirts and coats at the groin.
Hands and gloves are lower arm, feet and shoes lower leg, neck and scarf torso, hair and hat head.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .body import SIDES, Skeleton
from .outline import Points
from .regions import Region

_GROIN: Final = -0.20
"""Where the torso ends between the legs, and below at its sides: levels of the trunk, 0 pelvis, 1 neck."""
_HIP_CREASE: Final = 0.08


HEAD, TORSO, UPPER_ARMS, LOWER_ARMS, UPPER_LEGS, LOWER_LEGS = range(1, 7)
"""Pascal-Person-Part's class ids."""


def body_parts(regions: NDArray[np.uint8], skeleton: Skeleton) -> NDArray[np.uint8]:
    """Return the class of every pixel, uint8 (H, W), from the figure's `Region` map (H, W) and its skeleton."""
    parts = np.zeros(regions.shape, np.uint8)
    parts[regions == Region.HEAD] = HEAD
    parts[regions == Region.NECK] = TORSO
    for name, _ in SIDES:
        bones = _limb(skeleton, name, "arm")
        _cut(parts, regions == Region[f"{name}_arm".upper()], [bones], UPPER_ARMS, LOWER_ARMS)
        bones = _limb(skeleton, name, "leg")
        _cut(parts, regions == Region[f"{name}_leg".upper()], [bones], UPPER_LEGS, LOWER_LEGS)
    clothes = np.isin(regions, (Region.TRUNK, Region.BELT, Region.HIPS))
    legs = [_limb(skeleton, name, "leg") for name, _ in SIDES]
    _cut(parts, clothes, legs, UPPER_LEGS, LOWER_LEGS)
    parts[clothes & _above_groin(regions.shape, skeleton)] = TORSO
    return parts


def _limb(skeleton: Skeleton, side: str, kind: str) -> list[Points]:
    """Return the joints of a limb from its root to its tip; its first bone is the upper one."""
    names = ("shoulder", "elbow", "wrist", "fingers") if kind == "arm" else ("hip", "knee", "ankle", "toe")
    return [skeleton.joints[f"{side}_{name}"] for name in names]


def _cut(parts: NDArray[np.uint8], where: NDArray[np.bool_], limbs: list[list[Points]], upper: int, lower: int) -> None:
    """Give the pixels of `where` to the upper or lower parts of the limbs, whichever bone is nearer."""
    rows, columns = np.nonzero(where)
    points = np.stack([columns, rows], axis=1).astype(np.float64) + 0.5
    to_upper = np.min([_distance(points, limb[0], limb[1]) for limb in limbs], axis=0)
    to_lower = np.min([_distance(points, a, b) for limb in limbs for a, b in pairwise(limb[1:])], axis=0)
    parts[rows, columns] = np.where(to_upper <= to_lower, upper, lower)


def _distance(points: Points, start: Points, end: Points) -> Points:
    """Return the distance (N,) of points (N, 2) from a bone."""
    bone = end - start
    along = np.clip((points - start) @ bone / max(float(bone @ bone), 1e-9), 0.0, 1.0)
    return np.asarray(np.linalg.norm(points - start - along[:, None] * bone, axis=1))


def _above_groin(size: tuple[int, ...], skeleton: Skeleton) -> NDArray[np.bool_]:
    """Return where the torso is, (H, W), were there nothing else: above two lines from the groin to the hips."""
    pelvis, up = skeleton.joints["pelvis"], skeleton.joints["neck"] - skeleton.joints["pelvis"]
    x, y = np.arange(size[1])[None, :] + 0.5 - pelvis[0], np.arange(size[0])[:, None] + 0.5 - pelvis[1]
    level = (x * up[0] + y * up[1]) / float(up @ up)
    across = np.abs(y * up[0] - x * up[1]) / float(np.hypot(*up)) / skeleton.scale
    outwards = np.clip(across / skeleton.breadth(skeleton.physique.hips), 0.0, 1.0)
    return np.asarray(level > _GROIN + (_HIP_CREASE - _GROIN) * outwards)
