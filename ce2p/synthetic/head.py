"""Heads: face, hair, hats and sunglasses, drawn in a frame that turns and tilts with the head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .garments import Wearer
from .lip import Lip
from .materials import Material
from .outline import Points, ellipse, smooth_line, smooth_loop, tube
from .render import Frame, Shape

_FACE = ((0, -1.0), (0.52, -0.86), (0.74, -0.36), (0.73, 0.12), (0.60, 0.58), (0.28, 0.93))
_CAP = ((0.86, -0.36), (0.84, -0.80), (0.50, -1.20), (0, -1.32))


@dataclass(frozen=True)
class HeadFrame:
    """The head's own coordinates: unit half the distance from chin to crown, x right, y down, z to the
    camera."""

    centre: Points
    unit: float
    tilt: float
    yaw: float
    scale: float

    def at(self, x: float, y: float, z: float = 0.0) -> Points:
        """Return the pixel of a point of the head, turned and tilted."""
        across = x * np.cos(self.yaw) + z * np.sin(self.yaw)
        cos, sin = np.cos(self.tilt), np.sin(self.tilt)
        return np.asarray(self.centre + self.unit * np.array([across * cos - y * sin, across * sin + y * cos]))

    def curve(self, points: Sequence[tuple[float, float]], z: float = 0.0) -> Points:
        """Return a smooth closed outline through points of the head."""
        return smooth_loop([self.at(x, y, z) for x, y in points])

    def oval(self, x: float, y: float, radii: tuple[float, float], z: float = 0.0) -> Points:
        """Return an ellipse that lies on the head, narrowed as the head turns away."""
        size = (self.unit * radii[0] * float(np.cos(self.yaw)), self.unit * radii[1])
        return ellipse(self.at(x, y, z), size, self.tilt)

    def stroke(self, points: Sequence[tuple[float, float]], width: float, z: float = 0.6) -> list[Points]:
        """Return a smooth line of constant thickness."""
        line = smooth_line([self.at(x, y, z) for x, y in points], 4)
        return tube(line, np.full(len(line), width * self.unit))

    def texture(self) -> Frame:
        """Return the texture frame of the head."""
        return Frame(self.at(0.0, -1.3), self.tilt, self.scale)


def head_frame(wearer: Wearer) -> HeadFrame:
    """Return the head's coordinates for a skeleton in the picture."""
    k = wearer.skeleton
    yaw = float(np.clip(0.8 * k.pose.yaw + k.pose.head_yaw, -0.75, 0.75))
    tilt = k.pose.head_tilt + 0.5 * k.pose.lean
    return HeadFrame(k.joints["head"], k.physique.head * k.scale, tilt, yaw, k.scale)


