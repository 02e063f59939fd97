"""Sends video from a process of its own, by PyAV alone: the other end of a pipe, a socket or an RTSP session.

    python -m tests.runtime.media.live.sender mpegts tcp://127.0.0.1:5701 --frames 50 --rate 25

Every picture shows its number in 16 black or white squares, which any codec keeps: `number_of` reads it back.
"""

from __future__ import annotations

import argparse
import io
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from fractions import Fraction

import av
import numpy as np
from numpy.typing import NDArray

__all__ = ["SIZE", "encoded", "free_port", "number_of", "numbered", "sending"]

SIZE = (96, 128)
"""(height, width) of the pictures."""
_SQUARE = 16
_TRIES = 200


def numbered(number: int) -> NDArray[np.uint8]:
    """uint8 BGR: a grey picture with `number` in two rows of eight squares."""
    image = np.full((*SIZE, 3), 90, np.uint8)
    for bit in range(16):
        top, left = 16 + 40 * (bit // 8), _SQUARE * (bit % 8)
        image[top : top + 32, left : left + _SQUARE] = 255 * (number >> bit & 1)
    return image


def number_of(image: NDArray[np.uint8]) -> int:
    """The number that a picture shows; -1 for one of another size, as damage makes them."""
    if image.shape[:2] != SIZE:
        return -1
    bits = (image[32 + 40 * (bit // 8), _SQUARE * (bit % 8) + 8].mean() > 128 for bit in range(16))
    return sum(int(value) << bit for bit, value in enumerate(bits))


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """A port on which nothing listens."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def encoded(form: str, frames: Sequence[int], stamps: Sequence[int] | None = None, **options: str) -> bytes:
    """A video in memory that shows `frames`, at `stamps` in 1/25 s."""
    file = io.BytesIO()
    with av.open(file, "w", format=form, options=options) as out:
        stream = _stream(out, form)
        for index, number in enumerate(frames):
            out.mux(stream.encode(_frame(number, stamps[index] if stamps else index, stream.pix_fmt)))
        out.mux(stream.encode(None))
    return file.getvalue()


@contextmanager
def sending(
    form: str, target: str, *, frames: int = 0, rate: float = 25, first: int = 0, options: Sequence[str] = ()
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that sends `frames` pictures (0: without end), `rate` a second; killed at the end of the block."""
    command = [sys.executable, "-m", __name__, form, target, "--frames", str(frames), "--rate", str(rate)]
    command += ["--first", str(first), *(f"--option={option}" for option in options)]
    with subprocess.Popen(command, stdout=subprocess.PIPE if target == "-" else None) as process:
        try:
            yield process
        finally:
            process.kill()


def _stream(out: av.container.OutputContainer, form: str) -> av.VideoStream:
    codec = {"yuv4mpegpipe": "wrapped_avframe", "mpjpeg": "mjpeg"}.get(form, "libx264")
    fast = {"tune": "zerolatency", "preset": "ultrafast", "g": "10", "threads": "1"} if codec == "libx264" else {}
    stream = out.add_stream(codec, rate=25, options=fast)
    stream.height, stream.width = SIZE
    stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    return stream


def _frame(number: int, pts: int, pixels: str | None) -> av.VideoFrame:
    frame = av.VideoFrame.from_ndarray(numbered(number), format="bgr24").reformat(format=pixels)
    frame.pts, frame.time_base = pts, Fraction(1, 25)
    return frame


def _send(form: str, target: str, numbers: range, rate: float, options: dict[str, str]) -> None:
    with av.open(sys.stdout.buffer if target == "-" else target, "w", format=form, options=options) as out:
        stream = _stream(out, form)
        out.start_encoding()
        begun = time.monotonic()
        for index, number in enumerate(numbers):
            out.mux(stream.encode(_frame(number % 2**16, index, stream.pix_fmt)))
            if rate:
                time.sleep(max(0.0, begun + (index + 1) / rate - time.monotonic()))
        out.mux(stream.encode(None))


def _main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("form")
    parser.add_argument("target")
    parser.add_argument("--frames", type=int)
    parser.add_argument("--first", type=int)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--option", action="append", default=[])
    given = parser.parse_args()
    numbers = range(given.first, given.first + (given.frames or sys.maxsize - given.first))
    for _ in range(_TRIES):  # until the other side listens
        with suppress(ConnectionError, OSError):
            _send(given.form, given.target, numbers, given.rate, dict(text.split("=", 1) for text in given.option))
            return
        time.sleep(0.05)
    sys.exit(f"nobody listens at {given.target}")


if __name__ == "__main__":
    _main()
