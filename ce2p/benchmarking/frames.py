"""The frames a benchmark parses, as a program gets them: still encoded, so that decoding can be timed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ce2p.synthetic import walking_sequence
from ce2p_runtime.errors import MediaError
from ce2p_runtime.media.pictures import find_pictures, read_picture, source_kind
from ce2p_runtime.media.video import VideoReader

Frame = NDArray[np.uint8]
SYNTHETIC = 3
"""Different synthetic frames, taken in turn: how long labels take depends on how much border there is."""
QUALITY = 90
"""Of the JPEG pictures in memory."""


@dataclass(frozen=True)
class Footage:
    """Frames without end. Every `play()` starts at the first one again, so that all candidates see the same."""

    description: str
    play: Callable[[], Iterator[Frame]]
    """An endless iterator that decodes one frame, uint8 BGR [H, W, 3], with each step."""

    def first(self, count: int) -> list[Frame]:
        """The first frames, decoded."""
        return list(islice(self.play(), count))


def synthetic_footage(size: tuple[int, int]) -> Footage:
    """A walking person at `size` (height, width), as JPEG pictures in memory."""
    pictures = [_as_jpeg(frame) for frame, _ in walking_sequence(0, SYNTHETIC, size)]
    height, width = size
    return Footage(
        f"{SYNTHETIC} synthetic frames of {height}x{width}, JPEG quality {QUALITY} in memory",
        lambda: (_from_jpeg(picture) for picture in cycle(pictures)),
    )


def open_footage(source: Path) -> Footage:
    """A video, or the pictures of a file, folder or pattern, from the disk. Raises MediaError."""
    if source_kind(source) == "video":
        with VideoReader(source) as reader:  # one look, so that a bad file fails before anything is loaded
            height, width = reader.size
        return Footage(f"video {source.name}, {height}x{width}", lambda: _video_frames(source))
    pictures = find_pictures(source)
    for picture in pictures:
        read_picture(picture)
    count = f"{len(pictures)} pictures" if len(pictures) > 1 else "the picture"
    return Footage(f"{count} of {source.name}", lambda: (read_picture(picture) for picture in cycle(pictures)))


def _video_frames(path: Path) -> Iterator[Frame]:
    """The video over and over. Opening it again is part of the first frame's time, once per pass."""
    while True:
        with VideoReader(path) as reader:
            for frame in reader:
                yield frame.image


def _as_jpeg(frame: Frame) -> NDArray[np.uint8]:
    done, data = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    if not done:
        raise MediaError(
            f"a synthetic frame of {frame.shape[0]}x{frame.shape[1]} cannot be encoded as JPEG; use another --size"
        )
    return np.asarray(data, np.uint8)


def _from_jpeg(data: NDArray[np.uint8]) -> Frame:
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
