"""Write label maps as lossless video."""

from __future__ import annotations

from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import MediaError
from .encoded_video import EncodedVideo

# Each frame stands alone and carries checksums: damage stays where it is, and is noticed.
_FFV1 = {"level": "3", "slicecrc": "1", "g": "1"}


class LabelVideoWriter(EncodedVideo):
    """Write label maps as lossless video: FFV1, gray, .mkv; a context manager like `VideoWriter`.

    `VideoReader(path, labels=True)` gives the same maps back, bit for bit. Times are kept to the millisecond.
    """

    _pixels = "gray"

    def __init__(self, path: str | Path, frame_rate: Fraction | float, size: tuple[int, int]) -> None:
        if Path(path).suffix.lower() != ".mkv":
            raise MediaError(f"{path}: label videos are FFV1 in Matroska; use a name ending in .mkv")
        super().__init__(path, frame_rate, size, "matroska", ("ffv1", dict(_FFV1)))
        self._options["slices"] = self._slices()

    def __enter__(self) -> LabelVideoWriter:
        self._enter()
        return self

    def write(self, labels: NDArray[np.uint8], pts: int, time_base: Fraction) -> None:
        """Append a label map, uint8 [H, W], shown at `pts * time_base` seconds. Raises MediaError."""
        self._check(labels, self.size)
        self._write(labels, pts, time_base)

    def _frame(self, image: NDArray[np.uint8]) -> Any:
        return self._av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="gray")

    def _slices(self) -> str:
        """How many slices: 4 where that pays, else as few as FFV1 takes for this size. Raises MediaError for none."""
        few = ("4", "1") if min(self.size) >= 32 else ("1", "4")  # they work in parallel, but need some pixels each
        for slices in (*few, "9", "16", "24"):
            context = self._av.CodecContext.create(self._encoder, "w")
            context.height, context.width = self.size
            context.pix_fmt, context.time_base = self._pixels, Fraction(1, 1000)
            context.options = {**_FFV1, "slices": slices}
            with suppress(self._av.error.FFmpegError):
                context.open()
                return slices
        height, width = self.size
        raise MediaError(f"{self.path}: FFV1 cannot hold label maps of {width}x{height}; scale the video first")
