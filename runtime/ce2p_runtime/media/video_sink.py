"""Where the frames of a parsed video go, an overlay to look at and the exact label maps, each in its own thread."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import MediaError
from ..process.interrupts import INTERRUPTS, uninterrupted
from ..process.threads import Worker
from ..result import ParsingResult
from .label_segments import LabelSegments
from .sources import Source, SourceFrame
from .video_writer import VideoWriter

_Parsed = tuple[NDArray[np.uint8], ParsingResult, int, Fraction]
"""A frame's image, its result, and its time: pts and time base."""

_WAITING = 4
"""Frames that may wait for each writer: enough to even out frames that take long, 8 MB each at 1080p."""


class VideoSink(AbstractContextManager["VideoSink"]):
    """An overlay with the source's times and sound, and the exact label maps.

    `write` returns at once while there is room; encoding goes on behind it. At the end of the block all files appear,
    or none does. After an interrupt (Ctrl-C, or a signal turned into an exception) they are completed as well, with the
    frames so far; a second one drops them.

    A source whose pictures change their size goes on in further label files, one per stretch of one size
    (`LabelSegments`), and is fitted into the first size in the overlay.
    """

    def __init__(self, targets: Mapping[str, Path], source: Source, opacity: float, *, replace: bool = True) -> None:
        """`targets`: the file of each kind of result that is wanted, "overlay" or "labels" (see `ResultNames`).

        `replace`: whether further label files may replace files that are there. Raises MediaError for sizes that a
        codec cannot hold.
        """
        video = source.video
        if video is None:
            raise ValueError(f"{source.name} is no video")
        self._opacity = opacity
        self._size = video.size
        self._handed_over = 0
        self._given_up = False
        self._overlay: VideoWriter | None = None
        self._labels: LabelSegments | None = None
        if "overlay" in targets:
            self._overlay = VideoWriter(
                targets["overlay"],
                video.frame_rate,
                video.size,
                None if source.live else video.path,
                sample_aspect_ratio=video.sample_aspect_ratio,
            )
        if "labels" in targets:
            self._labels = LabelSegments(
                targets["labels"], video.frame_rate, video.size, source=video.path, replace=replace
            )
        self._files = [file for file in (self._labels, self._overlay) if file is not None]

    def __enter__(self) -> VideoSink:
        for file in self._files:
            file.__enter__()
        # One behind the other, so that an interrupt cannot hand a frame to one and not to the other.
        self._second = Worker(self._write_overlay, _WAITING)
        self._first = Worker(self._write_labels, _WAITING)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            interrupted = isinstance(error, INTERRUPTS)
            if error is None or (interrupted and self._handed_over):
                uninterrupted(self._complete, self._give_up, interrupted=interrupted)
            else:
                self._drop(error)
        except BaseException as failure:
            self._drop(failure)
            raise

    @property
    def remarks(self) -> list[str]:
        """What the user should know about the written video, such as sound that could not be copied."""
        overlay = () if self._overlay is None else (self._overlay.audio_note, self._overlay.aspect_note)
        return [*filter(None, overlay), *(() if self._labels is None else self._labels.notes)]

    def write(self, frame: SourceFrame, result: ParsingResult) -> None:
        """Append a frame at its own time; do not change its image any more. Waits while earlier ones are written.

        Raises MediaError, also for what went wrong with an earlier frame.
        """
        if frame.pts is None or frame.time_base is None:
            raise ValueError("a frame without a time cannot go into a video")
        self._first.put((frame.image, result, frame.pts, frame.time_base))
        self._handed_over += 1

    def _write_labels(self, parsed: _Parsed) -> None:
        _, result, pts, time_base = parsed
        if self._labels is not None:
            self._labels.write(result.labels, pts, time_base)
        self._second.put(parsed)

    def _write_overlay(self, parsed: _Parsed) -> None:
        image, result, pts, time_base = parsed
        if self._overlay is not None:
            self._overlay.write(_fitted(result.overlay(image, self._opacity), self._size), pts, time_base)

    def _complete(self) -> None:
        """Write what waits, complete every file, and only then give them their names."""
        self._first.finish()
        self._second.finish()
        for file in self._files:
            self._check_wanted()
            file.complete()
        self._check_wanted()
        named: list[str] = []
        for file in self._files:
            try:
                file.__exit__(None, None, None)
            except MediaError as error:  # the name cannot be taken, where a folder stands by now
                raise MediaError("; ".join([str(error), *(f"{name} is complete" for name in named)])) from error
            named.append(str(file.path))

    def _check_wanted(self) -> None:
        if self._given_up:
            names = " and ".join(str(file.path) for file in self._files)
            raise MediaError(f"{names}: interrupted a second time before the end was written; nothing is kept of them")

    def _give_up(self) -> None:
        self._given_up = True
        self._first.stop()
        self._second.stop()

    def _drop(self, error: BaseException) -> None:
        """End the threads and remove what is not complete."""
        self._first.stop()
        self._second.stop()
        for file in self._files:
            file.__exit__(type(error), error, error.__traceback__)


def _fitted(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """An image as large as it fits into `size` (height, width), in the middle of black."""
    if image.shape[:2] == size:
        return image
    height, width = image.shape[:2]
    scale = min(size[0] / height, size[1] / width)
    inner = max(1, round(height * scale)), max(1, round(width * scale))
    top, left = (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2
    fitted = np.zeros((*size, 3), np.uint8)
    fitted[top : top + inner[0], left : left + inner[1]] = cv2.resize(
        image, (inner[1], inner[0]), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    )
    return fitted
