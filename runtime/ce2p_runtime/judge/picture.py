"""A picture to look at: input | reference | candidate | difference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ..result import ParsingResult

Picture = NDArray[np.uint8]
_MARGIN = 8
_LINE = 26
"""Height of a line of text in pixels."""
_SMALLEST, _LARGEST = 384, 1080
"""Sides of a panel, in pixels: smaller pictures are enlarged by a whole factor, larger ones reduced."""
_RED, _BAND = (0, 0, 255), (200, 150, 60)


@dataclass(frozen=True, eq=False)
class ComparedPicture:
    """One picture with both label maps."""

    image: Picture
    """uint8 BGR [H, W, 3]."""
    reference: Picture
    """uint8 [H, W]."""
    candidate: Picture
    """uint8 [H, W]."""
    band: NDArray[np.bool_]
    """The reference's boundary band [H, W]."""
    class_names: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]


def comparison_sheet(compared: ComparedPicture, caption: str) -> Picture:
    """Four panels beside each other under a caption, uint8 BGR.

    In the difference the input is grey, its boundary band is bluish, and pixels with differing labels are red. However
    far a large picture is reduced, each differing pixel stays visible.
    """
    shown = [ParsingResult(m, compared.class_names, compared.palette) for m in (compared.reference, compared.candidate)]
    size = _panel_size(compared.image.shape[:2])
    panels = {
        "input": _resized(compared.image, size),
        "reference": _resized(shown[0].colours(), size, labels=True),
        "candidate": _resized(shown[1].colours(), size, labels=True),
        "difference (red), boundary band (blue)": _difference(compared, size),
    }
    framed = [_framed(picture, heading) for heading, picture in panels.items()]
    return _captioned(np.hstack(framed), caption)


def _difference(compared: ComparedPicture, size: tuple[int, int]) -> Picture:
    grey = cv2.cvtColor(_resized(compared.image, size), cv2.COLOR_BGR2GRAY)
    painted = cv2.cvtColor(grey // 2 + 64, cv2.COLOR_GRAY2BGR)
    band = _resized_mask(compared.band, size)
    painted[band] = (0.65 * painted[band] + 0.35 * np.array(_BAND)).astype(np.uint8)
    painted[_resized_mask(compared.reference != compared.candidate, size)] = _RED
    return np.asarray(painted, np.uint8)


def _panel_size(shape: Sequence[int]) -> tuple[int, int]:
    """(height, width) of a panel."""
    height, width = shape
    larger = max(height, width)
    scale = max(1, round(_SMALLEST / larger)) if larger <= _LARGEST else _LARGEST / larger
    return max(1, round(height * scale)), max(1, round(width * scale))


def _resized(picture: Picture, size: tuple[int, int], *, labels: bool = False) -> Picture:
    reduced = size[0] < picture.shape[0] and not labels
    how = cv2.INTER_AREA if reduced else cv2.INTER_NEAREST
    return np.asarray(cv2.resize(picture, size[::-1], interpolation=how), np.uint8)


def _resized_mask(mask: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Where reduced, a pixel is set if any of those that it stands for is."""
    reach = math.ceil(max(mask.shape[0] / size[0], mask.shape[1] / size[1]))
    grown = mask.astype(np.uint8)
    if reach > 1:  # "nearest" takes the first of the pixels that one of the panel stands for: look ahead from there
        grown = np.asarray(cv2.dilate(grown, np.ones((reach, reach), np.uint8), anchor=(0, 0)), np.uint8)
    return _resized(grown, size, labels=True).astype(np.bool_)


def _framed(panel: Picture, heading: str) -> Picture:
    """A panel under its heading, on white, wide enough for both."""
    missing = max(0, _text_width(heading) - panel.shape[1])
    framed = cv2.copyMakeBorder(
        panel,
        top=_LINE,
        bottom=_MARGIN,
        left=_MARGIN,
        right=_MARGIN + missing,
        borderType=cv2.BORDER_CONSTANT,
        value=(255, 255, 255),
    )
    return _written(np.asarray(framed, np.uint8), heading)


def _captioned(body: Picture, caption: str) -> Picture:
    """A line of text above, cut where the picture ends."""
    line = np.full((_LINE, body.shape[1], 3), 255, np.uint8)
    return np.vstack([_written(line, caption), body])


def _written(picture: Picture, text: str) -> Picture:
    # OpenCV's font has ASCII alone; other letters become question marks.
    black, smooth = (0, 0, 0), cv2.LINE_AA
    cv2.putText(picture, text, (_MARGIN, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, color=black, thickness=1, lineType=smooth)
    return picture


def _text_width(text: str) -> int:
    (width, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.5, 1)
    return int(width) + _MARGIN
