"""Where parsed frames go: overlays, label maps and masks, as pictures or as video."""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from types import TracebackType

from .errors import MediaError
from .result import ParsingResult
from .sources import Source, SourceFrame
from .video import LabelVideoWriter, VideoWriter

__all__ = ["SAVE_CHOICES", "PictureSink", "VideoSink", "open_sink"]

SAVE_CHOICES = ("overlay", "labels", "masks")


class PictureSink(AbstractContextManager["PictureSink"]):
    """One set of files per picture: `<stem>_overlay.jpg`, `<stem>_labels.png`, `<stem>_masks/`."""

    def __init__(self, folder: Path, save: frozenset[str], opacity: float) -> None:
        self.folder, self._save, self._opacity = folder, save, opacity
        self._owner: dict[str, Path] = {}

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to finish: every picture is written whole when it comes."""

    def write(self, frame: SourceFrame, result: ParsingResult) -> None:
        """Write what was asked for. Raises MediaError."""
        stem = self._stem(frame.path)
        if "labels" in self._save:
            result.save_labels(self.folder / f"{stem}_labels.png")
        if "overlay" in self._save:
            result.save_overlay(self.folder / f"{stem}_overlay.jpg", frame.image, self._opacity)
        if "masks" in self._save:
            result.save_masks(self.folder / f"{stem}_masks", stem)

    def _stem(self, path: Path) -> str:
        """A name no other picture of this run has: a.jpg and a.png, or two folders' a.jpg, must not share one."""
        candidates = [path.stem, f"{path.stem}_{path.suffix[1:]}"]
        candidates += [f"{path.parent.name}_{path.stem}", *(f"{path.stem}_{n}" for n in range(2, 100_000))]
        stem = next(name for name in candidates if self._owner.get(name, path) == path)
        self._owner[stem] = path
        return stem


class VideoSink(AbstractContextManager["VideoSink"]):
    """`<stem>_overlay.mp4` with the source's times and sound, `<stem>_labels.mkv` with the exact label maps."""

    def __init__(self, folder: Path, source: Source, save: frozenset[str], opacity: float) -> None:
        video = source.video
        if video is None:
            raise ValueError(f"{source.name} is no video")
        if "masks" in save:
            raise MediaError(f"{source.name}: masks are written for pictures only; use labels, which holds every class")
        self.folder, self._opacity = folder, opacity
        self._stack = ExitStack()
        self._overlay: VideoWriter | None = None
        self._labels: LabelVideoWriter | None = None
        stem = video.path.stem
        if "overlay" in save:
            writer = VideoWriter(folder / f"{stem}_overlay.mp4", video.frame_rate, video.size, video.path)
            self._overlay = self._stack.enter_context(writer)
        if "labels" in save:
            labels = LabelVideoWriter(folder / f"{stem}_labels.mkv", video.frame_rate, video.size)
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


def open_sink(folder: Path, source: Source, save: frozenset[str], opacity: float = 0.5) -> PictureSink | VideoSink:
    """The sink that fits a source. `save` holds some of SAVE_CHOICES. Raises MediaError."""
    unknown = save - set(SAVE_CHOICES)
    if unknown or not save:
        raise MediaError(
            f"cannot save {', '.join(sorted(unknown)) or 'nothing'}; expected some of {', '.join(SAVE_CHOICES)}"
        )
    if source.kind == "video":
        return VideoSink(folder, source, save, opacity)
    return PictureSink(folder, save, opacity)
