"""The trunk's clothes: tops, dresses, jumpsuits, pants and skirts, and over them coats, scarves and bags."""

from __future__ import annotations

import numpy as np

from .garments import (
    MAIN_LABEL,
    Wearer,
    along,
    dots_down,
    hanging,
    leg_points,
    line_down,
    skirt_edges,
    trunk,
    trunk_edge,
)
from .lip import Lip
from .materials import Material
from .outline import Points, ellipse, smooth_line, smooth_loop, strip, tube
from .regions import Region
from .render import Shape

_METAL = Material((150.0, 190.0, 205.0))


def lower_body(wearer: Wearer) -> list[Shape]:
    """Return what lies over the tops of the legs: the seat of the pants or jumpsuit, or the skirt."""
    outfit, frame = wearer.outfit, wearer.frame()
    if outfit.lower == "skirt" and outfit.bottom:
        skirt = hanging(wearer, outfit.hem, outfit.flare, 0.30)
        band = strip(*_band(wearer, 0.31, 0.23))
        return [
            Shape([skirt], outfit.bottom, frame, Lip.SKIRT, thickness=0.09),
            Shape([band], outfit.bottom.plain(0.7), frame, within=Lip.SKIRT, relief=0, opacity=0.8),
        ]
    if outfit.lower in ("pants", "jumpsuit"):
        label = Lip.PANTS if outfit.lower == "pants" else Lip.JUMPSUITS
        cloth = (outfit.bottom or outfit.top) if outfit.lower == "pants" else outfit.top
        return [Shape([_seat(wearer)], cloth, frame, label, relief=0.25, thickness=0.07)]
    return []


def _band(wearer: Wearer, top: float, bottom: float) -> tuple[list[Points], list[Points]]:
    """Return both edges of a belt around the trunk between two levels."""
    k, p = wearer.skeleton, wearer.skeleton.physique
    halves = [k.breadth(float(np.interp(t, (0.0, 0.34), (p.hips, p.waist)))) + 0.007 for t in (top, bottom)]
    left, right = (
        [k.trunk(t, side * half) for t, half in zip((top, bottom), halves, strict=True)] for side in (-1.0, 1.0)
    )
    return left, right


def _seat(wearer: Wearer) -> Points:
    """Return pants from the waist to the crotch."""
    k, p, s = wearer.skeleton, wearer.skeleton.physique, wearer.scale
    right, left = leg_points(wearer, 0.16)
    hips, waist = k.breadth(p.hips) + 0.004, k.breadth(p.waist) + 0.004
    out = np.array([0.054 * p.build * s, 0.0])
    crotch = 0.5 * (right + left) + np.array([0.0, 0.005 * s])
    outline = [
        *smooth_line([k.trunk(0.32, -waist), k.trunk(0.0, -hips), right - out]),
        crotch,
        *smooth_line([k.trunk(0.32, waist), k.trunk(0.0, hips), left + out])[::-1],
    ]
    return np.array(outline)


def upper_body(wearer: Wearer) -> list[Shape]:
    """Return the garment of the trunk with its details, and the bare neck that its neckline leaves free."""
    outfit, frame = wearer.outfit, wearer.frame()
    label = MAIN_LABEL[outfit.main]
    if outfit.main == "dress":
        cloth = [trunk(wearer, 0.26, 0.004), hanging(wearer, outfit.hem, outfit.flare + 0.01, 0.30)]
        sash = strip(*_band(wearer, 0.36, 0.27))
        shapes = [
            Shape(cloth, outfit.top, frame, label, thickness=0.09),
            Shape(
                [sash], Material(outfit.top.accent), frame, within=label, relief=0.3, opacity=0.85, region=Region.BELT
            ),
        ]
    elif outfit.main == "jumpsuit":
        shapes = [Shape([trunk(wearer, 0.10, 0.007)], outfit.top, frame, label, relief=0.4, thickness=0.08)]
        shapes += _jumpsuit_details(wearer)
    else:
        hem = 0.17 if outfit.lower == "skirt" else 0.02 + 0.14 * (outfit.flare > 0.05)
        shapes = [Shape([trunk(wearer, hem, 0.006)], outfit.top, frame, label, thickness=0.08)]
        if outfit.neckline == "vee":
            placket = line_down(wearer, 0.8, hem + 0.02, 0.003)
            shapes.append(Shape(placket, outfit.top.plain(0.6), frame, within=label, relief=0, opacity=0.6))
    return [*shapes, *_neck(wearer, label)]


