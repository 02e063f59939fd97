"""Photometric distortion as sssegmentation does it: brightness, contrast, saturation and hue, each half of the time.

Source: `PhotoMetricDistortion` in ssseg/modules/datasets/pipelines/transforms.py: brightness first; contrast second or
last, with equal chance; saturation before hue. Values are cut off, not rounded, after each of the steps. Two things of
its own are kept: the picture is BGR but taken for RGB on the way to hue and back, which mirrors the hue circle, and
hue steps are whole numbers from -hue to hue - 1.

Each step maps 256 values to 256 values, so it is a table. One difference: where saturation and hue are both drawn,
the picture goes to HSV and back once instead of twice.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from .base import Pixels

_VALUES = np.arange(256, dtype=np.uint8)
_HUES = 180
"""OpenCV's hue circle in uint8: steps of two degrees."""


@dataclass(frozen=True)
class Photometric:
    """Random brightness (± grey levels), contrast and saturation (factors, least and greatest) and hue (± steps)."""

    brightness: float = 32.0
    contrast: tuple[float, float] = (0.5, 1.5)
    saturation: tuple[float, float] = (0.5, 1.5)
    hue: int = 18

    def __call__(self, image: Pixels, rng: np.random.Generator) -> Pixels:
        """A distorted copy of a uint8 BGR picture [h, w, 3], or the picture itself where nothing was drawn."""
        before, after = _VALUES, _VALUES
        if rng.random() < 0.5:
            before = _cut(before + np.float32(rng.uniform(-self.brightness, self.brightness)))
        contrast_last = rng.random() < 0.5
        if rng.random() < 0.5:
            factor = np.float32(rng.uniform(*self.contrast))
            if contrast_last:
                after = _cut(after * factor)
            else:
                before = _cut(before * factor)
        saturation, hue = _VALUES, _VALUES
        if rng.random() < 0.5:
            saturation = _cut(saturation * np.float32(rng.uniform(*self.saturation)))
        if rng.random() < 0.5 and self.hue > 0:
            hue = ((_VALUES.astype(int) + rng.integers(-self.hue, self.hue)) % _HUES).astype(np.uint8)
        image = _through(image, before)
        if saturation is not _VALUES or hue is not _VALUES:
            tables = np.stack([hue, saturation, _VALUES], axis=1)[None]
            hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
            image = np.asarray(cv2.cvtColor(cv2.LUT(hsv, tables), cv2.COLOR_HSV2RGB), np.uint8)
        return _through(image, after)


def _cut(values: NDArray[np.floating]) -> Pixels:
    """Into 0..255, then down to whole numbers, as a cast does."""
    return np.clip(values, 0, 255).astype(np.uint8)


def _through(image: Pixels, table: Pixels) -> Pixels:
    """Each value replaced by the table's, unless the table changes nothing."""
    if table is _VALUES:
        return image
    return np.asarray(cv2.LUT(image, table), np.uint8)
