"""A video file in the making: encoded frame by frame, every frame at its time, complete before it has its name."""

from __future__ import annotations

import errno
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base.files import atomic_path
from ..errors import MediaError
from .pyav import load_av

_MILLISECOND = Fraction(1, 1000)
_PLACE_FAULTS = {
    errno.ENOSPC,
    errno.EFBIG,
    errno.EDQUOT,
    errno.EIO,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOENT,
}
"""Errors of the system that lie with the place that is written to."""


class EncodedVideo(ABC):
    """What all writers of videos share: a container written beside its final name, and time stamps."""

    _pixels = "yuv420p"

    def __init__(
        self,
        path: str | Path,
        frame_rate: Fraction | float,
        size: tuple[int, int],
        container: str,
        encoder: tuple[str, dict[str, str]],
        sample_aspect_ratio: Fraction = Fraction(1),
    ) -> None:
        self._av = load_av()
        self.path = Path(path)
        self.frame_rate = Fraction(frame_rate).limit_denominator(100_000)
        self.size = size
        """(height, width) in pixels of the frames that `write` takes."""
        self.frames = 0
        """Frames written so far."""
        self.moved = 0
        """Frames whose time was not after the one before (as in damaged sources) and was moved behind it, or was
        before 0 where the format cannot show that and was moved there."""
        self._format = container
        self._encoder, self._options = encoder
        self._sample_aspect_ratio = sample_aspect_ratio
        self._file: AbstractContextManager[Path] | None = None
        self._temporary: Path | None = None
        self._container: Any = None
        self._stream: Any = None
        self._last = 0
        self._complete = False
        if min(size) < 1 or self.frame_rate <= 0:
            raise ValueError(f"a video of size {size} at {frame_rate} frames/s, expected positive numbers")
        try:
            self._av.codec.Codec(self._encoder, "w")
        except ValueError as error:  # PyAV's UnknownCodecError
            raise MediaError(
                f"{self.path}: this PyAV has no {self._encoder}; pip install --force-reinstall av"
            ) from error

    def _enter(self) -> None:
        self._file = atomic_path(self.path)
        self._temporary = self._file.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Complete the file, or remove it when the body raised or nothing was written (then MediaError)."""
        assert self._file is not None  # noqa: S101 (set by __enter__)
        if error is None:
            try:
                self.complete()
            except BaseException as failure:
                self._abandon(failure)
                raise
            self._file.__exit__(None, None, None)
        else:
            self._abandon(error)

    def complete(self) -> None:
        """Complete the file, which gets its name at the end of the block; nothing can be written to it any more.

        The end of the block does this by itself. It is here for those who write several files that should appear
        together or not at all. Raises MediaError when nothing was written, or the rest cannot be.
        """
        if self._complete:
            return
        if self._container is None:
            raise MediaError(f"{self.path}: no frame was written, expected at least one; check the source")
        try:
            self._mux_until(None)
            self._container.mux(self._stream.encode(None))
            self._container.close()
        except (self._av.error.FFmpegError, OSError) as failure:
            raise self._failure(failure) from failure
        self._complete = True

    def _abandon(self, error: BaseException) -> None:
        """Close and remove the unfinished file. A failure to close must not hide `error`."""
        if self._container is not None:
            with suppress(self._av.error.FFmpegError, OSError):
                self._container.close()
        assert self._file is not None  # noqa: S101
        try:
            self._file.__exit__(type(error), error, error.__traceback__)
        except BaseException as same:
            if same is not error:
                raise

    def _failure(self, error: Exception) -> MediaError:
        reason = getattr(error, "strerror", None) or str(error)
        if getattr(error, "errno", None) in _PLACE_FAULTS:
            return MediaError(f"{self.path}: cannot be written ({reason}); check the free space and the folder")
        height, width = self.size
        return MediaError(
            f"{self.path}: {self._encoder} failed on frame {self.frames} of {width}x{height} ({reason}); "
            "try another size or format, and report this"
        )

    def _open(self, time_base: Fraction) -> None:
        """Open the container with the first frame, whose time base it takes over where the format can."""
        # Times stay as they are: by default all of Matroska is moved when audio starts before 0, as AAC does.
        options = {"avoid_negative_ts": "disabled"}
        if self._format in ("matroska", "webm"):
            time_base = _MILLISECOND  # FFmpeg writes Matroska in milliseconds only
        else:
            # The start of a track is stored in this unit, 1/1000 s by default: pts 7777/12800 came back as
            # 7770.
            options["movie_timescale"] = str(time_base.denominator)
        if self._temporary is None:
            raise RuntimeError(f"{type(self).__name__} is a context manager; write inside its `with` block")
        self._container = self._av.open(f"file:{self._temporary}", "w", format=self._format, options=options)
        self._stream = self._container.add_stream(self._encoder, rate=self.frame_rate, options=self._options)
        height, width = self.size
        even = 2 if self._pixels == "yuv420p" else 1
        self._stream.height, self._stream.width = -(-height // even) * even, -(-width // even) * even
        self._stream.pix_fmt = self._pixels
        self._stream.codec_context.sample_aspect_ratio = self._sample_aspect_ratio
        self._stream.time_base = self._stream.codec_context.time_base = time_base
        self._opened()

    def _write(self, image: NDArray[np.uint8], pts: int, time_base: Fraction) -> None:
        if self._complete:
            raise ValueError(f"{self.path}: is complete, no frame can follow")
        try:
            if self._container is None:
                self._open(time_base)
            unit = self._stream.codec_context.time_base
            ticks = pts if time_base == unit else round(pts * time_base / unit)
            # MP4 and MOV show nothing before 0: FFmpeg writes an edit list that hides it.
            first = 0 if self._format in ("mp4", "mov") else ticks
            earliest = self._last + 1 if self.frames else first
            if ticks < earliest:
                ticks, self.moved = earliest, self.moved + 1
            frame = self._frame(image)
            frame.pts, frame.time_base = ticks, unit
            self._mux_until(ticks * unit)
            self._container.mux(self._stream.encode(frame))
        except (self._av.error.FFmpegError, OSError) as error:
            raise self._failure(error) from error
        self.frames, self._last = self.frames + 1, ticks

    def _check(self, image: NDArray[np.uint8], shape: tuple[int, ...]) -> None:
        if image.dtype != np.uint8 or image.ndim != len(shape):
            raise ValueError(f"frame is {image.dtype} {list(image.shape)}, expected uint8 {list(shape)}")
        if image.shape != shape:
            raise MediaError(
                f"{self.path}: frame {self.frames} is {image.shape[1]}x{image.shape[0]}, "
                f"expected {shape[1]}x{shape[0]}; split the source where its size changes"
            )

    @abstractmethod
    def _frame(self, image: NDArray[np.uint8]) -> Any:
        """A PyAV frame of the encoder's size and pixel format."""

    def _opened(self) -> None:  # noqa: B027  (a writer without audio has nothing to add)
        """Add streams that are copied."""

    def _mux_until(self, time: Fraction | None) -> None:  # noqa: B027
        """Mux what is copied up to `time` in seconds; all of it for None."""
