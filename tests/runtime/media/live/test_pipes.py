"""Video on standard input, through real pipes from a process of its own."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import Any

import pytest

from ce2p_runtime.errors import ConfigError, MediaError
from ce2p_runtime.media.live.kinds import LiveOptions
from ce2p_runtime.media.sources import Source, open_source
from tests.runtime.media.live.sender import SIZE, encoded, number_of, numbered, sending

Feed = Callable[[bytes], Any]


@pytest.fixture
def piped(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """`with piped(data): ...` where standard input is a pipe that a thread writes `data` into."""

    @contextmanager
    def standard_input(data: bytes) -> Iterator[None]:
        reading, writing = os.pipe()

        def write() -> None:
            with os.fdopen(writing, "wb") as file:
                file.write(data)

        thread = threading.Thread(target=write)
        thread.start()
        with os.fdopen(reading, "rb") as file:
            monkeypatch.setattr("sys.stdin", file)
            yield
            while file.read(1 << 20):
                pass
        thread.join()

    return standard_input


def read(options: LiveOptions | None = None) -> tuple[list[int], list[Fraction], Source]:
    with open_source("-", live=options or LiveOptions()) as source:
        frames = list(source)
    numbers = [number_of(frame.image) for frame in frames]
    return numbers, [frame.pts * frame.time_base for frame in frames], source  # type: ignore[operator]


@pytest.mark.parametrize(
    ("form", "options"),
    [
        ("mpegts", {}),
        ("matroska", {}),
        ("yuv4mpegpipe", {"strict": "-1"}),
        ("mp4", {"movflags": "frag_keyframe+empty_moov+default_base_moof"}),
    ],
)
def test_every_frame_of_a_container_comes_with_its_time(piped: Feed, form: str, options: dict[str, str]) -> None:
    with piped(encoded(form, range(30), **options)):
        numbers, times, source = read()
    assert numbers == list(range(30))
    assert [time - times[0] for time in times] == [Fraction(index, 25) for index in range(30)]
    assert (source.problems, source.ledger.counts.received, source.ledger.counts.parsed) == ([], 30, 30)
    assert any("policy every" in note for note in source.notes)


def test_a_sender_in_another_process_is_read_as_it_sends(monkeypatch: pytest.MonkeyPatch) -> None:
    with sending("mpegts", "-", frames=20, rate=100) as process:
        monkeypatch.setattr("sys.stdin", process.stdout)
        numbers, _, source = read()
    assert numbers == list(range(20))
    assert source.ledger.counts.losses == 0


def test_bare_pixels(piped: Feed) -> None:
    data = b"".join(numbered(number).tobytes() for number in range(10))
    with piped(data):
        numbers, times, source = read(LiveOptions(raw=f"bgr24:{SIZE[1]}x{SIZE[0]}@30000/1001"))
    assert numbers == list(range(10))
    assert times == [Fraction(index * 1001, 30000) for index in range(10)]
    assert source.problems == []


def test_the_rest_of_a_frame_is_a_failed_frame(piped: Feed) -> None:
    with piped(numbered(3).tobytes() + b"\0" * 1000):
        numbers, _, source = read(LiveOptions(raw=f"bgr24:{SIZE[1]}x{SIZE[0]}@30"))
    assert numbers == [3]
    assert source.ledger.counts.failed == {"undecodable": 1}
    assert source.ledger.counts.balanced
    assert source.problems == [
        "standard input: is cut short or damaged: frames that could not be decoded: 1; frames read: 1"
    ]


def test_times_that_jump_go_on_and_are_told_once(piped: Feed) -> None:
    stamps = [*range(10), *(100_000 + index for index in range(10)), *(200_000 + index for index in range(5))]
    with piped(encoded("matroska", range(25), stamps)):
        numbers, times, source = read()
    assert numbers == list(range(25))
    assert times == [Fraction(index, 25) for index in range(25)]
    assert [note for note in source.notes if "jump" in note] == [
        "standard input: its times jump or go back: 2; the times written go on evenly"
    ]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", r"standard input: .*expected a whole video"),
        (b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n", r"standard input: .*expected a whole video"),
        (b"ffconcat version 1.0\nfile 'a.ts'\n", r"standard input: .*expected a whole video"),
        (encoded("mp4", range(900)), r"standard input: .*fragmented MP4"),
        (b"text " * 5000, r"standard input: .*expected a whole video"),
    ],
    ids=["nothing", "hls", "ffconcat", "index at the end", "text"],
)
def test_what_is_no_video_gets_one_line(piped: Feed, data: bytes, said: str) -> None:
    with piped(data), pytest.raises(MediaError, match=said):
        read()


@pytest.mark.parametrize(
    "raw", ["", "bgr24", "bgr24:0x8@30", "bgr24:8x8@0", "bgr24:8x8@1/0", "bgr24:9000x8@30", "bgr24:8x8", "../x:8x8@3"]
)
def test_formats_of_bare_pixels_that_mean_nothing(raw: str) -> None:
    with pytest.raises(ConfigError, match=r"--raw: .*expected PIXELS:WIDTHxHEIGHT@RATE"):
        read(LiveOptions(raw=raw))


def test_an_unknown_pixel_format(piped: Feed) -> None:
    with piped(b"\0" * 1000), pytest.raises(ConfigError, match=r"--raw: FFmpeg has no pixel format 'bgr25'"):
        read(LiveOptions(raw="bgr25:8x8@30"))


def test_a_reader_that_stops_leaves_a_writer_that_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    with sending("mpegts", "-", rate=200) as process:
        monkeypatch.setattr("sys.stdin", process.stdout)
        with open_source("-", live=LiveOptions()) as source:
            source.accounted = True
            for frame in source:
                frame.entry.parse()
                if frame.index == 4:
                    break
        counts = source.ledger.counts
    assert counts.parsed == 5
    assert set(counts.dropped) <= {"stopped"}
    assert counts.balanced
    assert counts.waiting == 0


def test_without_leave_a_dash_is_a_file_that_is_not_there() -> None:
    with pytest.raises(MediaError, match=r"-: no such file"):
        open_source("-")
