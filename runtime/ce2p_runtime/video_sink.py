"""Where the frames of a parsed video go: an overlay to look at, and the exact label maps."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from types import TracebackType

from .result import ParsingResult
from .sources import Source, SourceFrame
from .video_writer import LabelVideoWriter, VideoWriter

__all__ = ["VideoSink"]


class VideoSink(AbstractContextManager["VideoSink"]):
    """An overlay with the source's times and sound, and the exact label maps."""

    def __init__(self, targets: Mapping[str, Path], source: Source, opacity: float) -> None:
        """`targets`: the file of each kind of result that is wanted, "overlay" or "labels" (see `ResultNames`)."""
        video = source.video
        if video is None:
            raise ValueError(f"{source.name} is no video")
        self._opacity = opacity
        self._stack = ExitStack()
        self._overlay: VideoWriter | None = None
        self._labels: LabelVideoWriter | None = None
        if "overlay" in targets:
            writer = VideoWriter(targets["overlay"], video.frame_rate, video.size, video.path)
            self._overlay = self._stack.enter_context(writer)
        if "labels" in targets:
            labels = LabelVideoWriter(targets["labels"], video.frame_rate, video.size)
            self._labels = self._stack.enter_context(labels)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    @property
    def remarks(self) -> list[str]:
        """What the user should know about the written video, such as sound that could not be copied."""
        note = self._overlay.audio_note if self._overlay is not None else None
        return [note] if note else []

    def write(self, frame: SourceFrame, result: ParsingResult) -> None:
        """Append a frame at its own time. Raises MediaError."""
        if frame.pts is None or frame.time_base is None:
            raise ValueError("a frame without a time cannot go into a video")
        if self._overlay is not None:
            self._overlay.write(result.overlay(frame.image, self._opacity), frame.pts, frame.time_base)
        if self._labels is not None:
            self._labels.write(result.labels, frame.pts, frame.time_base)