def _mirrored(half: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Complete the right half of a symmetric outline, given from the top or to the top."""
    return [*half, *((-x, y) for x, y in reversed(half) if x != 0)]


def hair_behind(wearer: Wearer) -> list[Shape]:
    """Return the hair that lies behind the neck and shoulders."""
    f, outfit = head_frame(wearer), wearer.outfit
    match outfit.hair_style:
        case "long":
            outline = [(0.95, -0.5), (1.02, 0.4), (1.08, 1.3), (0.92, 2.15), (0.3, 2.3)]
            pieces = [f.curve([(0.0, -1.12), *outline, *((-x, y) for x, y in reversed(outline))], -0.25)]
        case "bob":
            outline = [(0.95, -0.55), (1.04, 0.3), (1.0, 0.95), (0.4, 1.02)]
            pieces = [f.curve([(0.0, -1.12), *outline, *((-x, y) for x, y in reversed(outline))], -0.2)]
        case "curly":
            turns = np.linspace(0, 2 * np.pi, 11)[:-1]
            pieces = [f.oval(0.78 * np.cos(a), -0.35 + 0.72 * np.sin(a), (0.50, 0.48), -0.2) for a in turns]
            pieces.append(f.oval(0, -0.3, (0.9, 0.9), -0.2))
        case "bun":
            pieces = [f.oval(0, -0.18, (0.86, 0.96), -0.2)]
            if not outfit.hat:
                pieces.append(f.oval(0, -1.28, (0.38, 0.34), -0.3))
        case _:
            pieces = [f.oval(0, -0.16, (0.86, 0.98), -0.2)]
    return [Shape(pieces, outfit.hair.shaded(0.82), f.texture(), Lip.HAIR, relief=0.4, thickness=0.06)]


def head(wearer: Wearer) -> list[Shape]:
    """Return face, hair in front, sunglasses and hat, in the order of painting."""
    f, outfit = head_frame(wearer), wearer.outfit
    shapes = _face(f, wearer)
    shapes.append(Shape(_fringe(f, outfit.hair_style), outfit.hair, f.texture(), Lip.HAIR, relief=0.5))
    if outfit.sunglasses:
        shapes += _sunglasses(f, outfit.sunglasses)
    if outfit.hat:
        shapes += _hat(f, outfit.hat, outfit.hat_style)
    return shapes


def _face(f: HeadFrame, wearer: Wearer) -> list[Shape]:
    skin, frame, brow = wearer.skin, f.texture(), wearer.outfit.hair.plain(0.75)
    outline = _mirrored(_FACE)
    outline.insert(6, (0.0, 1.0))
    ears = [f.oval(side * 0.76, 0.06, (0.13, 0.22), -0.1) for side in (-1, 1)]
    b, g, r = skin.colour
    flush = Material((b * 0.82, g * 0.80, min(255.0, r * 1.02)))

    def detail(pieces: list[Points], material: Material, opacity: float = 1.0) -> Shape:
        return Shape(pieces, material, frame, within=Lip.FACE, relief=0, opacity=opacity)

    both = (-1.0, 1.0)
    return [
        Shape(ears, skin.shaded(0.9), frame, Lip.FACE, relief=0.3),
        Shape([f.curve(outline, 0.08)], skin, frame, Lip.FACE, relief=0.45, thickness=0.07),
        detail([f.oval(side * 0.42, 0.28, (0.19, 0.15), 0.5) for side in both], flush, 0.45),
        detail([f.oval(side * 0.30, -0.04, (0.16, 0.10), 0.6) for side in both], Material((235.0, 240.0, 242.0))),
        detail([f.oval(side * 0.30, -0.03, (0.085, 0.10), 0.65) for side in both], Material((35.0, 45.0, 60.0))),
        *(
            detail(f.stroke([(side * 0.15, -0.24), (side * 0.30, -0.29), (side * 0.46, -0.23)], 0.035), brow, 0.9)
            for side in both
        ),
        detail(f.stroke([(0.03, 0.0), (0.09, 0.26), (-0.03, 0.29)], 0.03, 0.8), skin.shaded(0.72), 0.7),
        detail(f.stroke([(-0.20, 0.55), (0.0, 0.61), (0.20, 0.55)], 0.05, 0.65), flush.shaded(0.68), 0.9),
    ]


def _fringe(f: HeadFrame, style: str) -> list[Points]:
    """Return the hair over the forehead and temples, and for long hair the locks in front of the
    shoulders."""
    side = 0.10 if style == "short" else 0.28
    outer = [(-0.84, side), (-0.90, -0.45), (-0.60, -0.98), (0.0, -1.15), (0.60, -0.98), (0.90, -0.45), (0.84, side)]
    inner = [(0.68, -0.12), (0.60, -0.44), (0.20, -0.66), (-0.22, -0.50), (-0.58, -0.40), (-0.68, -0.12)]
    outline = [f.at(x, y) for x, y in outer] + [f.at(x, y, 0.18) for x, y in inner]
    pieces = [smooth_loop(outline)]
    if style == "long":
        for sign in (-1.0, 1.0):
            lock = smooth_line([f.at(sign * 0.80, -0.2), f.at(sign * 0.90, 0.7), f.at(sign * 0.82, 1.75)], 5)
            pieces += tube(lock, f.unit * np.interp(np.linspace(0, 1, len(lock)), (0, 0.5, 1), (0.16, 0.24, 0.10)))
    if style == "curly":
        pieces += [
            f.oval(x, y, (0.32, 0.30), 0.1) for x, y in ((-0.6, -0.72), (-0.2, -0.9), (0.25, -0.9), (0.62, -0.7))
        ]
    return pieces


def _sunglasses(f: HeadFrame, glass: Material) -> list[Shape]:
    rounded = ((-0.31, -0.20), (0, -0.24), (0.31, -0.20), (0.30, 0.06), (0.12, 0.24), (-0.14, 0.24), (-0.30, 0.06))
    lenses = [f.curve([(s * 0.35 + x * s, y - 0.02) for x, y in rounded], 0.6) for s in (-1.0, 1.0)]
    bridge = f.stroke([(-0.12, -0.12), (0.0, -0.16), (0.12, -0.12)], 0.06)
    arms = [
        piece
        for s in (-1.0, 1.0)
        for piece in tube([f.at(s * 0.60, -0.16, 0.5), f.at(s * 0.78, -0.12, 0.05)], [0.06 * f.unit] * 2)
    ]
    glare = [
        f.curve([(s * 0.35 - 0.16 + x, y) for x, y in ((0, -0.12), (0.12, -0.14), (0.02, 0.06))], 0.6) for s in (-1, 1)
    ]
    frame = f.texture()
    return [
        Shape([*lenses, *bridge, *arms], glass, frame, Lip.SUNGLASSES, relief=0.3, thickness=0.02),
        Shape(glare, Material((230.0, 225.0, 215.0)), frame, within=Lip.SUNGLASSES, relief=0, opacity=0.4),
    ]


def _hat(f: HeadFrame, cloth: Material, style: str) -> list[Shape]:
    frame, dark = f.texture(), cloth.plain(0.62)
    if style == "brim":
        crown = f.curve([(-0.82, -0.55), (-0.72, -1.2), (-0.3, -1.42), (0.3, -1.42), (0.72, -1.2), (0.82, -0.55)])
        brim = [f.oval(0, -0.52, (1.42, 0.27), 0.2)]
        ribbon = f.stroke([(-0.80, -0.72), (0.0, -0.62), (0.80, -0.72)], 0.10, 0.15)
        return [
            Shape(brim, cloth.shaded(0.9), frame, Lip.HAT, relief=0.5, thickness=0.03),
            Shape([crown], cloth, frame, Lip.HAT, relief=0.6, thickness=0.06),
            Shape(ribbon, dark, frame, within=Lip.HAT, relief=0, opacity=0.9),
        ]
    dome = [(-0.90, -0.36), *((-x, y) for x, y in _CAP[1:3]), (0.0, -1.34), *reversed(_CAP[1:3]), (0.90, -0.36)]
    dome += [(0.45, -0.46), (-0.45, -0.46)]
    if style == "beanie":
        cuff = f.stroke([(-0.84, -0.50), (0.0, -0.60), (0.84, -0.50)], 0.19, 0.1)
        pompom = [f.oval(0, -1.46, (0.24, 0.22))]
        return [
            Shape(pompom, cloth.plain(1.2), frame, Lip.HAT, relief=0.5, thickness=0.02),
            Shape([f.curve(dome)], cloth, frame, Lip.HAT, relief=0.6, thickness=0.06),
            Shape(cuff, cloth.plain(0.75), frame, Lip.HAT, relief=0.5, thickness=0.03),
        ]
    visor = f.curve(
        [(-0.78, -0.50), (-0.4, -0.62), (0.4, -0.62), (0.78, -0.50), (0.62, -0.27), (0, -0.20), (-0.62, -0.27)], 0.55
    )
    return [
        Shape([f.curve(dome)], cloth, frame, Lip.HAT, relief=0.6, thickness=0.06),
        Shape([visor], dark, frame, Lip.HAT, relief=0.5, thickness=0.02),
    ]
