"""Cloth, skin and hair: a colour, a pattern, and the periodic tile of texture that they make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

Grid: TypeAlias = NDArray[np.float32]
Colour: TypeAlias = tuple[float, float, float]
"""Blue, green, red, each 0 to 255."""

TILE_SPAN: Final = 0.5
"""Side of a texture tile in figure heights."""
_TILE_PIXELS: Final = 128

PATTERNS: Final = ("plain", "stripes", "bands", "checks", "dots", "floral", "denim", "knit", "pleats")


@dataclass(frozen=True)
class Material:
    """What a shape is painted with.

    `colour` and `accent` are BGR; `accent` is the pattern's second colour. `pattern` is one of `PATTERNS`, or
    "solid" for the bare colour, and repeats `repeats` times a `TILE_SPAN`. `seed` places creases and flowers;
    `creases` is how far creases brighten and darken the cloth, as a fraction.
    """

    colour: Colour
    accent: Colour = (255.0, 255.0, 255.0)
    pattern: str = "solid"
    repeats: int = 8
    seed: int = 0
    creases: float = 0.055

    def shaded(self, factor: float) -> Material:
        """Return the material darker (`factor` below 1) or lighter, pattern and all."""
        return replace(self, colour=_scaled(self.colour, factor), accent=_scaled(self.accent, factor))

    def plain(self, factor: float = 1.0) -> Material:
        """Return the bare colour without pattern or wrinkles, for seams and details."""
        return Material(_scaled(self.colour, factor))


def _scaled(colour: Colour, factor: float) -> Colour:
    b, g, r = (min(255.0, channel * factor) for channel in colour)
    return (b, g, r)


def from_hsv(hue: float, saturation: float, value: float) -> Colour:
    """Convert hue in degrees and saturation and value in 0 to 1 to BGR."""
    k = (np.array([1.0, 3.0, 5.0]) + hue / 60.0) % 6.0
    b, g, r = 255.0 * (value - value * saturation * np.clip(np.minimum(k, 4.0 - k), 0.0, 1.0))
    return (float(b), float(g), float(r))


def near(rng: np.random.Generator, palette: Sequence[Colour], spread: float = 12.0) -> Colour:
    """Draw one colour of `palette` and vary its brightness and each channel a little."""
    base = np.array(palette[int(rng.integers(len(palette)))])
    b, g, r = np.clip(base * rng.uniform(0.85, 1.15) + rng.normal(0.0, spread, 3), 5.0, 250.0)
    return (float(b), float(g), float(r))


@lru_cache(maxsize=128)
def tile(material: Material, pixels: int) -> NDArray[np.uint8]:
    """Return the material's texture, uint8 BGR (P, P, 3), which repeats seamlessly.

    `pixels` is how many output pixels `TILE_SPAN` covers; P never exceeds 128. Shrinking here, by area, keeps
    fine stripes from aliasing when the figure is small. The result is cached and must not be written to.
    """
    texture = _draw_tile(material)
    if pixels < _TILE_PIXELS:
        texture = np.asarray(cv2.resize(texture, (pixels, pixels), interpolation=cv2.INTER_AREA), dtype=np.uint8)
    texture.setflags(write=False)
    return texture


def _draw_tile(material: Material) -> NDArray[np.uint8]:
    rng = np.random.default_rng(material.seed)
    u: Grid = np.arange(_TILE_PIXELS, dtype=np.float32)[None, :] / np.float32(_TILE_PIXELS)
    v: Grid = u.T
    mix = _pattern(material, u, v, rng)[..., None]
    base, accent = np.array(material.colour, np.float32), np.array(material.accent, np.float32)
    light = 1.0 + material.creases * _creases(u, v, rng)
    if material.pattern == "pleats":
        light = light * (0.86 + 0.14 * np.cos(2 * np.pi * material.repeats * u))
    cloth = (base + mix * (accent - base)) * light[..., None]
    return np.asarray(np.clip(cloth, 0, 255), dtype=np.uint8)


def _creases(u: Grid, v: Grid, rng: np.random.Generator) -> Grid:
    """Sum a few waves of whole wave numbers, so that the tile still closes on itself; about -2 to 2."""
    total = np.zeros((_TILE_PIXELS, _TILE_PIXELS), np.float32)
    for _ in range(4):
        # cos(a + b) from the two axes: a hundred times fewer cosines than on the grid.
        a = np.float32(2 * np.pi) * (np.float32(rng.integers(-4, 5)) * u + np.float32(rng.random()))
        b = np.float32(2 * np.pi) * (np.float32(rng.integers(1, 4)) * v)
        total += np.cos(a) * np.cos(b) - np.sin(a) * np.sin(b)
    return total


def _pattern(material: Material, u: Grid, v: Grid, rng: np.random.Generator) -> Grid:
    """Return how much of the accent colour shows at every place of the tile, 0 to 1."""
    n, flat = material.repeats, np.zeros((_TILE_PIXELS, _TILE_PIXELS), np.float32)
    across, down = np.cos(2 * np.pi * n * u) + flat, np.cos(2 * np.pi * n * v) + flat
    match material.pattern:
        case "stripes":
            mix = np.clip(4.0 * across - 1.2, 0.0, 1.0)
        case "bands":
            mix = np.clip(4.0 * down, 0.0, 1.0)
        case "checks":
            mix = 0.45 * (across > 0.2) + 0.45 * (down > 0.2)
        case "dots":
            mix = np.clip(6.0 * (across * down) - 3.4, 0.0, 1.0)
        case "floral":
            mix = _flowers(n, rng)
        case "denim":
            mix = 0.10 + 0.10 * np.cos(2 * np.pi * 24 * (u + v)) + 0.06 * rng.standard_normal(flat.shape)
        case "knit":
            mix = 0.16 * np.abs(np.cos(np.pi * 2 * n * (u + 0.03 * down))) + flat
        case _:
            mix = flat
    return np.asarray(mix, dtype=np.float32)


def _flowers(count: int, rng: np.random.Generator) -> Grid:
    """Scatter `3 * count` blots; each is drawn nine times so that it wraps around the tile's edges."""
    mask = np.zeros((_TILE_PIXELS, _TILE_PIXELS), np.uint8)
    for x, y, r in zip(*rng.integers((0, 0, 3), (_TILE_PIXELS, _TILE_PIXELS, 8), (3 * count, 3)).T, strict=True):
        for dx in (-_TILE_PIXELS, 0, _TILE_PIXELS):
            for dy in (-_TILE_PIXELS, 0, _TILE_PIXELS):
                cv2.circle(mask, (int(x) + dx, int(y) + dy), int(r), 255, -1, lineType=cv2.LINE_AA)
                cv2.circle(mask, (int(x) + dx, int(y) + dy), int(r) // 3, 90, -1, lineType=cv2.LINE_AA)
    return mask.astype(np.float32) / 255.0
