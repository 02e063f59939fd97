"""A film of 60 frames with sound, uneven times and rotation where wanted, made with PyAV alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

__all__ = ["AXIS", "FRAMES", "UNEVEN", "audio_of", "film_images", "make_film", "times_of"]

FRAMES = 60
AXIS = Fraction(1, 12800)
# Uneven on purpose: 20 and 80 ms in turn, and a start that is no whole number of milliseconds.
UNEVEN = [7777 + 640 * index + 384 * (index % 2) for index in range(FRAMES)]


def _film_background(height: int = 120, width: int = 160) -> np.ndarray:
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 3)


def film_images(count: int, height: int = 120, width: int = 160) -> Iterator[np.ndarray]:
    background = _film_background(height, width)
    for index in range(count):
        image = np.roll(background, 3 * index, axis=1)
        cv2.circle(image, (20 + 2 * index, height // 2), 15, (0, 0, 255), -1)
        yield image


def make_film(
    path: Path,
    codec: str = "libx264",
    pts: Sequence[int] = range(FRAMES),
    time_base: Fraction = Fraction(1, 25),
    audio: str | None = None,
    rotation: tuple[int, bool] | None = None,
    **options: str,
) -> Path:
    """A small video; our reader and writers are not tested with themselves."""
    if path.suffix == ".mp4":
        options["movie_timescale"] = "12800"  # or the start of the track is rounded to milliseconds
    with av.open(str(path), "w", options=options) as out:
        video = out.add_stream(codec, rate=25, options={"g": "20"})
        video.width, video.height, video.pix_fmt = 160, 120, "yuv420p"
        video.time_base = video.codec_context.time_base = time_base
        if rotation is not None:
            video.set_display_rotation(rotation[0], hflip=rotation[1])
        sound = out.add_stream(audio, rate=48000) if audio else None
        for stamp, image in zip(pts, film_images(len(pts)), strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="bgr24")
            frame.pts, frame.time_base = stamp, time_base
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        if sound is not None:
            for block in range(60):
                wave = np.sin(np.arange(1024) / (5 + block)).astype(np.float32)
                samples = av.AudioFrame.from_ndarray(np.stack([wave, wave]), format="fltp", layout="stereo")
                samples.sample_rate, samples.pts, samples.time_base = 48000, 1024 * block, Fraction(1, 48000)
                out.mux(sound.encode(samples))
            out.mux(sound.encode(None))
    return path


def times_of(path: Path) -> list[Fraction]:
    """Presentation times of all frames, by PyAV alone."""
    with av.open(str(path)) as container:
        return [frame.pts * frame.time_base for frame in container.decode(video=0)]


def audio_of(path: Path) -> list[tuple[bytes, Fraction]]:
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(audio=0) if packet.size]
        return [(bytes(packet), packet.pts * packet.time_base) for packet in packets]