def _jumpsuit_details(wearer: Wearer) -> list[Shape]:
    """Return what tells a jumpsuit from a top and pants of one cloth: belt, zip, pockets and collar."""
    k, s, cloth, frame = wearer.skeleton, wearer.scale, wearer.outfit.top, wearer.frame()
    belt = strip(*_band(wearer, 0.33, 0.25))
    corners = ((0.72, 0.022), (0.72, 0.066), (0.54, 0.064), (0.54, 0.024))
    pockets = [np.array([k.trunk(t, k.front + side * x) for t, x in corners]) for side in (-1.0, 1.0)]
    buckle = [ellipse(k.trunk(0.29, k.front), (0.011 * s, 0.011 * s), count=12)]
    return [
        Shape(pockets, cloth.plain(0.72), frame, within=Lip.JUMPSUITS, relief=0.4, opacity=0.7),
        Shape([belt], cloth.plain(0.5), frame, within=Lip.JUMPSUITS, relief=0.3, opacity=0.9, region=Region.BELT),
        Shape(line_down(wearer, 0.9, 0.05, 0.0045), _METAL, frame, within=Lip.JUMPSUITS, relief=0, opacity=0.8),
        Shape(buckle, _METAL, frame, within=Lip.JUMPSUITS, relief=0),
    ]


def _neck(wearer: Wearer, label: Lip) -> list[Shape]:
    """Return the neck and the skin inside the neckline; a high collar is cloth instead."""
    k, s, outfit = wearer.skeleton, wearer.scale, wearer.outfit
    frame, build = wearer.frame(), wearer.skeleton.physique.build
    neck = tube([k.trunk(0.95, 0.5 * k.front), k.joints["head"]], [0.037 * build * s, 0.033 * build * s], end=False)
    if outfit.neckline == "vee":
        opening = [k.trunk(1.03, -0.036), k.trunk(1.03, 0.036), k.trunk(0.74, k.front)]
        bare = [np.array(opening)]
    elif outfit.neckline == "round":
        bare = [ellipse(k.trunk(0.97, 0.6 * k.front), (0.050 * s, 0.036 * s))]
    else:
        bare = []
    rim = [ellipse(k.trunk(0.97, 0.6 * k.front), (0.056 * s, 0.043 * s))] if outfit.neckline == "round" else []
    shapes = [Shape(rim, outfit.top.plain(0.75), frame, within=label, relief=0, opacity=0.7)] if rim else []
    shapes.append(Shape([*neck, *bare], wearer.skin.shaded(0.93), frame, Lip.FACE, relief=0.35, region=Region.NECK))
    if outfit.neckline == "high":
        collar = tube([k.trunk(0.93), k.trunk(1.07, 0.4 * k.front)], [0.046 * build * s, 0.041 * build * s])
        shapes.append(Shape(collar, outfit.top, frame, label, relief=0.45, thickness=0.05))
    else:  # the chin's shadow
        shadow = [ellipse(k.trunk(1.09, 0.5 * k.front), (0.040 * s, 0.024 * s))]
        shapes.append(Shape(shadow, wearer.skin.shaded(0.7), frame, within=Lip.FACE, relief=0, opacity=0.6))
    return shapes


def coat_back(wearer: Wearer) -> list[Shape]:
    """Return the inside of an open coat, which is seen behind the legs."""
    coat = wearer.outfit.coat
    if not coat:
        return []
    lining = hanging(wearer, coat.hem - 0.04, 0.008, 0.25)
    return [Shape([lining], coat.material.plain(0.55), wearer.frame(), Lip.COAT, relief=0.2)]


def coat_front(wearer: Wearer) -> list[Shape]:
    """Return the two front panels of the coat with lapels and buttons."""
    coat = wearer.outfit.coat
    if not coat:
        return []
    k, frame = wearer.skeleton, wearer.frame()
    hems = skirt_edges(wearer, coat.hem, 0.016, 0.25)
    shapes = []
    for side, hem in ((-1.0, hems[0]), (1.0, hems[1])):
        outer = [*trunk_edge(wearer, side, 0.22, 0.014), hem[1] + (side * 0.006 * wearer.scale, 0.0), hem[2]]
        middle = 0.5 * (hems[0][2] + hems[1][2]) + (k.front * wearer.scale, 0.0)
        open_by = side * max(coat.gap, -0.004)
        parted = [k.trunk(t, k.front + open_by * wide) for t, wide in ((0.72, 0.8), (0.34, 1.0), (0.0, 1.25))]
        # The panel hangs straight from the hip; a longer coat falls a little further open.
        fall = np.array([1.7 * open_by * wearer.scale, 0.0])
        inner = [k.trunk(1.02, side * 0.034), *parted, middle + fall]
        shapes.append(Shape([strip(outer, inner)], coat.material, frame, Lip.COAT, relief=0.6, thickness=0.06))
        shapes.append(_lapel(wearer, coat.material, side, coat.gap))
    if coat.gap == 0.0:
        seam = line_down(wearer, 0.72, -0.1, 0.003)
        shapes.append(Shape(seam, coat.material.plain(0.5), frame, within=Lip.COAT, relief=0, opacity=0.7))
    buttons = dots_down(wearer, (0.52, 0.32, 0.12), coat.gap + 0.016)
    dark = Material(coat.material.plain(0.4).colour)
    return [*shapes, Shape(buttons, dark, frame, within=Lip.COAT, relief=0)]


