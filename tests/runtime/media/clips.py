"""Small videos for tests, made with PyAV alone: our reader and writers are not tested with themselves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from ce2p_runtime.media.video import VideoFrame, VideoReader

__all__ = ["assert_balanced", "copy_packets", "make_clip", "moving", "packets_of", "read", "zero_packet"]


def moving(count: int, height: int = 48, width: int = 64) -> Iterator[np.ndarray]:
    """uint8 BGR: a ball over a background that moves."""
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    background = cv2.GaussianBlur(noise, (0, 0), 2)
    for index in range(count):
        image = np.roll(background, 2 * index, axis=1)
        cv2.circle(image, (10 + 2 * index, height // 2), height // 6, (0, 0, 255), -1)
        yield image


def make_clip(
    path: Path,
    codec: str = "libx264",
    images: Iterable[np.ndarray] | int = 25,
    *,
    pixels: str = "yuv420p",
    options: dict[str, str] | None = None,
    container: dict[str, str] | None = None,
    stamps: Sequence[int] | None = None,
    time_base: Fraction = Fraction(1, 25),
    form: str | None = None,
    **stream_fields: Any,
) -> Path:
    """A video of `images` (or of so many of `moving`), whose frames are shown at `stamps` times `time_base`."""
    pictures = list(moving(images) if isinstance(images, int) else images)
    with av.open(str(path), "w", format=form, options=container or {}) as out:
        stream = out.add_stream(codec, rate=25, options={"g": "10", "threads": "1"} | (options or {}))
        stream.height, stream.width, stream.pix_fmt = *pictures[0].shape[:2], pixels
        stream.time_base = stream.codec_context.time_base = time_base
        for name, value in stream_fields.items():
            setattr(stream.codec_context, name, value)
        for index, image in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(image, format="bgr24").reformat(format=pixels)
            frame.pts, frame.time_base = stamps[index] if stamps else index, time_base
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def read(path: Path, **options: bool) -> tuple[list[VideoFrame], VideoReader]:
    """All frames, and the reader when it is through."""
    with VideoReader(path, **options) as reader:
        return list(reader), reader


def assert_balanced(reader: VideoReader) -> None:
    """Every packet gave a frame, needed none or is lost."""
    counts = reader.counts
    assert counts.packets + counts.further == counts.decoded + counts.hidden + counts.skipped, counts
    assert counts.waiting == 0


def packets_of(path: Path) -> list[tuple[int, int, bytes, bool]]:
    """(place in the file or -1, size, bytes, whether it is a keyframe) of the video's packets, in decoding order."""
    with av.open(str(path)) as container:
        found = [packet for packet in container.demux(video=0) if packet.size]
        return [(-1 if p.pos is None else p.pos, p.size, bytes(p), p.is_keyframe) for p in found]


def zero_packet(path: Path, number: int, target: Path) -> Path:
    """A copy in which the bytes of one packet are zero, and nothing else differs."""
    data = bytearray(path.read_bytes())
    packet = packets_of(path)[number][2]
    at = data.index(packet[8:])
    data[at : at + len(packet) - 8] = bytes(len(packet) - 8)
    target.write_bytes(data)
    return target


def copy_packets(source: Path, target: Path, start: int = 0, change: Any = None, **container: str) -> Path:
    """The packets from number `start` on in another file, not encoded again; `change(number, bytes)` may alter them."""
    with av.open(str(source)) as inside, av.open(str(target), "w", options=container) as out:
        video = inside.streams.video[0]
        stream = out.add_stream_from_template(video)
        for number, packet in enumerate(p for p in inside.demux(video) if p.size):
            if number < start:
                continue
            if change is not None and (data := change(number, bytes(packet))) is not None:
                changed = av.Packet(data)
                changed.pts, changed.dts, changed.time_base = packet.pts, packet.dts, packet.time_base
                changed.is_keyframe = packet.is_keyframe
                packet = changed
            packet.stream = stream
            out.mux(packet)
    return target
