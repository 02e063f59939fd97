"""Logits of several networks, of the whole frame and of each person, become one label map.

The rule (M-CE2P-test.py, predict_sub_image and model_predict_fuse; SCHP's logits_fusion.py has the same). A local
network's map of the frame is, with B(p) the boxes that hold pixel p:

    foreground c >= 1   mean over B(p) of the crop's logits, 0 where B(p) is empty
    background c = 0    minimum over B(p) of the crop's logits, +inf where B(p) is empty

and the fused map is the sum of all maps, local and global. So outside all boxes everything is background as soon as
there is one local network. The published code sums in float64, this one in float32.

What later steps need of the fused map [C, H, W] is the best class of each pixel and its logit, so `fuse` keeps just
those, computing a band of rows at a time: 1080p with 20 classes takes 166 MB per map in `fused_logits_reference`, and
less than 2 MB in bands, which is also three times as fast.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .crop_logits import CropLogits

Floats = NDArray[np.float32]
LocalCrops = Sequence[CropLogits]
"""What one local network says about each person."""

_BAND_PIXELS = 1 << 14
"""Per band: with 20 classes its maps stay in the cache (2^16 took half as long again, 2^18 twice as long)."""


@dataclass(frozen=True, eq=False)
class FusedLabels:
    """The fused map, reduced to what the label map and the parts' confidence need."""

    labels: NDArray[np.uint8]
    """uint8 [H, W]: the class with the largest fused logit, the lowest of equals."""
    logits: Floats
    """float32 [H, W]: that logit; +inf outside all boxes where there is a local network."""


def fused_logits_reference(
    frame_size: tuple[int, int], classes: int, whole: Sequence[CropLogits], local: Sequence[LocalCrops]
) -> Floats:
    """The definition: the fused map, float32 [C, H, W]. Arguments as for `fuse`."""
    fused = np.zeros((classes, *frame_size), np.float32)
    for network in whole:
        fused += network.whole()
    for crops in local:
        total, count = np.zeros_like(fused), np.zeros(frame_size, np.float32)
        background = np.full(frame_size, np.inf, np.float32)
        for crop in crops:
            x0, y0, x1, y1 = crop.box
            values = crop.whole()
            total[:, y0:y1, x0:x1] += values
            count[y0:y1, x0:x1] += 1
            background[y0:y1, x0:x1] = np.minimum(background[y0:y1, x0:x1], values[0])
        total /= np.maximum(count, 1)
        total[0] = background
        fused += total
    return fused


def fuse(
    frame_size: tuple[int, int], classes: int, whole: Sequence[CropLogits], local: Sequence[LocalCrops]
) -> FusedLabels:
    """Best class and its logit for every pixel of a (H, W) frame; bit-equal to the reference.

    `whole`: the logits of each global network, with the frame as box. `local`: for each local network, the logits of
    each person's crop. Raises ValueError for logits of another class count or boxes beyond the frame.
    """
    height, width = frame_size
    for crop in (*whole, *(crop for crops in local for crop in crops)):
        x0, y0, x1, y1 = crop.box
        if crop.classes != classes or min(x0, y0) < 0 or x1 > width or y1 > height:
            raise ValueError(f"{crop.classes} classes in {crop.box}, expected {classes} within {width}x{height} pixels")
    labels, logits = np.empty(frame_size, np.uint8), np.empty(frame_size, np.float32)
    step = max(_BAND_PIXELS // width, 1)
    for top in range(0, height, step):
        bottom = min(top + step, height)
        band = np.zeros((classes, bottom - top, width), np.float32)
        for network in whole:
            band += network.rows(top, bottom)
        for crops in local:
            _add_local(band, top, crops)
        best = np.argmax(band, axis=0)
        labels[top:bottom] = best
        logits[top:bottom] = np.take_along_axis(band, best[np.newaxis], axis=0)[0]
    return FusedLabels(labels, logits)


def _add_local(band: Floats, top: int, crops: LocalCrops) -> None:
    """Add one local network's map to the band [C, rows, W] that starts at the frame's row `top`."""
    total, count = np.zeros_like(band), np.zeros(band.shape[1:], np.float32)
    background = np.full(band.shape[1:], np.inf, np.float32)
    for crop in crops:
        x0, y0, x1, y1 = crop.box
        first, last = max(y0, top), min(y1, top + band.shape[1])
        if first >= last:
            continue
        values = crop.rows(first, last)
        rows, columns = slice(first - top, last - top), slice(x0, x1)
        total[:, rows, columns] += values
        count[rows, columns] += 1
        background[rows, columns] = np.minimum(background[rows, columns], values[0])
    total /= np.maximum(count, 1)
    total[0] = background
    band += total
