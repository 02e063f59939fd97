"""Where parsed frames go: overlays, label maps and masks, as pictures or as video."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType

from .errors import MediaError
from .result import ParsingResult
from .sources import Source, SourceFrame
from .video_sink import VideoSink

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
