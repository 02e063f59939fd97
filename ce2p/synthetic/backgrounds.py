"""Places for figures to stand in: rooms, streets, meadows and studio walls, with things that resemble people.

A background is a function of its seed and of time: the camera pans, near things faster than far ones. Some
distractors have the colours of skin, hair and cloth, so that colour alone does not give a person away.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from .materials import PATTERNS, Colour, Material, from_hsv
from .outline import Points, ellipse, smooth_loop, tube
from .render import Frame, Shape, paint
from .wardrobe import sample_skin

KINDS: Final = ("studio", "room", "street", "meadow", "wall")


@dataclass(frozen=True)
class Thing:
    """A distractor: `kind` of shape, centre and half size as fractions of the picture's height (x measured
    from the middle), `depth` 0 far to 1 near, which is how much of the camera's pan it follows."""

    kind: str
    x: float
    y: float
    half_width: float
    half_height: float
    depth: float
    material: Material


@dataclass(frozen=True)
class Background:
    """One place. `horizon` is where wall or sky meets the ground, as a fraction of the height; `pan` is the
    camera's speed in picture heights per second; `blur` how far out of focus it lies, in picture heights."""

    kind: str
    horizon: float
    upper: tuple[Colour, Colour]
    lower: tuple[Colour, Colour]
    wall: Material
    things: tuple[Thing, ...]
    pan: float
    blur: float


def _muted(rng: np.random.Generator, low: float, high: float, saturation: float = 0.35) -> Colour:
    return from_hsv(rng.uniform(0, 360), rng.uniform(0.0, saturation), rng.uniform(low, high))


def _surface(rng: np.random.Generator, colour: Colour) -> Material:
    """Draw a patterned surface whose accent differs only a little from its colour."""
    b, g, r = (float(np.clip(c * rng.uniform(0.75, 1.2), 0, 255)) for c in colour)
    pattern = str(rng.choice([*PATTERNS[:5], "denim", "plain", "plain"]))
    return Material(
        colour=colour,
        accent=(b, g, r),
        pattern=pattern,
        repeats=int(rng.integers(2, 9)),
        seed=int(rng.integers(2**31)),
        creases=0.02,
    )


def _thing(rng: np.random.Generator, horizon: float) -> Thing:
    kind = str(rng.choice(["box", "pole", "blob", "cloth", "frame"]))
    colour = from_hsv(rng.uniform(0, 360), rng.uniform(0.05, 0.65), rng.uniform(0.2, 0.9))
    material = sample_skin(rng) if rng.random() < 0.2 else _surface(rng, colour)
    half_height = float(rng.uniform(0.05, 0.22))
    half_width = float(half_height * rng.uniform(0.4, 1.5))
    y = float(rng.uniform(0.05, horizon))
    if kind == "pole":
        half_width, half_height, y = float(rng.uniform(0.01, 0.03)), 0.5, 0.45
    elif kind == "box":  # boxes stand on the ground
        y = horizon + float(rng.uniform(-0.02, 0.12)) - half_height
    x = float(rng.uniform(-0.9, 0.9))
    return Thing(
        kind=kind,
        x=x,
        y=y,
        half_width=half_width,
        half_height=half_height,
        depth=float(rng.uniform(0.3, 1.0)),
        material=material,
    )


def sample_background(rng: np.random.Generator) -> Background:
    """Draw a place. Deterministic in the state of `rng`."""
    kind = str(rng.choice(KINDS))
    horizon = float(rng.uniform(0.60, 0.86))
    upper = (_muted(rng, 0.45, 0.95), _muted(rng, 0.45, 0.95))
    lower = (_muted(rng, 0.3, 0.7), _muted(rng, 0.25, 0.6))
    if kind in ("street", "meadow"):
        sky = from_hsv(rng.uniform(195, 230), rng.uniform(0.1, 0.5), rng.uniform(0.7, 1.0))
        upper = (sky, (235.0, 235.0, 240.0))
        green = from_hsv(rng.uniform(70, 120), rng.uniform(0.25, 0.55), rng.uniform(0.35, 0.65))
        lower = (green, from_hsv(95.0, 0.4, 0.3)) if kind == "meadow" else lower
    things = sorted((_thing(rng, horizon) for _ in range(int(rng.integers(3, 9)))), key=lambda thing: thing.depth)
    return Background(
        kind=kind,
        horizon=horizon,
        upper=upper,
        lower=lower,
        wall=_surface(rng, _muted(rng, 0.4, 0.9)),
        things=tuple(things),
        pan=float(rng.uniform(-0.06, 0.06)),
        blur=float(rng.choice([0.0, 0.004, 0.012])),
    )


