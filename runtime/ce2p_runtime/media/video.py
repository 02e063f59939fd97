"""Read local video files frame by frame, with their own time stamps, and say what was lost on the way.

A loop over a usual reader ends at the first damaged packet as if the video were over. This one decodes packet
by packet, goes on behind damage, keeps account of every packet (`VideoReader.counts`), and tells at the end whether
all was there (`VideoReader.problem`).
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import MediaError
from .containers import announced_frames, load_av, open_media
from .pyav import fraction
from .video_decoding import Decoding
from .video_ledger import VideoCounts
from .video_pixels import FramePixels
from .video_streams import check_picture_size, choose_stream, frame_rate, left_out_streams, pixel_shape
from .video_writer import LabelVideoWriter, VideoWriter

__all__ = ["LabelVideoWriter", "VideoCounts", "VideoFrame", "VideoReader", "VideoWriter"]


@dataclass(frozen=True, eq=False)
class VideoFrame:
    """One picture of a video."""

    image: NDArray[np.uint8]
    """uint8 BGR [H, W, 3], upright; uint8 [H, W] from a reader with `labels=True`."""
    index: int
    """Position among the decoded frames, from 0."""
    pts: int
    """Presentation time in units of `time_base`."""
    time_base: Fraction
    """Seconds per unit of `pts`."""
    repaired: bool = False
    """Whether the decoder had to repair it, or complained about it."""

    @property
    def time(self) -> float:
        """Presentation time in seconds."""
        return float(self.pts * self.time_base)


class VideoReader:
    """Iterate over the frames of a local video file, once; use as a context manager.

        with VideoReader("walk.mp4") as reader:
            for frame in reader: ...
        if reader.problem: ...

    Every frame that decodes is delivered, also behind damage and where the size changes. What came of each packet
    stands in `counts`; a packet that should have given a frame and did not is a `problem`. So is whatever the
    container's lengths, counters and checksums show, and what the decoder complains about.

    Changed bytes inside the pictures need not show: MP4, AVI, WebM and MPEG-TS carry no checksums of them, and a
    decoder shows many wrong bytes as a wrong picture without a word. Matroska files with checksums (FFmpeg writes them)
    and FFV1 tell. Losses of whole frames do not show in an MPEG-TS that ends early between two packets.

    With `labels=True` the pixel values of a gray video are delivered as they are stored, uint8 [H, W]: for label
    videos. Raises MediaError at once for what is no video or has no frame that can be decoded. Iterating may happen in
    another thread than opening and closing, but in one thread at a time.
    """

    def __init__(self, path: str | Path, *, labels: bool = False) -> None:
        self._av = load_av()
        self._container = open_media(path)
        self.path = Path(path)
        self._pixels = FramePixels(self._av, self.path, labels=labels)
        self._lock = threading.Lock()
        self._closed = False
        self._last_pts: int | None = None
        self._last_shape: tuple[int, ...] = ()
        self.problem: str | None = None
        """After the last frame: one line that says what was lost or damaged; None when all was there."""
        self.notes: list[str] = []
        """What the user should know although nothing is lost, one clause each; complete after the last frame."""
        self._frames: Generator[VideoFrame, None, None] = self._read()
        try:
            self._stream = choose_stream(self._container, self.path)
            self.notes += left_out_streams(self._container)
            self._decoding = Decoding(self._av, self._container, self._stream)
            self._ledger = self._decoding.ledger
            self.frame_rate: Fraction = frame_rate(self._stream)
            """Average frames per second; frames carry their own times, which need not be even."""
            self.declared_frames: int | None = announced_frames(self.path, self._container, self._stream)
            """Number of frames the container announces, or None where it does not say (MKV, WebM, TS); after the last
            frame without those that it holds but does not show."""
            self.estimated_frames: int | None = self.declared_frames or self._estimate()
            """`declared_frames`, or else duration times rate: good for a progress bar, wrong for uneven times."""
            # The first frame comes now: it alone tells the upright size, and whether anything can be decoded.
            self._first = next(self._frames, None)
            if self._first is None:
                said = self._decoding.last_error
                why = f" ({said})" if said else ""
                raise MediaError(f"{self.path}: no frame can be decoded{why}, expected a whole video; copy it again")
            self.size: tuple[int, int] = (self._first.image.shape[0], self._first.image.shape[1])
            """(height, width) in pixels of the first frame, upright."""
            self.sample_aspect_ratio: Fraction = pixel_shape(self._stream, turned=self._pixels.turned)
            """Width over height of one pixel as it is to be shown, upright; 1 where nothing is said."""
        except BaseException:
            self.close()
            raise

    @property
    def counts(self) -> VideoCounts:
        """What became of the packets so far. It balances at any time, see `VideoCounts`."""
        return self._ledger.counts

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the file. Waits for a frame that another thread is decoding; its iteration then ends."""
        with self._lock:
            self._closed = True
            self._frames.close()
            self._container.close()

    def __iter__(self) -> Iterator[VideoFrame]:
        while True:
            # FFmpeg crashes when a decoder is closed while it works, so both hold this lock.
            with self._lock:
                if self._closed:
                    return
                frame, self._first = self._first or next(self._frames, None), None
                if frame is None:
                    return
                self._deliver(frame)
            yield frame

    def _deliver(self, frame: VideoFrame) -> None:
        shape, before = frame.image.shape[:2], self._last_shape
        self._last_shape = shape
        resized = before not in ((), shape)
        if resized and not self._ledger.counts.resized:
            change = f"from {before[1]}x{before[0]} to {shape[1]}x{shape[0]}"
            self.notes.append(f"the size of the pictures changes {change} at frame {frame.index}")
        self._ledger.deliver(resized=resized)

    def _read(self) -> Generator[VideoFrame, None, None]:
        for index, (frame, repaired) in enumerate(self._decoding.frames()):
            yield self._frame(frame, index, repaired=repaired)
        announced, counts = self.declared_frames, self.counts
        if announced is not None:
            self.declared_frames = announced - counts.hidden
        structure = self._decoding.structure(self.path)
        self.notes += self._decoding.notes(structure)
        if findings := self._decoding.findings(structure, announced):
            what = f"is cut short or damaged: {'; '.join(findings)}"
            self.problem = f"{self.path}: {what}; frames read: {counts.decoded}"

    def _estimate(self) -> int | None:
        if self._container.format.name == "avi":  # its duration is the count that was not trusted
            return None
        unit, length = fraction(self._stream.time_base), self._stream.duration
        if length is None or unit is None:
            unit, length = Fraction(1, self._av.time_base), self._container.duration
        frames = round(length * unit * self.frame_rate) if length else 0
        return frames if 0 < frames <= self.path.stat().st_size else None

    def _frame(self, frame: Any, index: int, *, repaired: bool) -> VideoFrame:
        check_picture_size(frame, self.path)
        if index == 0:
            self._pixels.begin(frame)
            self.notes += self._pixels.notes
        time_base = fraction(frame.time_base) or fraction(self._stream.time_base) or 1 / self.frame_rate
        pts = frame.pts
        if pts is None:  # raw streams and some AVI files: count on at the average rate
            step = max(1, round(1 / (self.frame_rate * time_base)))
            pts = 0 if self._last_pts is None else self._last_pts + step
        self._last_pts = pts
        return VideoFrame(self._pixels.array(frame), index, pts, time_base, repaired)
