"""Decoding, parsing and writing at once: from threads and asyncio, with errors in any of the three."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType

import numpy as np
import pytest

from ce2p_runtime import HumanParser, MediaError, ParsingResult
from ce2p_runtime.media.live.kinds import LiveOptions
from ce2p_runtime.media.sinks import open_sink
from ce2p_runtime.media.sources import SourceFrame, open_source
from ce2p_runtime.media.video import VideoReader
from ce2p_runtime.media.video_pipeline import VideoPipeline
from tests.runtime.handmade import write_network
from tests.runtime.media.live.sender import encoded, free_port, number_of, sending

FRAMES = 60


@pytest.fixture(scope="module")
def parser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HumanParser]:
    path = write_network(tmp_path_factory.mktemp("network") / "net.onnx")
    with HumanParser(path, backend="onnxruntime", threads=1) as parser:
        yield parser


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "film.ts"
    path.write_bytes(encoded("mpegts", range(FRAMES)))
    return path


class Numbers:
    """A sink that reads the number of every frame, and fails at one if it is to."""

    def __init__(self, fails_at: int = -1) -> None:
        self.seen: list[int] = []
        self.left_with: BaseException | None = None
        self._fails_at = fails_at

    def __enter__(self) -> Numbers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.left_with = error

    def write(self, frame: SourceFrame, result: ParsingResult) -> None:
        assert result.labels.shape == frame.image.shape[:2]
        if len(self.seen) == self._fails_at:
            raise MediaError("no space is left")
        self.seen.append(number_of(frame.image))


class Failing:
    """A parser that fails at one frame."""

    def __init__(self, parser: HumanParser, fails_at: int) -> None:
        self._parser, self._fails_at = parser, fails_at

    def parse_frames(self, frames: Iterable[SourceFrame]) -> Iterator[tuple[SourceFrame, ParsingResult]]:
        return self._parser.parse_frames(self._checked(frames))

    def _checked(self, frames: Iterable[SourceFrame]) -> Iterator[SourceFrame]:
        for frame in frames:
            if frame.index == self._fails_at:
                raise ValueError("cannot be parsed")
            yield frame


def test_a_film_is_parsed_whole(parser: HumanParser, film: Path) -> None:
    plain = [result.labels for result in parser.stream(film)]
    sink = Numbers()
    with VideoPipeline(film, parser, [sink]) as pipeline:
        parsed = [(number_of(frame.image), result) for frame, result in pipeline]
        counts = pipeline.counts
    assert [number for number, _ in parsed] == sink.seen == list(range(FRAMES))
    assert all(np.array_equal(result.labels, labels) for (_, result), labels in zip(parsed, plain, strict=True))
    assert [result.frame_index for _, result in parsed] == list(range(FRAMES))
    assert (counts.received, counts.parsed, counts.waiting, counts.balanced) == (FRAMES, FRAMES, 0, True)
    assert counts.latency_ms == {}  # of a file it would tell nothing


def test_files_are_written_beside(parser: HumanParser, film: Path, tmp_path: Path) -> None:
    with open_source(film) as source:
        sink = open_sink(tmp_path, source, frozenset({"overlay", "labels"}))
        with VideoPipeline(source, parser, [sink]) as pipeline:
            assert pipeline.run().parsed == FRAMES
    with VideoReader(tmp_path / "film_overlay.mp4") as overlay, VideoReader(tmp_path / "film_labels.mkv") as labels:
        assert len(list(overlay)) == len(list(labels)) == FRAMES


def test_memory_stays_flat_behind_a_slow_sink(parser: HumanParser, film: Path) -> None:
    most = 0

    class Slow(Numbers):
        def write(self, frame: SourceFrame, result: ParsingResult) -> None:
            nonlocal most
            most = max(most, pipeline.counts.waiting)
            time.sleep(0.005)
            super().write(frame, result)

    with VideoPipeline(film, parser, [Slow()]) as pipeline:
        assert pipeline.run().parsed == FRAMES
    assert 1 <= most <= 8  # four decoded ahead, one at the decoder, one or two at the parser and the sink


def test_an_error_in_a_sink_is_raised_and_counted(parser: HumanParser, film: Path) -> None:
    sink = Numbers(fails_at=7)
    pipeline = VideoPipeline(film, parser, [sink])
    with pytest.raises(MediaError, match="no space is left"), pipeline:
        pipeline.run()
    counts = pipeline.counts
    assert (counts.parsed, counts.failed, counts.waiting) == (7, {"not parsed": 1}, 0)
    assert set(counts.dropped) <= {"stopped"}
    assert counts.balanced
    assert isinstance(sink.left_with, MediaError)


def test_an_error_in_the_parser_is_raised_and_counted(parser: HumanParser, film: Path) -> None:
    pipeline = VideoPipeline(film, Failing(parser, 7))
    with pytest.raises(ValueError, match="cannot be parsed"), pipeline:
        pipeline.run()
    counts = pipeline.counts
    assert (counts.parsed, counts.failed, counts.waiting, counts.balanced) == (7, {"not parsed": 1}, 0, True)


def test_lost_frames_of_a_file_are_in_the_ledger(parser: HumanParser, film: Path, tmp_path: Path) -> None:
    data = bytearray(film.read_bytes())
    for start in range(len(data) // 3, 2 * len(data) // 3, 500):
        data[start : start + 40] = bytes(40)
    broken = tmp_path / "broken.ts"
    broken.write_bytes(data)
    pipeline = VideoPipeline(broken, parser)
    with pytest.raises(MediaError, match="cut short or damaged"), pipeline:
        pipeline.run()
    counts = pipeline.counts
    assert counts.balanced
    assert counts.waiting == 0
    assert counts.received == counts.parsed + sum(counts.failed.values())
    assert counts.repaired or counts.failed


def test_any_thread_may_stop_it(parser: HumanParser) -> None:
    port = free_port()
    address, live = f"tcp://127.0.0.1:{port}?listen=1", LiveOptions(timeout=20.0)
    with sending("mpegts", f"tcp://127.0.0.1:{port}", rate=100), VideoPipeline(address, parser, live=live) as pipeline:
        stopping = threading.Timer(0.5, pipeline.stop)
        stopping.start()
        numbers = [number_of(frame.image) for frame, _ in pipeline]  # a live source: only stopping ends it
        stopping.join()
    counts = pipeline.counts
    assert numbers == sorted(set(numbers))
    assert (counts.parsed, counts.waiting, counts.balanced) == (len(numbers), 0, True)
    assert set(counts.latency_ms) == {"p50", "p95", "p99"}


def test_a_slow_network_gets_the_latest_frame(parser: HumanParser) -> None:
    port = free_port()
    address, live = f"tcp://127.0.0.1:{port}?listen=1", LiveOptions(timeout=20.0, reconnect=0.0)

    class Slow(Numbers):
        def write(self, frame: SourceFrame, result: ParsingResult) -> None:
            time.sleep(0.05)
            super().write(frame, result)

    sink = Slow()
    with (
        sending("mpegts", f"tcp://127.0.0.1:{port}", rate=100, frames=150),
        VideoPipeline(address, parser, [sink], live=live) as pipeline,
    ):
        for _ in pipeline:
            pass
    counts = pipeline.counts
    assert counts.received == 150
    assert counts.parsed == len(sink.seen) < 150
    assert counts.dropped == {"late": 150 - counts.parsed}
    assert sink.seen == sorted(set(sink.seen))
    assert sink.seen[-1] == 149  # the last one is never late


def test_asyncio_goes_on_meanwhile(parser: HumanParser, film: Path) -> None:
    async def count() -> tuple[list[int], int]:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0)

        ticking = asyncio.create_task(tick())
        with VideoPipeline(film, parser) as pipeline:
            numbers = [number_of(frame.image) async for frame, _ in pipeline]
        ticking.cancel()
        return numbers, ticks

    numbers, ticks = asyncio.run(count())
    assert numbers == list(range(FRAMES))
    assert ticks > FRAMES


def test_a_cancelled_task_leaves_nothing_behind(parser: HumanParser) -> None:
    port = free_port()
    address, live = f"tcp://127.0.0.1:{port}?listen=1", LiveOptions(timeout=20.0)
    seen: list[int] = []
    pipelines: list[VideoPipeline] = []

    async def parse() -> None:
        with VideoPipeline(address, parser, live=live) as pipeline:
            pipelines.append(pipeline)
            async for frame, _ in pipeline:
                seen.append(number_of(frame.image))

    async def main() -> None:
        task = asyncio.create_task(parse())
        while len(seen) < 10:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with sending("mpegts", f"tcp://127.0.0.1:{port}", rate=100):
        asyncio.run(asyncio.wait_for(main(), 60))
    counts = pipelines[0].counts
    assert (counts.waiting, counts.balanced) == (0, True)
    assert counts.parsed >= len(seen) >= 10
    assert not [thread for thread in threading.enumerate() if thread.name == "ce2p-live"]


def test_a_source_that_is_not_there(parser: HumanParser) -> None:
    sink = Numbers()
    with pytest.raises(MediaError, match="Connection refused"):
        VideoPipeline(f"tcp://127.0.0.1:{free_port()}", parser, [sink])
    assert sink.left_with is None
