"""Clothes on a skeleton, from the neck down: limbs, trunk, coat, skirt, scarf and shoes as shapes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from .body import SIDES, Skeleton
from .lip import Lip
from .materials import Material
from .outline import Points, ellipse, smooth_line, stretch, strip, tube
from .render import Frame, Shape
from .wardrobe import Outfit

MAIN_LABEL: Final = {"upper": Lip.UPPER_CLOTHES, "dress": Lip.DRESS, "jumpsuit": Lip.JUMPSUITS}
_ARM: Final = {"left": Lip.LEFT_ARM, "right": Lip.RIGHT_ARM}
_LEG: Final = {"left": Lip.LEFT_LEG, "right": Lip.RIGHT_LEG}
_SHOE: Final = {"left": Lip.LEFT_SHOE, "right": Lip.RIGHT_SHOE}

# Thickness along a limb: fractions of its length, and half widths in figure heights.
_ARM_AT: Final = (0.0, 0.25, 0.5, 0.62, 1.0)
_ARM_RADIUS: Final = (0.027, 0.028, 0.023, 0.024, 0.016)
_LEG_AT: Final = (0.0, 0.25, 0.5, 0.66, 0.92, 1.0)
_LEG_RADIUS: Final = (0.043, 0.048, 0.034, 0.036, 0.020, 0.020)


@dataclass(frozen=True)
class Wearer:
    """Someone's skeleton in the picture with what covers it."""

    skeleton: Skeleton
    outfit: Outfit
    skin: Material

    @property
    def scale(self) -> float:
        """Pixels per figure height."""
        return self.skeleton.scale

    def frame(self) -> Frame:
        """Return the texture frame of the trunk."""
        return along(self.skeleton.joints["neck"], self.skeleton.joints["pelvis"], self.scale)


def along(start: Points, end: Points, scale: float) -> Frame:
    """Return the texture frame whose downward direction runs from `start` to `end`."""
    dx, dy = end - start
    return Frame(start, float(np.arctan2(dy, dx) - np.pi / 2), scale)


def _bent(root: Points, joint: Points, end: Points) -> Points:
    """Return the centre line of a limb: straight bones, rounded only near the joint. (13, 2)"""
    return smooth_line([root, 0.3 * root + 0.7 * joint, joint, 0.7 * joint + 0.3 * end, end], 3)


def arm(wearer: Wearer, side: str) -> list[Shape]:
    """Return one arm with its hand or glove and the sleeves over it. `side` is "left" or "right"."""
    skeleton, outfit, s = wearer.skeleton, wearer.outfit, wearer.scale
    shoulder, elbow, wrist, fingers = (
        skeleton.joints[f"{side}_{joint}"] for joint in ("shoulder", "elbow", "wrist", "fingers")
    )
    line = _bent(shoulder, elbow, wrist)
    build = skeleton.physique.build
    radii = s * build * np.interp(np.linspace(0, 1, len(line)), _ARM_AT, _ARM_RADIUS)
    frame, cuff = along(shoulder, elbow, s), along(elbow, wrist, s)
    hand = _hand(wrist, fingers, s, side)
    shapes = [Shape([*tube(line, radii), *hand], wearer.skin, frame, _ARM[side], thickness=0.04)]
    if outfit.sleeve > 0:
        label = MAIN_LABEL[outfit.main]
        shapes += _sleeve(
            line, radii + 0.006 * s, reach=outfit.sleeve, cloth=outfit.top, label=label, frame=frame, cuff=cuff
        )
    if outfit.coat:
        loose = radii + s * np.linspace(0.008, 0.014, len(line))
        shapes += _sleeve(line, loose, reach=0.98, cloth=outfit.coat.material, label=Lip.COAT, frame=frame, cuff=cuff)
    if outfit.gloves:
        wrist_line, wrist_radii = stretch(line, radii + 0.009 * s, 0.80, 1.0)
        glove = [*tube(wrist_line, wrist_radii, root=False), *_hand(wrist, fingers, s, side, 1.3)]
        shapes.append(Shape(glove, outfit.gloves, cuff, Lip.GLOVE, thickness=0.03))
    return shapes


def _hand(wrist: Points, fingers: Points, scale: float, side: str, grow: float = 1.0) -> list[Points]:
    """Return a mitten-shaped hand with a thumb on its inner side, `grow` times as thick as a bare one."""
    reach = fingers - wrist
    ahead = reach / max(float(np.hypot(*reach)), 1e-9)
    inward = np.array([-ahead[1], ahead[0]]) * (1.0 if side == "left" else -1.0)
    # A hand that points at the camera is foreshortened to a fist, never to nothing.
    length = max(float(np.hypot(*reach)), 0.035 * scale) * (0.5 + 0.5 * grow)
    palm = smooth_line([wrist, wrist + 0.5 * length * ahead, wrist + length * ahead], 3)
    radii = grow * scale * np.interp(np.linspace(0, 1, len(palm)), (0, 0.45, 1), (0.015, 0.021, 0.011))
    root = wrist + 0.25 * length * ahead
    thumb = [root, root + grow * scale * (0.020 * ahead + 0.026 * inward)]
    return [*tube(palm, radii), *tube(thumb, [0.009 * grow * scale, 0.006 * grow * scale])]


