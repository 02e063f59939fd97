"""Read local video files frame by frame, with their own time stamps, and say what was lost on the way.

A loop over a usual reader ends at the first damaged packet as if the video were over. This one decodes packet
by packet, goes on behind damage, and tells at the end whether all was there (`VideoReader.problem`).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .containers import load_av, open_media, read_structure
from .errors import MediaError
from .ffv1 import slices_intact
from .video_writer import LabelVideoWriter, VideoWriter

__all__ = ["LabelVideoWriter", "VideoCounts", "VideoFrame", "VideoReader", "VideoWriter"]

_MAX_PIXELS = 8192 * 8192
_MAX_READ_ERRORS = 16
"""Read errors in a row after which the rest of a file is given up."""


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

    @property
    def time(self) -> float:
        """Presentation time in seconds."""
        return float(self.pts * self.time_base)


@dataclass(frozen=True)
class VideoCounts:
    """What happened so far."""

    decoded: int = 0
    """Frames delivered."""
    damaged: int = 0
    """Frames among them that the decoder had to repair."""
    skipped: int = 0
    """Packets that could not be read or decoded and gave no frame."""


class VideoReader:
    """Iterate over the frames of a local video file, once; use as a context manager.

        with VideoReader("walk.mp4") as reader:
            for frame in reader: ...
        if reader.problem: ...

    Every frame that decodes is delivered. With `labels=True` the pixel values of a gray video are delivered
    as they are stored, uint8 [H, W]: for label videos. Raises MediaError at once for what is no video or has
    no frame that can be decoded. Iterating may happen in another thread than opening and closing, but in one
    thread at a time.
    """

    def __init__(self, path: str | Path, *, labels: bool = False) -> None:
        self._av = load_av()
        self._container = open_media(path)
        self.path = Path(path)
        self._labels = labels
        self._lock = threading.Lock()
        self._closed = False
        self._packets_read = self._hidden = 0
        self._checksums = {True: 0, False: 0}
        self._last_pts: int | None = None
        self._last_error = ""
        self._matrix: tuple[int, int, int, int] | None = None
        self.counts = VideoCounts()
        self.problem: str | None = None
        """After the last frame: one line that says what was lost or damaged; None when all was there."""
        try:
            self._stream = self._choose_stream()
            self.frame_rate: Fraction = self._stream.average_rate or self._stream.guessed_rate or Fraction(25)
            """Average frames per second; frames carry their own times, which need not be even."""
            self.declared_frames: int | None = self._stream.frames or None
            """Number of frames the container announces, or None where it does not say (MKV, WebM, TS)."""
            self._frames = self._decode()
            # The first frame comes now: it alone tells the upright size, and whether anything can be decoded.
            self._first = next(self._frames, None)
            if self._first is None:
                why = f" ({self._last_error})" if self._last_error else ""
                raise MediaError(f"{self.path}: no frame can be decoded{why}, expected a whole video; copy it again")
            self.size: tuple[int, int] = (self._first.image.shape[0], self._first.image.shape[1])
            """(height, width) in pixels of the first frame, upright."""
        except BaseException:
            self.close()
            raise

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
                self.counts = replace(self.counts, decoded=frame.index + 1)
            yield frame

    def _choose_stream(self) -> Any:
        streams = [stream for stream in self._container.streams.video if not _is_cover(stream)]
        if not streams:
            raise MediaError(f"{self.path}: has no video stream, expected a video; check the path")
        stream = streams[0]
        context = stream.codec_context
        if context is None:
            raise MediaError(f"{self.path}: its video codec is not known to this PyAV; convert it to H.264")
        if context.width * context.height > _MAX_PIXELS:
            raise MediaError(f"{self.path}: frames of {context.width}x{context.height}, expected at most 8192x8192")
        # One thread: with frame threads, frames around a damaged packet are lost (21 of 23 delivered); with
        # slice threads, PyAV's default, damage is not marked (14 of 491 frames) [both measured, FFmpeg 8].
        stream.thread_type = "NONE"
        return stream

    def _packets(self) -> Iterator[Any]:
        """All packets of the stream, going on after read errors where the demuxer can."""
        errors = 0
        while errors < _MAX_READ_ERRORS:
            try:
                for packet in self._container.demux(self._stream):
                    if packet.size:  # the empty one at the end means "flush", which `_decode` does
                        errors = 0
                        yield packet
                return
            except IndexError:  # PyAV trips at the end when damage made streams appear after the start
                return
            except (self._av.error.FFmpegError, OSError) as error:
                errors += 1
                self._skip(error)

    def _decode(self) -> Iterator[VideoFrame]:
        index = 0
        for packet in self._packets():
            self._packets_read += 1
            self._hidden += bool(packet.is_discard)  # outside the edit list: decoded, not shown
            try:
                decoded = packet.decode()
            except (self._av.error.FFmpegError, OSError) as error:
                self._skip(error)
                continue
            if self._stream.codec_context.name == "ffv1":
                self._checksums[slices_intact(bytes(packet))] += 1
            for frame in decoded:
                yield self._frame(frame, index)
                index += 1
        try:
            rest = self._stream.decode(None)
        except (self._av.error.FFmpegError, OSError) as error:
            rest = []
            if not isinstance(error, self._av.error.EOFError):
                self._skip(error)
        for frame in rest:
            yield self._frame(frame, index)
            index += 1
        self.problem = self._verdict(index)

    def _skip(self, error: Exception) -> None:
        self.counts = replace(self.counts, skipped=self.counts.skipped + 1)
        self._last_error = getattr(error, "strerror", None) or str(error)

    def _frame(self, frame: Any, index: int) -> VideoFrame:
        if frame.width * frame.height > _MAX_PIXELS:
            raise MediaError(f"{self.path}: frame {index} has {frame.width}x{frame.height}, expected at most 8192x8192")
        if index == 0:
            # Of the first frame only: the matrix belongs to the file, and looking at a frame's side data makes PyAV
            # hold the frame in a reference cycle, so that memory fills up with pictures until the collector runs.
            self._matrix = _display_matrix(frame)
        if frame.is_corrupt:
            self.counts = replace(self.counts, damaged=self.counts.damaged + 1)
        time_base = Fraction(frame.time_base or self._stream.time_base or 1 / self.frame_rate)
        pts = frame.pts
        if pts is None:  # raw streams and some AVI files: count on at the average rate
            step = max(1, round(1 / (self.frame_rate * time_base)))
            pts = 0 if self._last_pts is None else self._last_pts + step
        self._last_pts = pts
        return VideoFrame(self._image(frame), index, pts, time_base)

    def _image(self, frame: Any) -> NDArray[np.uint8]:
        if self._labels:
            if frame.format.name not in ("gray", "gray8"):
                raise MediaError(f"{self.path}: pixels are {frame.format.name}, expected gray of a label video")
            return np.asarray(frame.to_ndarray(), np.uint8)
        return _upright(np.asarray(frame.to_ndarray(format="bgr24"), np.uint8), self._matrix)

    def _verdict(self, decoded: int) -> str | None:
        if self._checksums[True]:  # when none is right, the file was written without
            damaged = self.counts.damaged + self._checksums[False]
            self.counts = replace(self.counts, damaged=damaged)
        findings = []
        if self.declared_frames is not None and decoded < 0.99 * (self.declared_frames - self._hidden):
            findings.append(f"{decoded} of {self.declared_frames - self._hidden} announced frames")
        if self.counts.skipped:
            findings.append(f"packets not decoded: {self.counts.skipped} ({self._last_error})")
        if self.counts.damaged:
            findings.append(f"frames repaired by the decoder: {self.counts.damaged}")
        structure = read_structure(self.path)
        blocks = structure.blocks[self._stream.index] if self._stream.index < len(structure.blocks) else 0
        if self._packets_read < 0.99 * blocks:
            findings.append(f"{self._packets_read} of {blocks} video blocks")
        if structure.problem is not None:
            findings.append(structure.problem)
        if not findings:
            return None
        return f"{self.path}: is cut short or damaged: {'; '.join(findings)}; frames read: {decoded}"


def _is_cover(stream: Any) -> bool:
    """Whether a video stream is the attached picture of an album: AV_DISPOSITION_ATTACHED_PIC."""
    disposition = getattr(stream, "disposition", 0)
    return bool(getattr(disposition, "value", disposition) & 0x400)  # a number, or a flag in some versions of PyAV


def _display_matrix(frame: Any) -> tuple[int, int, int, int] | None:
    """(a, b, c, d) of the display matrix, where x' = a x + c y and y' = b x + d y; None without one."""
    side_data = frame.side_data.get("DISPLAYMATRIX")
    if side_data is None:
        return None
    a, b, _, c, d = np.frombuffer(bytes(side_data), np.int32)[:5].tolist()
    return a, b, c, d


def _upright(image: NDArray[np.uint8], matrix: tuple[int, int, int, int] | None) -> NDArray[np.uint8]:
    """Turn and mirror an image as its display matrix says, to the nearest quarter turn."""
    if matrix is None:
        return image
    a, b, c, d = matrix
    if abs(b) > abs(a):
        image, a, d = np.asarray(cv2.transpose(image), np.uint8), c, b
    if a < 0 or d < 0:
        image = np.asarray(cv2.flip(image, -1 if a < 0 and d < 0 else 1 if a < 0 else 0), np.uint8)
    return image