def _lapel(wearer: Wearer, cloth: Material, side: float, gap: float) -> Shape:
    k = wearer.skeleton
    corners = [(1.05, 0.030), (0.98, 0.060), (0.80, gap * 0.7 + 0.050), (0.77, gap * 0.8 + 0.030), (0.50, gap)]
    outline = np.array([k.trunk(t, k.front * (t < 0.9) + side * x) for t, x in corners])
    return Shape([outline], cloth.plain(0.8), wearer.frame(), within=Lip.COAT, relief=0.5, thickness=0.02)


def scarf(wearer: Wearer) -> list[Shape]:
    """Return the scarf: one or two ends that hang down, and the wrap around the neck over them."""
    cloth = wearer.outfit.scarf
    if not cloth:
        return []
    k, s = wearer.skeleton, wearer.scale
    frame = wearer.frame()
    ends = (-1.0, 1.0) if cloth.seed % 3 == 0 else ((1.0,) if cloth.seed % 2 else (-1.0,))
    shapes = []
    for side in ends:
        length = 0.30 + 0.1 * (side > 0)
        hang = [k.trunk(0.95, k.front + side * 0.022), k.trunk(length, k.front + side * 0.036)]
        line = np.linspace(hang[0], hang[1], 5)
        end = tube(line, s * np.linspace(0.024, 0.033, 5), end=False)
        shapes.append(Shape(end, cloth, along(hang[0], hang[1], s), Lip.SCARF, relief=0.6, thickness=0.03))
        fringe = tube(line[-2:] * (0.18, 0.18) + line[-1:] * (0.82, 0.82), [0.05 * s] * 2, root=False, end=False)
        shapes.append(Shape(fringe, cloth.plain(0.65), frame, within=Lip.SCARF, relief=0, opacity=0.7))
    front = [k.trunk(0.97, -0.030 + k.front), k.trunk(0.95, 0.030 + k.front)]
    wrap = smooth_line([k.trunk(1.07, -0.052), *front, k.trunk(1.07, 0.052)])
    thick = s * np.interp(np.linspace(0, 1, len(wrap)), (0, 0.5, 1), (0.022, 0.035, 0.022))
    return [*shapes, Shape(tube(wrap, thick), cloth, frame, Lip.SCARF, relief=0.7, thickness=0.04)]


def shoulder_bag(wearer: Wearer) -> list[Shape]:
    """Return a bag at one hip and the strap that carries it from the other shoulder.

    LIP has no class for it: there it is background, and hides what lies behind it.
    """
    leather = wearer.outfit.bag
    if not leather:
        return []
    k, s, frame = wearer.skeleton, wearer.scale, wearer.frame()
    side = 1.0 if leather.seed % 2 else -1.0
    hip = side * (k.breadth(k.physique.hips) + 0.012)
    centre = k.trunk(-0.10, hip)
    half = np.array([0.062, 0.052]) * s
    corners = ((-0.9, -1.0), (0.0, -0.92), (0.9, -1.0), (1.0, 0.8), (0.0, 1.0), (-1.0, 0.8))
    body = smooth_loop([centre + half * corner for corner in corners], 3)
    flap = smooth_loop([centre + half * corner for corner in ((-0.9, -1.0), (0.9, -1.0), (0.7, -0.1), (-0.7, -0.1))], 3)
    strap = smooth_line([k.trunk(1.0, -side * 0.060), k.trunk(0.55, k.front - side * 0.015), k.trunk(0.05, hip)])
    dark = leather.plain(0.7)
    return [
        Shape(tube(strap, np.full(len(strap), 0.008 * s)), dark, frame, Lip.BACKGROUND, relief=0.3),
        Shape([body], leather, frame, Lip.BACKGROUND, relief=0.6, thickness=0.04),
        Shape([flap], dark, frame, relief=0.3, opacity=0.6),
    ]
