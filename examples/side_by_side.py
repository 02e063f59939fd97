"""A video beside its labels, as a small animated WebP for a README or a chat.

python examples/side_by_side.py MODEL.onnx walk.mp4 walk.webp
"""

from __future__ import annotations

import sys
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ce2p_runtime import CE2PRuntimeError, HumanParser
from ce2p_runtime.base.files import atomic_path

HEIGHT = 300
"""Pixels of the picture's height."""
EVERY = 2
"""One frame of so many is shown."""
OPACITY = 0.75
QUALITY = 65
GAP = 8
"""White pixels between the two halves."""


def main(model: str, video: str, target: str) -> None:
    """Write `target`, with every second frame, at the video's speed."""
    pictures, times = [], []
    with HumanParser(model, keep_frames=True) as parser:
        for index, result in enumerate(parser.stream(video)):
            if index % EVERY == 0 and result.frame is not None and result.time is not None:
                pictures.append(_beside(result.frame, result.overlay(opacity=OPACITY)))
                times.append(result.time)
    steps = np.diff(times) * 1000
    shown = [round(step) for step in [*steps, steps[-1] if len(steps) else 1000]]
    encoded = BytesIO()
    pictures[0].save(
        encoded, "WEBP", save_all=True, append_images=pictures[1:], duration=shown, loop=0, quality=QUALITY, method=4
    )
    with atomic_path(Path(target)) as temporary:
        temporary.write_bytes(encoded.getvalue())
    print(f"{target}: {len(pictures)} frames, {len(encoded.getvalue()) / 1024:.0f} KiB")


def _beside(left: NDArray[np.uint8], right: NDArray[np.uint8]) -> Image.Image:
    """Two BGR frames of one size next to each other, `HEIGHT` pixels high."""
    size = (round(left.shape[1] * HEIGHT / left.shape[0]), HEIGHT)
    halves = [cv2.resize(half, size, interpolation=cv2.INTER_AREA) for half in (left, right)]
    gap: NDArray[np.uint8] = np.full((HEIGHT, GAP, 3), 255, np.uint8)
    return Image.fromarray(cv2.cvtColor(np.hstack([halves[0], gap, halves[1]]), cv2.COLOR_BGR2RGB))


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except CE2PRuntimeError as error:
        sys.exit(f"error: {error}")
