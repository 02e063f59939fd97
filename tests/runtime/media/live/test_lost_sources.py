"""Senders that die, freeze, come back or say no: each loss is counted, and no frame is invented."""

from __future__ import annotations

import signal
from contextlib import ExitStack
from pathlib import Path

import pytest

from ce2p_runtime.errors import MediaError
from ce2p_runtime.media.live.kinds import LiveOptions
from ce2p_runtime.media.sources import SourceFrame, open_source
from tests.runtime.media.clips import copy_packets
from tests.runtime.media.live.sender import encoded, free_port, number_of, sending
from tests.runtime.media.live.servers import served

SECOND = 1000
"""Number of the first picture of a second sender."""


def options(**more: object) -> LiveOptions:
    return LiveOptions(**{"policy": "every", "reconnect": 20.0, "timeout": 20.0, **more})  # type: ignore[arg-type]


def numbers_of(frames: list[SourceFrame]) -> list[int]:
    return [number_of(frame.image) for frame in frames]


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ce2p_runtime.media.live.reader._FIRST_WAIT", 0.05)


def test_a_sender_that_is_killed_and_comes_back() -> None:
    port = free_port()
    to, address = f"tcp://127.0.0.1:{port}", f"tcp://127.0.0.1:{port}?listen=1"
    with ExitStack() as senders:
        first = senders.enter_context(sending("mpegts", to, rate=50))
        with open_source(address, live=options()) as source:
            frames = []
            for frame in source:
                frames.append(frame)
                if len(frames) == 20:
                    first.kill()
                    first.wait()
                    senders.enter_context(sending("mpegts", to, rate=50, first=SECOND, frames=30))
                if number_of(frame.image) == SECOND + 29:
                    break
    numbers = numbers_of(frames)
    lost = numbers.index(SECOND)
    assert numbers == [*range(lost), *range(SECOND, SECOND + 30)]
    assert [frame.index for frame in frames] == list(range(len(frames)))
    stamps = [frame.pts for frame in frames]
    assert stamps == sorted(set(stamps))  # type: ignore[type-var]
    counts = source.ledger.counts
    assert counts.losses >= 1  # one more where the second sender came to its end before the reader stopped
    assert counts.balanced
    assert counts.parsed == len(frames)


def test_a_sender_that_freezes_counts_as_lost() -> None:
    port = free_port()
    live = options(timeout=2.0, reconnect=0.0)
    with (
        sending("mpegts", f"tcp://127.0.0.1:{port}", rate=100) as sender,
        open_source(f"tcp://127.0.0.1:{port}?listen=1", live=live) as source,
    ):
        frames = []
        for frame in source:
            frames.append(frame)
            if len(frames) == 20:
                sender.send_signal(signal.SIGSTOP)
        sender.send_signal(signal.SIGCONT)
    assert "nothing came in time" in source.problems[0]
    assert numbers_of(frames) == list(range(len(frames)))
    counts = source.ledger.counts
    assert (counts.losses, counts.parsed, counts.balanced) == (1, len(frames), True)


def test_a_source_that_does_not_come_back_is_a_problem() -> None:
    port = free_port()
    live = options(reconnect=1.0, stream_options={"rtsp_flags": "listen", "listen_timeout": "1"})
    with (
        sending("rtsp", f"rtsp://127.0.0.1:{port}/a", rate=100, frames=20, options=["rtsp_transport=tcp"]),
        open_source(f"rtsp://127.0.0.1:{port}/a", live=live) as source,
    ):
        assert numbers_of(list(source)) == list(range(20))
    assert len(source.problems) == 1
    assert "was lost after 20 frames" in source.problems[0]
    assert "did not come back in 1 s" in source.problems[0]
    with pytest.raises(MediaError, match="was lost after 20 frames"):
        source.raise_problem()


def test_a_no_is_final_after_three() -> None:
    pages = {"/live": ("video/mp2t", encoded("mpegts", range(20)))}
    with served(pages) as (base, asked), open_source(f"{base}/live", live=options(reconnect=1000.0)) as source:
        pages.clear()
        assert numbers_of(list(source)) == list(range(20))
    assert asked == ["/live"] * 4
    assert "nothing has this name (404)" in source.problems[0]
    assert source.ledger.counts.losses == 1


def test_frames_in_front_of_the_first_key_frame_are_dropped(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole.ts", tmp_path / "cut.ts"
    whole.write_bytes(encoded("mpegts", range(40)))  # a key frame every ten
    copy_packets(whole, cut, start=4)
    pages = {"/live": ("video/mp2t", cut.read_bytes())}
    with served(pages) as (base, _), open_source(f"{base}/live", live=options(reconnect=0.0)) as source:
        assert numbers_of(list(source)) == list(range(10, 40))
    counts = source.ledger.counts
    assert (counts.received, counts.parsed, counts.dropped) == (36, 30, {"before a key frame": 6})
    assert counts.balanced
