"""Plane geometry of the figures: smooth curves, ellipses and limbs of varying thickness.

Points are float64 arrays (N, 2) of x (right) and y (down). Every shape is handed on as a list of polygons
whose union it is: a bent limb as one outline would cross itself, and an even-odd fill would punch a hole in
the elbow.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Points: TypeAlias = NDArray[np.float64]


def _catmull_rom(p0: Points, p1: Points, p2: Points, p3: Points, steps: int) -> Points:
    """Sample the Catmull-Rom segments p1 -> p2, all (N, 2), at `steps` places each: (N * steps, 2)."""
    u = (np.arange(steps) / steps)[None, :, None]
    a, b, c, d = p0[:, None], p1[:, None], p2[:, None], p3[:, None]
    curve = b + 0.5 * u * ((c - a) + u * ((2 * a - 5 * b + 4 * c - d) + u * (3 * (b - c) + d - a)))
    return np.asarray(curve.reshape(-1, curve.shape[-1]), dtype=np.float64)


def smooth_line(points: ArrayLike, steps: int = 5) -> Points:
    """Return an open curve through `points` (N, D): ((N - 1) * steps + 1, D). N must be at least 2."""
    p = np.asarray(points, dtype=np.float64)
    padded = np.concatenate([2 * p[:1] - p[1:2], p, 2 * p[-1:] - p[-2:-1]])
    inner = _catmull_rom(padded[:-3], padded[1:-2], padded[2:-1], padded[3:], steps)
    return np.concatenate([inner, p[-1:]])


def smooth_loop(points: ArrayLike, steps: int = 5) -> Points:
    """Return a closed curve through `points` (N, 2), N at least 3: (N * steps, 2)."""
    p = np.asarray(points, dtype=np.float64)
    return _catmull_rom(np.roll(p, 1, 0), p, np.roll(p, -1, 0), np.roll(p, -2, 0), steps)


def ellipse(centre: ArrayLike, radii: tuple[float, float], angle: float = 0.0, count: int = 24) -> Points:
    """Return an ellipse as a polygon (count, 2); `angle` in radians turns x towards y."""
    turn = np.linspace(0.0, 2 * np.pi, count, endpoint=False)
    x, y = radii[0] * np.cos(turn), radii[1] * np.sin(turn)
    cos, sin = np.cos(angle), np.sin(angle)
    ring = np.stack([x * cos - y * sin, x * sin + y * cos], axis=1)
    return np.asarray(centre, dtype=np.float64) + ring.astype(np.float64)


def tube(line: ArrayLike, radii: ArrayLike, *, root: bool = True, end: bool = True) -> list[Points]:
    """Return a limb of varying thickness as polygons: one quadrilateral per step, and discs at its ends.

    `line` (N, 2) is the centre line, `radii` (N,) half the thickness there. Without `root` or `end` that end
    is cut straight, as the hem of a sleeve is.
    """
    p, r = np.asarray(line, dtype=np.float64), np.asarray(radii, dtype=np.float64)
    along = np.gradient(p, axis=0)
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    side = np.stack([-along[:, 1], along[:, 0]], axis=1) * r[:, None]
    left, right = p + side, p - side
    pieces = [np.stack([left[i], left[i + 1], right[i + 1], right[i]]) for i in range(len(p) - 1)]
    if root:
        pieces.append(ellipse(p[0], (r[0], r[0]), count=16))
    if end:
        pieces.append(ellipse(p[-1], (r[-1], r[-1]), count=16))
    return pieces


def stretch(line: Points, radii: Points, start: float, stop: float) -> tuple[Points, Points]:
    """Cut a limb down to the part between two fractions of its length; 0 is its root, 1 its end."""
    at = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    at /= max(float(at[-1]), 1e-9)
    inner = at[(at > start + 1e-6) & (at < stop - 1e-6)]
    keep = np.concatenate([[start], inner, [stop]])
    cut = np.stack([np.interp(keep, at, line[:, axis]) for axis in (0, 1)], axis=1)
    return cut, np.interp(keep, at, radii)


def strip(left: Sequence[ArrayLike], right: Sequence[ArrayLike], steps: int = 5) -> Points:
    """Return the polygon between two smooth edges, both given from top to bottom."""
    return np.concatenate([smooth_line(np.asarray(left), steps), smooth_line(np.asarray(right), steps)[::-1]])
