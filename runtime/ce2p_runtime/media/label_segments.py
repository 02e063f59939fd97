"""Label maps of a video whose pictures may change their size: one lossless file per stretch of one size."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, ExitStack
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from .label_video_writer import LabelVideoWriter


class LabelSegments(AbstractContextManager["LabelSegments"]):
    """Label maps in order: `walk_labels.mkv`, and from each change of size on `walk_labels.2.mkv`, `walk_labels.3.mkv`.

    Each file's times are those of the source, so the files one after the other are the whole. All appear at the end of
    the block, or none does.
    """

    def __init__(
        self, path: Path, frame_rate: Fraction, size: tuple[int, int], *, source: Path, replace: bool = True
    ) -> None:
        """`size`: (height, width) of the first maps. `source`: the video they belong to, which no file replaces.

        `replace`: whether further files may replace others; if not, they take the next free number. Raises MediaError.
        """
        self.path = path
        self.notes: list[str] = []
        """What the user should know: where the size changes, and the file that goes on there."""
        self.frames = 0
        """Maps written so far."""
        self._frame_rate, self._source, self._replace = frame_rate, source, replace
        self._number = 1
        self._files = ExitStack()
        self._done: list[LabelVideoWriter] = []
        self._current = LabelVideoWriter(path, frame_rate, size)

    def __enter__(self) -> LabelSegments:
        self._files.enter_context(self._current)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._files.__exit__(kind, error, trace)

    def write(self, labels: NDArray[np.uint8], pts: int, time_base: Fraction) -> None:
        """Append a label map, uint8 [H, W], shown at `pts * time_base` seconds. Raises MediaError."""
        if labels.shape != self._current.size:
            self._go_on(labels.shape[0], labels.shape[1])
        self._current.write(labels, pts, time_base)
        self.frames += 1

    def complete(self) -> None:
        """Complete every file; they get their names at the end of the block. Raises MediaError."""
        self._current.complete()

    def _go_on(self, height: int, width: int) -> None:
        self._current.complete()
        path = self._next_path()
        self.notes.append(
            f"from frame {self.frames} on the pictures are {width}x{height}: their labels are in {path}, the overlay "
            "shows them in its first size"
        )
        self._current = LabelVideoWriter(path, self._frame_rate, (height, width))
        self._files.enter_context(self._current)

    def _next_path(self) -> Path:
        while True:
            self._number += 1
            path = self.path.with_name(f"{self.path.stem}.{self._number}{self.path.suffix}")
            if not os.path.lexists(path) or (self._replace and not self._is_source(path)):
                return path

    def _is_source(self, path: Path) -> bool:
        return path.exists() and self._source.exists() and path.samefile(self._source)
