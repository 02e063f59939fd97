"""Where a frame lies inside the network's input, and where the predictions lie inside the frame.

Affine geometry, in whole pixels with (0, 0) the centre of the first one. The box is the whole frame, from
pixel 0 to pixel W-1; its shorter side is extended until it has the aspect of the input; only its width `sw`
matters then:

    SCHP (half_pixel False) x' = (x - cx)·(S_w - 1)/sw + (S_w - 1)/2, y' = (y - cy)·(S_w - 1)/sw + (S_h - 1)/2
    CE2P (half_pixel True)  x' = (x - cx)·S_w/sw       + S_w/2,       y' = (y - cy)·S_w/sw       + S_h/2

with (cx, cy) = ((W-1)/2, (H-1)/2). Sources: `get_affine_transform` in utils/transforms.py and `_box2cs` in
datasets/simple_extractor_dataset.py (SCHP), dataset/datasets.py (CE2P). They solve three float32 points
instead; the closed form differs by less than 1e-4 input pixels at any real frame size. CE2P's evaluate.py
keeps the centres in an int32 array, so its way back uses the truncated centre (`centre="int"`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .model_files.metadata import Geometry


@dataclass(frozen=True)
class FrameMapping:
    """How one frame size maps into one input size. Both matrices take frame pixels to input pixels."""

    forward: NDArray[np.float64] | None
    """2x3, makes the input from the frame. None: stretch the frame to the input (cv2.resize)."""
    unwarp: NDArray[np.float64] | None
    """2x3, finds a frame pixel's place in the predictions. None: resize the logits straight to the frame."""
    frame_size: tuple[int, int]
    """(H, W) in pixels."""
    input_size: tuple[int, int]
    """(S_h, S_w) in pixels."""


def frame_mapping(geometry: Geometry, frame_size: tuple[int, int], input_size: tuple[int, int]) -> FrameMapping:
    """The mapping of a (H, W) frame into a (S_h, S_w) input. Raises ValueError for sizes below 1 (input:
    below 2)."""
    if min(frame_size) < 1 or min(input_size) < 2:
        raise ValueError(
            f"frame {frame_size} into input {input_size}: a frame needs 1 pixel, an input 2, along each side"
        )
    if geometry.kind == "resize":
        return FrameMapping(None, None, frame_size, input_size)
    height, width = frame_size
    centre = ((width - 1) * 0.5, (height - 1) * 0.5)
    scale = _scale(geometry, frame_size, input_size)
    forward = _matrix(geometry, centre, scale, input_size)
    if geometry.centre == "float":
        return FrameMapping(forward, forward, frame_size, input_size)
    truncated = (float(int(centre[0])), float(int(centre[1])))
    return FrameMapping(forward, _matrix(geometry, truncated, scale, input_size), frame_size, input_size)


def _extent(size: int, geometry: Geometry) -> float:
    """Length of an input side as the family counts it."""
    return float(size if geometry.half_pixel else size - 1)


def _scale(geometry: Geometry, frame_size: tuple[int, int], input_size: tuple[int, int]) -> float:
    """Input pixels per frame pixel."""
    aspect = input_size[1] / input_size[0]
    box_width = max(frame_size[1] - 1.0, (frame_size[0] - 1.0) * aspect)
    # A frame of one pixel has a box without extent, where the public code divides by zero: take one pixel.
    return _extent(input_size[1], geometry) / float(np.float32(box_width or 1.0))


def _matrix(
    geometry: Geometry, centre: tuple[float, float], scale: float, input_size: tuple[int, int]
) -> NDArray[np.float64]:
    """The affine that takes `centre` to the middle of the input."""
    middle_x, middle_y = _extent(input_size[1], geometry) * 0.5, _extent(input_size[0], geometry) * 0.5
    return np.array(
        [[scale, 0.0, middle_x - scale * centre[0]], [0.0, scale, middle_y - scale * centre[1]]], dtype=np.float64
    )
