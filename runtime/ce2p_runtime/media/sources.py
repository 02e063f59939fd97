"""One way to iterate over pictures, folders, globs and videos: frames that know where they come from."""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import MediaError
from ..process.threads import prefetch
from ..result import ParsingResult
from .listing import FoundPictures, list_pictures, source_kind
from .live.frame_ledger import Entry, FrameLedger
from .live.kinds import LiveOptions, is_live
from .live.reader import LiveReader
from .pictures import MAX_PIXELS, WHITE, load_picture
from .video import VideoCounts, VideoFrame, VideoReader

_AHEAD = 4
"""Frames decoded ahead of the network: enough to hide decoding, little memory (6 MB each at 1080p)."""


@dataclass(frozen=True, eq=False)
class SourceFrame:
    """A picture, or one frame of a video."""

    image: NDArray[np.uint8]
    """uint8 BGR [H, W, 3]."""
    path: Path
    index: int
    """Position in the source, from 0."""
    pts: int | None = None
    """Videos only: presentation time in units of `time_base`."""
    time_base: Fraction | None = None
    notes: tuple[str, ...] = ()
    """What there is to say about a picture: see `load_picture`."""
    entry: Entry = field(default_factory=Entry)
    """Its place in the source's `ledger`: whoever takes a frame says there what became of it."""

    def annotate(self, result: ParsingResult) -> ParsingResult:
        """`result` with this frame's origin written into it."""
        video = self.pts is not None and self.time_base is not None
        return dataclasses.replace(
            result,
            source=self.path,
            notes=self.notes,
            frame_index=self.index if video else None,
            time=float(self.pts * self.time_base) if video else None,  # type: ignore[operator]
        )


