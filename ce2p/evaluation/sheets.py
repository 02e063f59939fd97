"""Pictures to look at: input, truth and prediction beside each other."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from ce2p_runtime.result import ParsingResult

from ..labels import IGNORE

Picture = NDArray[np.uint8]
_WHITE = (255, 255, 255)
_MARGIN = 8


def beside(image: Picture, truth: Picture, result: ParsingResult, height: int = 384, caption: str = "") -> Picture:
    """Input | truth | prediction, `height` pixels high, with a margin; ignored pixels of the truth are white."""
    colours = ParsingResult(np.where(truth == IGNORE, 0, truth).astype(np.uint8), result.class_names, result.palette)
    painted = colours.colours()
    painted[truth == IGNORE] = _WHITE
    row = np.hstack([image, painted, result.colours()])
    scale = height / row.shape[0]
    scaled = np.asarray(cv2.resize(row, None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST), np.uint8)
    top = 30 if caption else _MARGIN
    framed = _framed(scaled, top, _MARGIN, _MARGIN, _MARGIN)
    _write(framed, caption, (_MARGIN, 20), scale=0.5, thickness=1)
    return framed


def sheet(rows: Sequence[Picture]) -> Picture:
    """Rows of `beside` in two columns under a heading. Raises ValueError without a row."""
    if not rows:
        raise ValueError("a sheet needs at least one row")
    width = max(row.shape[1] for row in rows)
    padded = [_framed(row, 0, 0, 0, width - row.shape[1]) for row in rows]
    half = (len(padded) + 1) // 2
    columns = [np.vstack(part) for part in (padded[:half], padded[half:]) if part]
    height = max(column.shape[0] for column in columns)
    filled = [_framed(column, 0, height - column.shape[0], 0, 0) for column in columns]
    body = np.hstack(filled)
    heading = np.full((44, body.shape[1], 3), 255, np.uint8)
    for left in range(_MARGIN, body.shape[1], width):
        _write(heading, "input | truth | prediction", (left, 30), scale=0.9, thickness=2)
    return np.vstack([heading, body])


def _framed(picture: Picture, top: int, bottom: int, left: int, right: int) -> Picture:
    """The picture with white around it."""
    framed = cv2.copyMakeBorder(picture, top, bottom, left, right, borderType=cv2.BORDER_CONSTANT, value=_WHITE)
    return np.asarray(framed, np.uint8)


def _write(picture: Picture, text: str, start: tuple[int, int], *, scale: float, thickness: int) -> None:
    """Black text into the picture; `start`: x and y of its first letter's foot."""
    font, antialiased = cv2.FONT_HERSHEY_SIMPLEX, cv2.LINE_AA
    cv2.putText(picture, text, start, font, scale, color=(0, 0, 0), thickness=thickness, lineType=antialiased)