def paint_background(background: Background, size: tuple[int, int], time: float = 0.0) -> NDArray[np.float32]:
    """Paint the place at `time` seconds: float32 BGR (H, W, 3) in 0 to 255 for `size` = (H, W)."""
    height, width = size
    horizon = round(background.horizon * height)
    image = np.empty((height, width, 3), np.float32)
    image[:horizon] = _ramp(background.upper, horizon)
    image[horizon:] = _ramp(background.lower, height - horizon)
    nowhere = np.zeros(size, np.uint8)  # the painter wants labels; nothing here has any
    paint(image, nowhere, _scenery(background, size, time))
    if background.kind == "studio":  # no edge between wall and floor
        image[:] = cv2.blur(image, (1, max(1, height // 4) | 1))
    paint(image, nowhere, [_as_shape(thing, background, size, time) for thing in background.things])
    if background.blur > 0:
        side = max(3, round(background.blur * height) * 2 + 1)
        image = np.asarray(cv2.blur(cv2.blur(image, (side, side)), (side, side)), dtype=np.float32)
    return image


def _ramp(colours: tuple[Colour, Colour], rows: int) -> NDArray[np.float32]:
    """Return a vertical gradient (rows, 1, 3)."""
    part = np.linspace(0.0, 1.0, max(rows, 1), dtype=np.float32)[:, None, None]
    first, last = (np.array(colour, np.float32) for colour in colours)
    return np.asarray((first + part * (last - first))[:rows])


def _rectangle(x0: float, y0: float, x1: float, y1: float) -> Points:
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])


def _scenery(background: Background, size: tuple[int, int], time: float) -> list[Shape]:
    """Return what the kind of place is made of besides its gradients."""
    height, width = size
    pan = background.pan * time * height
    horizon = background.horizon * height
    frame = Frame(np.array([pan, 0.0]), 0.0, float(height))
    wall = background.wall
    if background.kind == "wall":
        return [Shape([_rectangle(0, 0, width, height)], wall, frame, relief=0)]
    if background.kind == "room":
        board = _rectangle(0, horizon - 0.03 * height, width, horizon)
        paper = _rectangle(0, 0, width, horizon)
        pale = Material((215.0, 222.0, 226.0))
        return [Shape([paper], wall, frame, relief=0), Shape([board], pale, frame, relief=0, opacity=0.8)]
    step = 0.34 * height
    first = int(np.floor(-0.4 * pan / step)) - 1
    shapes = []
    for index in range(first, first + int(width / step) + 3):
        # Every house and tree has its own generator, so that panning brings up the same ones.
        own = np.random.default_rng([wall.seed, index + 2**20])
        x, tall = 0.4 * pan + index * step, float(own.uniform(0.15, 0.55)) * height
        if background.kind == "street":
            front = Material(_muted(own, 0.35, 0.85), _muted(own, 0.3, 0.7), "checks", 3, wall.seed)
            shapes.append(Shape([_rectangle(x, horizon - tall, x + step, horizon)], front, frame, relief=0.2))
        elif background.kind == "meadow":
            leaf = Material(from_hsv(own.uniform(70, 140), 0.45, own.uniform(0.25, 0.5)))
            crown = ellipse((x, horizon - 0.6 * tall), (0.4 * step, 0.4 * tall))
            trunk = _rectangle(x - 0.02 * height, horizon - 0.3 * tall, x + 0.02 * height, horizon + 2)
            shapes.append(Shape([trunk], Material((50.0, 75.0, 100.0)), frame))
            shapes.append(Shape([crown], leaf, frame, thickness=0.1))
    return shapes


def _as_shape(thing: Thing, background: Background, size: tuple[int, int], time: float) -> Shape:
    height, width = size
    # What leaves the picture on one side comes back on the other, well outside the visible part.
    span = width / height + 1.0
    x = (thing.x + background.pan * thing.depth * time + span / 2) % span - span / 2
    centre = np.array([0.5 * width + x * height, thing.y * height])
    w, h = thing.half_width * height, thing.half_height * height
    x0, y0, x1, y1 = centre[0] - w, centre[1] - h, centre[0] + w, centre[1] + h
    match thing.kind:
        case "blob":
            corners = [(x0, y0), (x1, y0 + 0.4 * h), (x1 - 0.3 * w, y1), (x0 - 0.1 * w, y1 - 0.5 * h)]
            pieces = [smooth_loop(corners)]
        case "cloth":  # hung from a rail
            hem = [(x0 + t * (x1 - x0), y1 + 0.05 * h * np.sin(9.0 * t)) for t in np.linspace(1, 0, 9)]
            pieces = [np.array([(x0, y0), (x1, y0), *hem])]
        case "pole":
            pieces = tube([(centre[0], y0), (centre[0], y1)], [w, w])
        case _:
            pieces = [_rectangle(x0, y0, x1, y1)]
    return Shape(pieces, thing.material, Frame(centre, 0.0, float(height)), relief=0.45, thickness=0.06)
