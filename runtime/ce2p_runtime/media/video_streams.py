"""The video stream of an opened container, and what its header says about the pictures."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

from ..errors import MediaError
from .pyav import fraction

_MAX_PIXELS = 8192 * 8192


def choose_stream(container: Any, path: Path) -> Any:
    """The first video stream that is no cover. Raises MediaError."""
    streams = _video_streams(container)
    if not streams:
        raise MediaError(f"{path}: has no video stream, expected a video; check the path")
    context = streams[0].codec_context
    if context is None:
        raise MediaError(f"{path}: its video codec is not known to this PyAV; convert it to H.264")
    check_picture_size(context, path)
    return streams[0]


def left_out_streams(container: Any) -> list[str]:
    """A note for each kind of streams that are not carried on."""
    further = {"video": _video_streams(container)[1:], "subtitles": container.streams.subtitles}
    return [f"other streams ({what}) are not copied: {len(some)}" for what, some in further.items() if some]


def check_picture_size(picture: Any, path: Path) -> None:
    """Raise MediaError for a frame or a header of too many pixels."""
    if picture.width * picture.height > _MAX_PIXELS:
        raise MediaError(f"{path}: frames of {picture.width}x{picture.height}, expected at most 8192x8192")


def frame_rate(stream: Any) -> Fraction:
    """The average rate, as far as it is one: damaged headers tell of a frame in a hundred days."""
    rates = (fraction(stream.average_rate), fraction(stream.guessed_rate))
    return next((rate for rate in rates if rate is not None and Fraction(1, 1000) <= rate <= 1000), Fraction(25))


def pixel_shape(stream: Any, *, turned: bool) -> Fraction:
    """Width over height of one pixel as it is to be shown; 1 where nothing is said. `turned`: rows become columns."""
    ratio = fraction(stream.sample_aspect_ratio) or Fraction(1)
    return 1 / ratio if turned else ratio


def _video_streams(container: Any) -> list[Any]:
    return [stream for stream in container.streams.video if not _is_cover(stream)]


def _is_cover(stream: Any) -> bool:
    """Whether a video stream is the attached picture of an album: AV_DISPOSITION_ATTACHED_PIC."""
    disposition = getattr(stream, "disposition", 0)
    return bool(getattr(disposition, "value", disposition) & 0x400)  # a number, or a flag in some versions of PyAV
