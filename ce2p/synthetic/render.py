"""The painter: shapes become colour and labels, both from one mask.

Each shape is filled once on a grid three times finer than the picture. Averaged over 3 x 3 it is the shape's
opacity, so edges are anti-aliased; its middle sample, the pixel's centre, decides the label, so labels are
hard. Colour and label can therefore never disagree by more than an edge pixel's blend.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from .lip import Lip
from .materials import TILE_SPAN, Material, tile
from .outline import Points

_FINE: Final = 3  # odd, so that one fine sample lies on the pixel's centre
_SHIFT: Final = 4  # fractional bits of cv2's polygon coordinates


@dataclass(frozen=True)
class Frame:
    """Where a material's texture is pinned: `origin` in pixels, `angle` in radians, `scale` in pixels per
    figure height. A texture moves and turns with its limb, so that cloth looks the same in every frame of a
    video."""

    origin: Points
    angle: float
    scale: float


@dataclass(frozen=True)
class Shape:
    """One thing to paint: the union of `pieces`, polygons (N, 2) in pixels whose first pixel spans 0 to 1.

    A shape without a `label` is a detail and leaves labels alone; `within` confines it to pixels that so far
    bear that label. `region` is the `Region` that a labelled shape, or a detail where it shows, puts into the second
    map; 0 leaves it alone. `relief` is the strength of its shading, `thickness` how round it looks, in figure
    heights.
    """

    pieces: Sequence[Points]
    material: Material
    frame: Frame
    label: Lip | None = None
    within: Lip | None = None
    relief: float = 0.5
    thickness: float = 0.05
    opacity: float = 1.0
    region: int = 0


def paint(
    image: NDArray[np.float32],
    labels: NDArray[np.uint8],
    shapes: Iterable[Shape],
    *,
    light_from_left: bool = True,
    regions: NDArray[np.uint8] | None = None,
) -> None:
    """Paint `shapes` in order, later ones over earlier ones, into `image` and `labels` in place.

    `image` is float32 BGR (H, W, 3) in 0 to 255, `labels` and, if wanted, `regions` uint8 (H, W). Parts outside the
    picture are cut off.
    """
    for shape in shapes:
        box = _box(shape.pieces, labels.shape[0], labels.shape[1])
        if box is None:
            continue
        x0, y0, x1, y1 = box
        fine = _fill(shape.pieces, box)
        opacity = cv2.resize(fine, (x1 - x0, y1 - y0), interpolation=cv2.INTER_AREA).astype(np.float32)
        opacity *= shape.opacity / 255.0
        part = labels[y0:y1, x0:x1]
        if shape.within is not None:
            opacity *= part == shape.within
        colour = _colour(shape, box)
        if shape.relief > 0:
            colour = colour * _relief(opacity, shape, light_from_left)[..., None]
        target = image[y0:y1, x0:x1]
        target += opacity[..., None] * (colour - target)
        if shape.label is None and (regions is None or not shape.region):
            continue
        covered = fine[_FINE // 2 :: _FINE, _FINE // 2 :: _FINE] > 0
        if regions is not None and shape.region:
            shown = covered if shape.within is None else covered & (part == shape.within)
            regions[y0:y1, x0:x1][shown] = shape.region
        if shape.label is not None:
            part[covered] = shape.label


def _box(pieces: Sequence[Points], height: int, width: int) -> tuple[int, int, int, int] | None:
    """Return the pixels that the shape can touch, x0, y0, x1, y1, with one to spare; None if there are
    none."""
    points = np.concatenate(pieces)
    x0, y0 = np.maximum(np.floor(points.min(axis=0)).astype(int) - 1, 0)
    x1, y1 = np.minimum(np.ceil(points.max(axis=0)).astype(int) + 1, (width, height))
    return (int(x0), int(y0), int(x1), int(y1)) if x1 > x0 and y1 > y0 else None


def _fill(pieces: Sequence[Points], box: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    x0, y0, x1, y1 = box
    fine = np.zeros(((y1 - y0) * _FINE, (x1 - x0) * _FINE), np.uint8)
    for piece in pieces:
        # cv2 counts from the middle of a sample, pixels here from their corner: hence the half.
        corners = ((piece - (x0, y0)) * _FINE - 0.5) * (1 << _SHIFT)
        cv2.fillPoly(fine, [np.round(corners).astype(np.int32)], 255, shift=_SHIFT)
    return fine


def _colour(shape: Shape, box: tuple[int, int, int, int]) -> NDArray[np.float32]:
    """Return the material's colour, (h, w, 3) or for a single colour (1, 1, 3)."""
    if shape.material.pattern == "solid":
        return np.array(shape.material.colour, np.float32)[None, None]
    x0, y0, x1, y1 = box
    frame = shape.frame
    texture = tile(shape.material, max(8, round(TILE_SPAN * frame.scale)))
    zoom = texture.shape[0] / (TILE_SPAN * frame.scale)
    turn = zoom * np.array([[np.cos(frame.angle), np.sin(frame.angle)], [-np.sin(frame.angle), np.cos(frame.angle)]])
    shift = turn @ (np.array([x0 + 0.5, y0 + 0.5]) - frame.origin)
    matrix = np.concatenate([turn, shift[:, None]], axis=1)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    warped = cv2.warpAffine(texture, matrix, (x1 - x0, y1 - y0), flags=flags, borderMode=cv2.BORDER_WRAP)
    return np.asarray(warped, dtype=np.float32)


def _relief(opacity: NDArray[np.float32], shape: Shape, light_from_left: bool) -> NDArray[np.float32]:
    """Shade the shape as if it bulged: bright where it ends towards the light, dark where it ends away from
    it.

    Two box filters look the opposite ways. The border is replicated, so that a shape cut off by the picture's
    edge gets no rim there.
    """
    size = max(3, round(shape.thickness * shape.frame.scale))
    near, far = (0, size - 1) if light_from_left else (size - 1, 0)
    away = cv2.boxFilter(opacity, -1, (size, size), anchor=(near, 0), borderType=cv2.BORDER_REPLICATE)
    towards = cv2.boxFilter(opacity, -1, (size, size), anchor=(far, size - 1), borderType=cv2.BORDER_REPLICATE)
    light = 1.0 + shape.relief * (0.62 * (away - towards) - 0.3 * (1.0 - 0.5 * (away + towards)))
    return np.asarray(light, dtype=np.float32)
