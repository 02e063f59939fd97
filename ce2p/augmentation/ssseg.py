"""The augmentation of sssegmentation: resize, crop, mirror, rotate, distort the colours, pad.

Sources: ssseg/modules/datasets/pipelines/transforms.py and ssseg/configs/_base_/datasets/{lip,cihp,atr}_473x473.py;
for VOC the pipeline in ssseg/configs/ce2p/ce2p_*_voc.py. In their order:

1. resize by a factor drawn from `scale_range`; to a fixed size whatever the picture's aspect, or keeping it
2. a random crop in which no class has `max_class_share` of the pixels or more: the first of ten, or else the tenth
3. mirror, with the data set's own left/right pairs
4. rotation about the middle by whole degrees, in the crop's own frame: bicubic, black and 255 around
   (`rotation_first`: before the crop, as at commit 7f4b9a1d, where the first published models come from)
5. photometric distortion
6. edges from the labels; then padding on all sides to the input size, ignored by both losses: 255 in labels and edges

They pad with zeros after normalising, which is the mean colour; before it that is `padding_colour`, rounded to whole
grey levels. Where all ten crops are ignored throughout they go on with the uncropped picture; we take the tenth.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

from ..errors import ConfigError
from ..labels import IGNORE, LabelSet
from .base import Augmented, Pixels, check_colour, check_number, check_range
from .edge_maps import edge_map
from .geometric_steps import Pair, mirror, pad, resize, warp
from .photometric import Photometric

_CROPS = 10
"""Crops that are drawn before one is taken as it is."""


@dataclass(frozen=True)
class SssegAugmentation:
    """The pipeline above. The defaults are the published values for LIP, CIHP and ATR."""

    size: tuple[int, int]
    """(h, w) of the input in pixels."""
    label_set: LabelSet
    resize: tuple[int, int] | None = None
    """Sides in pixels at factor 1, in any order: the longer one goes to the picture's longer side. With `keep_ratio`
    the picture is made as large as fits. None: in the published proportion to the input, 520 to 473 for both sides;
    with `keep_ratio` 4 and 1 times the input (2048 and 512 to 512)."""
    keep_ratio: bool = False
    scale_range: tuple[float, float] = (0.75, 1.25)
    max_class_share: float = 0.75
    flip_probability: float = 0.5
    rotation_probability: float = 0.6
    rotation_degrees: int = 30
    rotation_first: bool = False
    photometric: bool = True
    brightness: float = 32.0
    contrast: tuple[float, float] = (0.5, 1.5)
    saturation: tuple[float, float] = (0.5, 1.5)
    hue: int = 18
    padding_colour: tuple[int, int, int] = (104, 116, 124)
    """BGR."""
    _distort: Photometric = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.resize is not None and (len(self.resize) != 2 or min(self.resize) < 2):
            raise ConfigError(f"augmentation: resize is {self.resize!r}, expected two sides of at least 2 pixels")
        check_range("scale_range", self.scale_range, 0.05, 20)
        for name in ("max_class_share", "flip_probability", "rotation_probability"):
            check_number(name, getattr(self, name), 0, 1)
        check_number("rotation_degrees", self.rotation_degrees, 0, 180)
        check_number("brightness", self.brightness, 0, 255)
        check_range("contrast", self.contrast, 0, 10)
        check_range("saturation", self.saturation, 0, 10)
        check_number("hue", self.hue, 0, 90)
        check_colour("padding_colour", self.padding_colour)
        object.__setattr__(self, "_distort", Photometric(self.brightness, self.contrast, self.saturation, self.hue))

    def __call__(self, image: Pixels, labels: Pixels, rng: np.random.Generator) -> Augmented:
        """See `Augmentation`."""
        image, labels = self._resized(image, labels, rng)
        if self.rotation_first:
            image, labels = self._rotated(image, labels, rng)
        window = self._window(labels, rng)
        image, labels = image[window], labels[window]
        if rng.random() < self.flip_probability:
            image, labels = mirror(image, labels, self.label_set)
        if not self.rotation_first:
            image, labels = self._rotated(image, labels, rng)
        if self.photometric:
            image = self._distort(image, rng)
        return self._padded(image, labels)

    def _resized(self, image: Pixels, labels: Pixels, rng: np.random.Generator) -> Pair:
        factor = rng.uniform(*self.scale_range)
        size = _resized_shape((labels.shape[0], labels.shape[1]), self._sides(), factor, self.keep_ratio)
        return resize(image, labels, size)

    def _sides(self) -> tuple[int, int]:
        if self.resize is not None:
            return self.resize
        if self.keep_ratio:
            return 4 * min(self.size), min(self.size)
        return round(self.size[0] * 520 / 473), round(self.size[1] * 520 / 473)

    def _window(self, labels: Pixels, rng: np.random.Generator) -> tuple[slice, slice]:
        """Where to crop: the first draw in which no class is too common, or the last draw."""
        spare = [max(0, have - want) for have, want in zip(labels.shape, self.size, strict=True)]
        for _ in range(_CROPS if any(spare) else 1):
            top, left = (int(rng.integers(room + 1)) for room in spare)
            window = (slice(top, top + self.size[0]), slice(left, left + self.size[1]))
            if _is_varied(labels[window], self.max_class_share):
                break
        return window

    def _rotated(self, image: Pixels, labels: Pixels, rng: np.random.Generator) -> Pair:
        if rng.random() >= self.rotation_probability or self.rotation_degrees == 0:
            return image, labels
        degrees = int(rng.integers(-self.rotation_degrees, self.rotation_degrees))
        height, width = labels.shape
        matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1)
        return warp(image, labels, np.asarray(matrix, np.float64), (height, width), cv2.INTER_CUBIC)

    def _padded(self, image: Pixels, labels: Pixels) -> Augmented:
        missing = [want - have for have, want in zip(labels.shape, self.size, strict=True)]
        top, left = (pixels // 2 for pixels in missing)
        sides = (top, missing[0] - top, left, missing[1] - left)
        return pad(Augmented(image, labels, edge_map(labels)), sides, self.padding_colour, IGNORE)


def _resized_shape(
    picture: tuple[int, int], sides: tuple[int, int], factor: float, keep_ratio: bool
) -> tuple[int, int]:
    """(H, W) after resizing. Fractions are cut off the scaled sides and rounded in a kept aspect, as published."""
    long, short = (max(1, int(side * factor)) for side in (max(sides), min(sides)))
    if not keep_ratio:
        return (long, short) if picture[0] > picture[1] else (short, long)
    scale = min(long / max(picture), short / min(picture))
    return max(1, int(picture[0] * scale + 0.5)), max(1, int(picture[1] * scale + 0.5))


def _is_varied(labels: Pixels, limit: float) -> bool:
    """Whether the pixels that count are of two classes at least and no class has the share `limit` of them or more.

    A histogram of the whole crop answers that, but a coarse sample nearly always names the one class that matters.
    """
    counted = labels.size - np.count_nonzero(labels == IGNORE)
    likely = np.bincount(labels[::16, ::16].ravel(), minlength=256)[:IGNORE].argmax()
    pixels = np.count_nonzero(labels == likely)
    if counted == 0 or pixels / counted >= limit:
        return False
    if (counted - pixels) / counted < limit:  # all other classes together
        return True
    counts = np.bincount(labels.ravel(), minlength=256)[:IGNORE]
    return bool(counts.max() / counted < limit)
