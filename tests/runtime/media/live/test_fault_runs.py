"""The ledger over many runs with faults: pipes, sockets and files that break, jump, stall, end, and are interrupted.

`--live-runs 300` for the long form; `--fuzz-seed` draws other faults.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType, TracebackType

import pytest

from ce2p_runtime import CE2PRuntimeError, HumanParser, ParsingResult
from ce2p_runtime.media.live.kinds import LiveOptions
from ce2p_runtime.media.sources import SourceFrame
from ce2p_runtime.media.video_pipeline import VideoPipeline
from tests.runtime.handmade import write_network
from tests.runtime.media.live.sender import encoded, number_of

FRAMES = 40
FAULTS = ("none", "cut", "damage", "jump", "stall", "parser", "sink", "interrupt", "stop", "return")
SOURCES = ("file", "tcp", "pipe")


class InjectedError(Exception):
    """Made by a test."""


class Recorder:
    """A sink that notes the numbers it sees, and raises at one if it is to."""

    def __init__(self, fails_at: int | None) -> None:
        self.seen: list[int] = []
        self.indices: list[int] = []
        self._fails_at = fails_at

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is held."""

    def write(self, frame: SourceFrame, result: ParsingResult) -> None:
        if len(self.seen) == self._fails_at:
            raise InjectedError
        self.seen.append(number_of(frame.image))
        self.indices.append(frame.index)


@contextmanager
def listening(pieces: list[bytes], stall: float) -> Iterator[str]:
    """A socket that sends one piece per connection, silent for a moment in its middle."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def send() -> None:
            with suppress(OSError):  # the reader has gone, or never comes
                for piece in pieces:
                    connection, _ = server.accept()
                    with connection:
                        connection.sendall(piece[: len(piece) // 2])
                        time.sleep(stall)
                        connection.sendall(piece[len(piece) // 2 :])

        thread = threading.Thread(target=send)
        thread.start()
        try:
            yield f"tcp://127.0.0.1:{server.getsockname()[1]}"
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


@contextmanager
def piping(data: bytes, stall: float) -> Iterator[str]:
    """Standard input that is a pipe with `data`, silent for a moment in its middle."""
    reading, writing = os.pipe()

    def write() -> None:
        with suppress(OSError), os.fdopen(writing, "wb") as file:
            file.write(data[: len(data) // 2])
            time.sleep(stall)
            file.write(data[len(data) // 2 :])

    thread = threading.Thread(target=write)
    thread.start()
    with pytest.MonkeyPatch.context() as patch, os.fdopen(reading, "rb") as file:
        patch.setattr("sys.stdin", file)
        yield "-"
    thread.join()


@contextmanager
def a_file(data: bytes, path: Path) -> Iterator[Path]:
    """A file with `data`."""
    path.write_bytes(data)
    yield path


@contextmanager
def interrupted_after(seconds: float | None) -> Iterator[None]:
    """Ctrl-C at some moment in the block, in the middle of whatever the main thread does."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds or 0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def video(fault: str, draw: random.Random) -> bytes:
    stamps = [index + (100_000 if fault == "jump" and index >= FRAMES // 2 else 0) for index in range(FRAMES)]
    data = bytearray(encoded("mpegts", range(FRAMES), stamps))
    if fault == "cut":
        del data[draw.randrange(len(data) // 4, len(data)) :]
    if fault == "damage":
        for _ in range(20):
            data[draw.randrange(len(data) // 4, len(data))] ^= 1 << draw.randrange(8)
    return bytes(data)


def run(kind: str, fault: str, draw: random.Random, parser: HumanParser, folder: Path) -> VideoPipeline | None:
    """One run; its pipeline, or None where nothing could be opened."""
    sink = Recorder(draw.randrange(FRAMES // 2) if fault == "sink" else None)
    data = video(fault, draw)
    policy = draw.choice(["every", "latest", "max-age=0.02"])
    live = LiveOptions(policy=policy, timeout=5.0, reconnect=2.0 if fault == "return" else 0.0)
    pieces = [data, data] if fault == "return" else [data]
    stall = 0.05 if fault == "stall" else 0.0
    pipeline = None
    with (
        {
            "file": lambda: a_file(data, folder / "film.ts"),
            "pipe": lambda: piping(data, stall),
            "tcp": lambda: listening(pieces, stall),
        }[kind]() as source,
        suppress(CE2PRuntimeError, InjectedError, KeyboardInterrupt),
    ):
        pipeline = VideoPipeline(source, parser, [sink], live=live)
        moment = draw.uniform(0.0005, 0.05) if fault == "interrupt" else None
        with pipeline, interrupted_after(moment):
            for frame, _ in pipeline:
                assert pipeline.counts.balanced
                if fault == "stop" and frame.index > draw.randrange(FRAMES):
                    pipeline.stop()
                if fault == "parser" and frame.index > draw.randrange(FRAMES):
                    raise InjectedError
    if pipeline is not None:
        counts = pipeline.counts
        assert counts.balanced, counts
        assert counts.waiting == 0, counts
        # One more where the interrupt came between the sink and the ledger.
        assert len(sink.seen) - counts.parsed in ((0, 1) if fault == "interrupt" else (0,)), counts
        assert sink.indices == sorted(set(sink.indices))
        if fault != "damage":  # where a picture may show an earlier one's number
            again = Counter(sink.seen)
            assert max(again.values(), default=1) <= len(pieces), again
        if kind == "tcp" and fault in ("none", "jump", "stall"):
            assert (counts.received, counts.losses, counts.failed) == (FRAMES, 1, {}), counts
        if kind != "tcp" and fault in ("none", "jump", "stall"):
            assert (counts.received, counts.losses, counts.failed) == (FRAMES, 0, {}), counts
    return pipeline


def test_decoded_is_parsed_and_dropped_and_failed(
    tmp_path: Path, request: pytest.FixtureRequest, fuzz_seed: int
) -> None:
    runs = int(request.config.getoption("--live-runs"))
    draw = random.Random(fuzz_seed)  # noqa: S311
    ended: Counter[str] = Counter()
    with HumanParser(write_network(tmp_path / "net.onnx"), backend="onnxruntime", threads=1) as parser:
        for number in range(runs):
            kind, fault = SOURCES[number % len(SOURCES)], FAULTS[number // len(SOURCES) % len(FAULTS)]
            pipeline = run(kind, fault, draw, parser, tmp_path)
            ended["opened" if pipeline is not None else "not opened"] += 1
    assert ended["opened"] > runs * 0.8, ended