class Source(AbstractContextManager["Source"]):
    """An opened source. Iterate once; afterwards `problems` lists what could not be read, one line each.

    A damaged picture among others does not stop a folder, a damaged packet does not stop a video: both are counted.
    """

    def __init__(
        self,
        source: str | Path,
        results_in: Path | None = None,
        *,
        max_pixels: int = MAX_PIXELS,
        background: tuple[int, int, int] = WHITE,
        live: LiveOptions | None = None,
    ) -> None:
        """See `open_source`."""
        self.live: LiveReader | None = None
        """The opened camera, network stream or pipe; None for files."""
        self._stack = ExitStack()
        if live is not None and is_live(source):
            self.live = self._stack.enter_context(LiveReader(str(source), live))
            source = self.live.path
        self.kind: Literal["picture", "folder", "glob", "video"] = "video" if self.live else source_kind(source)
        self.name = self.live.name if self.live else str(source)
        self.base = Path(source).parent
        """The folder that places of results are counted from."""
        self.files: tuple[Path, ...] = (Path(source),)
        """What is read: the video, or every picture."""
        self.listing: FoundPictures | None = None
        """The pictures, and what else was there; None for videos."""
        self.problems: list[str] = []
        self.notes: list[str] = []
        """What is worth a word but no loss."""
        self.delivered = 0
        self._left_out: frozenset[Path] = frozenset()
        self._load = partial(load_picture, max_pixels=max_pixels, background=background)
        self.ledger = self.live.ledger if self.live else FrameLedger()
        """What became of every frame of a video."""
        self.accounted = False
        """Whether who takes the frames says in their entries what became of them; else delivered means parsed."""
        self.file: VideoReader | None = None
        """The opened video file; None for pictures and live sources."""
        if self.kind == "video" and self.live is None:
            self.file = self._stack.enter_context(VideoReader(source))
        self.video = self.live or self.file
        """The opened video; None for pictures."""
        if self.video is not None:
            self.total: int | None = self.video.declared_frames
            """Frames to expect, or None where a video does not say."""
            self.estimate: int | None = self.video.estimated_frames
            """`total`, or about how many frames a video that does not say may have: for a progress bar."""
            self.notes += self._notes_of(self.video, 0)
        else:
            self.listing = list_pictures(source, results_in)
            self.base, self.files = self.listing.base, tuple(self.listing.pictures)
            self.problems += self.listing.problems
            self.notes += self.listing.notes
            self.total = self.estimate = self.listing.expected

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
        self.ledger.close()

    def __iter__(self) -> Iterator[SourceFrame]:
        with ExitStack() as stack:
            if self.live is not None:  # which reads ahead itself, as far as its policy says
                ahead = self._video_frames(self.live, self.live)
            elif self.file is not None:
                ahead = prefetch(self._video_frames(self.file, self._file_frames(self.file)), _AHEAD)
            else:
                ahead = prefetch(self._read_pictures(), _AHEAD)
            stack.callback(ahead.close)
            for frame in ahead:
                self.delivered += 1
                if not self.accounted:
                    frame.entry.parse()
                yield frame

    def leave_out(self, files: frozenset[Path]) -> None:
        """Do not read these pictures. Call it before the first frame."""
        self._left_out = files

    def raise_problem(self) -> None:
        """Raise MediaError with the first problem (and their number), if there was one."""
        if self.problems:
            more = f" (and {len(self.problems) - 1} more)" if len(self.problems) > 1 else ""
            raise MediaError(self.problems[0] + more)

    def _video_frames(
        self, reader: VideoReader | LiveReader, frames: Iterable[tuple[VideoFrame, Entry]]
    ) -> Generator[SourceFrame, None, None]:
        said = len(reader.notes)
        for frame, entry in frames:
            yield SourceFrame(frame.image, reader.path, frame.index, frame.pts, frame.time_base, entry=entry)
        self.notes += self._notes_of(reader, said)
        self.total = reader.declared_frames
        if reader.problem:
            self.problems.append(reader.problem)

    def _file_frames(self, reader: VideoReader) -> Iterator[tuple[VideoFrame, Entry]]:
        before = VideoCounts()
        for frame in reader:
            before = self._enter_losses(before, reader.counts)
            yield frame, self.ledger.receive(repaired=frame.repaired)
        self._enter_losses(before, reader.counts)

    def _enter_losses(self, before: VideoCounts, now: VideoCounts) -> VideoCounts:
        self.ledger.add("undecodable", now.skipped - before.skipped)
        self.ledger.lose(now.unread - before.unread)
        return now

    def _notes_of(self, reader: VideoReader | LiveReader, said: int) -> list[str]:
        return [f"{self.name}: {note}" for note in reader.notes[said:]]

    def _read_pictures(self) -> Generator[SourceFrame, None, None]:
        said: dict[str, list[Path]] = {}
        for index, path in enumerate(self.files):
            if path in self._left_out:
                continue
            try:
                picture = self._load(path)
            except MediaError as error:
                self.problems.append(str(error))
                continue
            for note in picture.notes:
                said.setdefault(note.removeprefix(f"{path}: "), []).append(path)
            yield SourceFrame(picture.image, path, index, notes=picture.notes)
        for note, files in said.items():  # a line for each kind, not for each of a thousand pictures
            more = f" (and {len(files) - 1} more)" if len(files) > 1 else ""
            self.notes.append(f"{files[0]}{more}: {note}")


def open_source(
    source: str | Path,
    results_in: Path | None = None,
    *,
    max_pixels: int = MAX_PIXELS,
    background: tuple[int, int, int] = WHITE,
    live: LiveOptions | None = None,
) -> Source:
    """Open a picture, a folder with its sub-folders, a glob or a video. Raises MediaError if nothing is to be read.

    With `live`, also what `is_live` says: a camera, an address on the network, standard input. Without it only files
    are ever opened, whatever the name, so that a name from elsewhere reaches nothing.

    `results_in`: the folder that results will go to; own results of earlier runs in it are left out. `max_pixels` and
    `background` (RGB) are for pictures: see `read_picture`.
    """
    return Source(source, results_in, max_pixels=max_pixels, background=background, live=live)