def _sleeve(
    line: Points, radii: Points, reach: float, cloth: Material, label: Lip, frame: Frame, cuff: Frame
) -> list[Shape]:
    """Return a sleeve down to the fraction `reach` of the arm, in two parts, so that its pattern bends."""
    cut, thick = stretch(line, radii, 0.0, reach)
    thick = thick + np.linspace(0.0, 0.004 * frame.scale, len(thick))
    shapes = [Shape(tube(cut, thick, end=False), cloth, frame, label, thickness=0.045)]
    if reach > 0.55:
        lower, lower_thick = stretch(line, radii + 0.004 * frame.scale, 0.5, reach)
        shapes.append(Shape(tube(lower, lower_thick, end=False), cloth, cuff, label, relief=0.4))
    hem, hem_thick = stretch(cut, thick, max(0.0, 1.0 - 0.02 / max(0.28 * reach, 0.02)), 1.0)
    seam = tube(hem, hem_thick, root=False, end=False)
    shapes.append(Shape(seam, cloth.plain(0.8), cuff, within=label, relief=0.3, opacity=0.6))
    return shapes


def leg(wearer: Wearer, side: str) -> list[Shape]:
    """Return one leg with sock, shoe and, if worn, the leg of the pants or jumpsuit. `side` as for `arm`."""
    skeleton, outfit, s = wearer.skeleton, wearer.outfit, wearer.scale
    hip, knee, ankle, toe = (skeleton.joints[f"{side}_{joint}"] for joint in ("hip", "knee", "ankle", "toe"))
    line = _bent(hip, knee, ankle)
    radii = s * skeleton.physique.build * np.interp(np.linspace(0, 1, len(line)), _LEG_AT, _LEG_RADIUS)
    frame, shin = along(hip, knee, s), along(knee, ankle, s)
    shapes = [Shape(tube(line, radii), wearer.skin, frame, _LEG[side], thickness=0.06)]
    if outfit.socks:
        sock_line, sock_radii = stretch(line, radii + 0.005 * s, 1.0 - 0.5 * outfit.sock, 1.0)
        sock = tube(sock_line, sock_radii, root=False)
        shapes.append(Shape(sock, outfit.socks, shin, Lip.SOCKS, thickness=0.045))
    shapes += _shoe(wearer, ankle, toe, _SHOE[side])
    cloth = outfit.bottom if outfit.lower == "pants" else outfit.top
    if outfit.lower in ("pants", "jumpsuit") and cloth:
        label = Lip.PANTS if outfit.lower == "pants" else Lip.JUMPSUITS
        cut, thick = stretch(line, radii + 0.008 * s, 0.0, outfit.leg_cover)
        thick = thick + s * np.linspace(0.0, 0.006 + 0.15 * outfit.flare, len(thick))
        shapes.append(Shape(tube(cut, thick, end=False), cloth, frame, label, thickness=0.07))
        hem, hem_thick = stretch(cut, thick, 0.95, 1.0)
        seam = tube(hem, hem_thick, root=False, end=False)
        shapes.append(Shape(seam, cloth.plain(0.72), shin, within=label, relief=0.3, opacity=0.6))
        if label is Lip.PANTS:
            crease = tube(cut, np.full(len(cut), 0.0022 * s))
            shapes.append(Shape(crease, cloth.plain(0.6), frame, within=label, relief=0, opacity=0.45))
    return shapes


def _shoe(wearer: Wearer, ankle: Points, toe: Points, label: Lip) -> list[Shape]:
    s, leather = wearer.scale, wearer.outfit.shoes
    heel = ankle + np.array([0.0, 0.020 * s])
    frame = along(heel, toe, s)
    line = smooth_line([ankle - np.array([0.0, 0.006 * s]), heel, 0.4 * heel + 0.6 * toe, toe], 3)
    radii = s * np.interp(np.linspace(0, 1, len(line)), (0, 0.35, 0.8, 1), (0.025, 0.028, 0.032, 0.026))
    sole = tube(line[3:] + np.array([0.0, 0.021 * s]), 0.5 * radii[3:])
    across = np.array([0.012 * s, 0.0])
    laces = [piece for at in line[4:8:2] for piece in tube([at - across, at + across], [0.003 * s] * 2)]
    return [
        Shape(tube(line, radii), leather, frame, label, relief=0.6, thickness=0.045),
        Shape(sole, leather.plain(0.55), frame, within=label, relief=0, opacity=0.7),
        Shape(laces, Material((225.0, 228.0, 230.0)), frame, within=label, relief=0, opacity=0.7),
    ]


