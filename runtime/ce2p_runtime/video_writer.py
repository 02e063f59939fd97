"""Write videos whose frames keep the times they came with: H.264 or VP9 pictures, and lossless label maps.

Nothing appears under the final name before the video is complete, so an interrupted job leaves no half file.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .audio import AudioCopy
from .containers import load_av
from .errors import MediaError
from .files import atomic_path

__all__ = ["LabelVideoWriter", "VideoWriter"]

_H264 = ("libx264", {"crf": "18", "preset": "veryfast"})
_VP9 = ("libvpx-vp9", {"crf": "24", "b": "0", "deadline": "realtime", "cpu-used": "6", "row-mt": "1"})
_FORMATS = {
    ".mp4": ("mp4", _H264),
    ".m4v": ("mp4", _H264),
    ".mov": ("mov", _H264),
    ".mkv": ("matroska", _H264),
    ".webm": ("webm", _VP9),
}
# Untagged video is shown with another matrix by every player; what is tagged is shown as it was.
_COLOUR_TAGS = {"colorspace": "bt709", "color_primaries": "bt709", "color_trc": "bt709", "color_range": "tv"}
_MILLISECOND = Fraction(1, 1000)


class _Writer(ABC):
    """What both writers share: a container written beside its final name, and time stamps."""

    _pixels = "yuv420p"

    def __init__(
        self,
        path: str | Path,
        frame_rate: Fraction | float,
        size: tuple[int, int],
        container: str,
        encoder: tuple[str, dict[str, str]],
    ) -> None:
        self._av = load_av()
        self.path = Path(path)
        self.frame_rate = Fraction(frame_rate).limit_denominator(100_000)
        self.size = size
        """(height, width) in pixels of the frames that `write` takes."""
        self.frames = 0
        """Frames written so far."""
        self.moved = 0
        """Frames whose time was not after the one before (as in damaged sources) and was moved behind it."""
        self._format = container
        self._encoder, self._options = encoder
        self._file: AbstractContextManager[Path] | None = None
        self._temporary: Path | None = None
        self._container: Any = None
        self._stream: Any = None
        self._last = 0
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
                self._finish()
            except BaseException as failure:
                self._abandon(failure)
                raise
            self._file.__exit__(None, None, None)
        else:
            self._abandon(error)

    def _finish(self) -> None:
        if self._container is None:
            raise MediaError(f"{self.path}: no frame was written, expected at least one; check the source")
        try:
            self._mux_until(None)
            self._container.mux(self._stream.encode(None))
            self._container.close()
        except (self._av.error.FFmpegError, OSError) as failure:
            raise self._failure(failure) from failure

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
        return MediaError(f"{self.path}: cannot be written ({reason}); check the free space and the folder")

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
        self._stream.time_base = self._stream.codec_context.time_base = time_base
        self._opened()

    def _write(self, image: NDArray[np.uint8], pts: int, time_base: Fraction) -> None:
        try:
            if self._container is None:
                self._open(time_base)
            unit = self._stream.codec_context.time_base
            ticks = pts if time_base == unit else round(pts * time_base / unit)
            if self.frames and ticks <= self._last:
                ticks, self.moved = self._last + 1, self.moved + 1
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


class VideoWriter(_Writer):
    """Context manager that writes BGR frames as H.264 (.mp4 .m4v .mov .mkv) or VP9 (.webm), 4:2:0.

        with VideoWriter("out.mp4", reader.frame_rate, reader.size, audio_from=reader.path) as writer:
            for frame in reader:
                writer.write(frame.image, frame.pts, frame.time_base)

    `size` is (height, width); odd sizes are padded to even ones by repeating the last row or column, since
    4:2:0 stores colours for 2x2 pixels. Every frame keeps its time: exactly in .mp4 and .mov, to the
    millisecond in .mkv and .webm. The audio of `audio_from` is copied packet by packet, unchanged, where the
    format can hold it; otherwise `audio_note` says why not. The file appears under its name when the block
    ends without an exception. Raises MediaError for unknown suffixes, when the file cannot be written, and
    when no frame was written.
    """

    def __init__(
        self,
        path: str | Path,
        frame_rate: Fraction | float,
        size: tuple[int, int],
        audio_from: str | Path | None = None,
    ) -> None:
        suffix = Path(path).suffix.lower()
        if suffix not in _FORMATS:
            raise MediaError(f"{path}: no video format for the suffix {suffix!r}; use {', '.join(_FORMATS)}")
        container, (encoder, options) = _FORMATS[suffix]
        super().__init__(path, frame_rate, size, container, (encoder, options | _COLOUR_TAGS))
        self._audio_from = audio_from
        self._audio: AudioCopy | None = None

    @property
    def audio_packets(self) -> int:
        """Audio packets copied so far."""
        return 0 if self._audio is None else self._audio.packets

    @property
    def audio_note(self) -> str | None:
        """Why audio of the source is missing in the file; None when all is there, or there was none."""
        return None if self._audio is None else self._audio.note

    def __enter__(self) -> VideoWriter:
        self._enter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            super().__exit__(kind, error, trace)
        finally:
            if self._audio is not None:
                self._audio.close()

    def write(self, image: NDArray[np.uint8], pts: int, time_base: Fraction) -> None:
        """Append a frame, uint8 BGR [H, W, 3], shown at `pts * time_base` seconds. Raises MediaError."""
        self._check(image, (*self.size, 3))
        self._write(image, pts, time_base)

    def _frame(self, image: NDArray[np.uint8]) -> Any:
        bottom, right = self.size[0] % 2, self.size[1] % 2
        if bottom or right:
            image = np.asarray(cv2.copyMakeBorder(image, 0, bottom, 0, right, cv2.BORDER_REPLICATE), np.uint8)
        frame = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="bgr24")
        return frame.reformat(format=self._pixels, dst_colorspace="ITU709")

    def _opened(self) -> None:
        if self._audio_from is not None:
            self._audio = AudioCopy(self._audio_from, self._container)

    def _mux_until(self, time: Fraction | None) -> None:
        if self._audio is not None:
            self._audio.mux_until(time)


class LabelVideoWriter(_Writer):
    """Write label maps as lossless video: FFV1, gray, .mkv; a context manager like `VideoWriter`.

    `VideoReader(path, labels=True)` gives the same maps back, bit for bit. Times are kept to the millisecond.
    """

    _pixels = "gray"

    def __init__(self, path: str | Path, frame_rate: Fraction | float, size: tuple[int, int]) -> None:
        if Path(path).suffix.lower() != ".mkv":
            raise MediaError(f"{path}: label videos are FFV1 in Matroska; use a name ending in .mkv")
        # Each frame stands alone and carries checksums: damage stays where it is, and is noticed.
        slices = "4" if min(size) >= 32 else "1"  # slices work in parallel, but need some pixels each
        encoder = ("ffv1", {"level": "3", "slices": slices, "slicecrc": "1", "g": "1"})
        super().__init__(path, frame_rate, size, "matroska", encoder)

    def __enter__(self) -> LabelVideoWriter:
        self._enter()
        return self

    def write(self, labels: NDArray[np.uint8], pts: int, time_base: Fraction) -> None:
        """Append a label map, uint8 [H, W], shown at `pts * time_base` seconds. Raises MediaError."""
        self._check(labels, self.size)
        self._write(labels, pts, time_base)

    def _frame(self, image: NDArray[np.uint8]) -> Any:
        return self._av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="gray")