def trunk_edge(wearer: Wearer, side: float, hem: float, grow: float) -> list[Points]:
    """Return one edge of the trunk from the neck down to `hem`; `side` is 1 for the picture's right."""
    k, p = wearer.skeleton, wearer.skeleton.physique
    name = "left" if side > 0 else "right"
    shoulder = k.joints[f"{name}_shoulder"] + np.array([side * 0.010, -0.020 - grow]) * k.scale
    ribs = k.breadth(0.089 * p.build) + grow
    neck = k.trunk(1.03, side * 0.036)
    # Between neck and shoulder the trapezius rises above the straight line.
    edge = [neck, 0.5 * (neck + shoulder) - (0.0, 0.004 * k.scale), shoulder]
    edge.append(k.trunk(0.76, side * (ribs + 0.008)))
    for level, half in ((0.58, ribs), (0.34, k.breadth(p.waist) + grow), (0.0, k.breadth(p.hips) + grow)):
        if level > hem + 0.05:
            edge.append(k.trunk(level, side * half))
    at_hem = np.interp(hem, (-0.2, 0.0, 0.34, 0.58), (p.hips, p.hips, p.waist, 0.089 * p.build))
    edge.append(k.trunk(hem, side * (k.breadth(float(at_hem)) + grow)))
    return edge


def trunk(wearer: Wearer, hem: float, grow: float) -> Points:
    """Return the outline of a garment from the shoulders to `hem` (0 pelvis, 1 neck), `grow` wider than the
    body in figure heights."""
    return strip(trunk_edge(wearer, -1.0, hem, grow), trunk_edge(wearer, 1.0, hem, grow))


def leg_points(wearer: Wearer, fraction: float) -> tuple[Points, Points]:
    """Return where a fraction of the way down each leg lies: the person's right, then left."""
    joints = wearer.skeleton.joints
    at = (0.0, 0.5, 1.0)
    right, left = (np.array([joints[f"{name}_{j}"] for j in ("hip", "knee", "ankle")]) for name in ("right", "left"))

    def along_leg(leg: Points) -> Points:
        return np.array([np.interp(fraction, at, leg[:, axis]) for axis in (0, 1)])

    return along_leg(right), along_leg(left)


def skirt_edges(wearer: Wearer, hem: float, flare: float, top: float) -> tuple[list[Points], list[Points]]:
    """Return the left and right edge, in the picture, of cloth that hangs from the waist around both legs."""
    k, s = wearer.skeleton, wearer.scale
    hips = k.breadth(k.physique.hips)
    right, left = leg_points(wearer, hem)
    level = max(float(right[1]), float(left[1])) * 0.6 + 0.4 * min(float(right[1]), float(left[1]))
    reach = s * (0.045 * k.physique.build + flare)
    low, high = min(right[0], left[0]) - reach, max(right[0], left[0]) + reach
    edges = []
    for side, at_hem in ((-1.0, low), (1.0, high)):
        hip = k.trunk(-0.02, side * (hips + 0.011))
        at_hem = min(at_hem, hip[0]) if side < 0 else max(at_hem, hip[0])
        waist = k.breadth(float(np.interp(top, (0.0, 0.34), (k.physique.hips, k.physique.waist)))) + 0.005
        edges.append([k.trunk(top, side * waist), hip, np.array([at_hem, level])])
    return edges[0], edges[1]


def hanging(wearer: Wearer, hem: float, flare: float, top: float) -> Points:
    """Return the outline of a skirt, with a hem that bows downwards in the middle."""
    left, right = skirt_edges(wearer, hem, flare, top)
    bow = smooth_line([left[-1], 0.5 * (left[-1] + right[-1]) + (0.0, 0.018 * wearer.scale), right[-1]], 4)
    return np.concatenate([smooth_line(left), bow, smooth_line(right)[::-1]])


def line_down(wearer: Wearer, top: float, bottom: float, width: float, across: float = 0.0) -> list[Points]:
    """Return a narrow vertical line on the front of the trunk, for zips and plackets."""
    k = wearer.skeleton
    return tube([k.trunk(top, k.front + across), k.trunk(bottom, k.front + across)], [width * k.scale] * 2)


def dots_down(wearer: Wearer, levels: Sequence[float], across: float = 0.0) -> list[Points]:
    """Return buttons on the front of the trunk."""
    k, r = wearer.skeleton, 0.0055 * wearer.scale
    return [ellipse(k.trunk(level, k.front + across), (r, r), count=10) for level in levels]


def sides_by_depth(skeleton: Skeleton) -> list[str]:
    """Return "left" and "right", the farther leg first."""
    return sorted(
        (name for name, _ in SIDES), key=lambda name: skeleton.depth[f"{name}_knee"] + skeleton.depth[f"{name}_ankle"]
    )
