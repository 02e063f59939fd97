"""Network streams on the loopback address, from senders in processes of their own."""

from __future__ import annotations

import socket
from pathlib import Path

import av
import pytest

from ce2p_runtime.errors import CE2PError, ConfigError, MediaError
from ce2p_runtime.media.live.kinds import LiveOptions, is_live
from ce2p_runtime.media.live.stream import SCHEMES, NetworkStream
from ce2p_runtime.media.sources import SourceFrame, open_source
from tests.runtime.media.live.sender import encoded, free_port, number_of, sending
from tests.runtime.media.live.servers import served

HANG = 20.0
"""Seconds after which a test that waits for a sender has failed."""


def every(**more: object) -> LiveOptions:
    return LiveOptions(**{"policy": "every", "reconnect": 0.0, "timeout": HANG, **more})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("form", "to", "address", "options", "seconds"),
    [
        ("mpegts", "tcp://127.0.0.1:{}", "tcp://127.0.0.1:{}?listen=1", {}, HANG),
        ("mpegts", "udp://127.0.0.1:{}", "udp://127.0.0.1:{}", {}, 2.0),
        ("mpegts", "http://127.0.0.1:{}/a", "http://127.0.0.1:{}/a", {"listen": "1"}, HANG),
        ("flv", "rtmp://127.0.0.1:{}/a/b", "rtmp://127.0.0.1:{}/a/b", {"listen": "1"}, HANG),
        ("rtsp", "rtsp://127.0.0.1:{}/a", "rtsp://me:secret@127.0.0.1:{}/a", {"rtsp_flags": "listen"}, HANG),
    ],
    ids=["tcp", "udp", "http", "rtmp", "rtsp"],
)
def test_every_frame_of_a_stream_comes(
    form: str, to: str, address: str, options: dict[str, str], seconds: float
) -> None:
    port = free_port(socket.SOCK_DGRAM if "udp" in to else socket.SOCK_STREAM)
    if form == "rtsp":
        options = {**options, "listen_timeout": str(HANG)}
    transport = ["rtsp_transport=tcp"] if form == "rtsp" else []
    with (
        sending(form, to.format(port), frames=60, rate=100, options=transport),
        open_source(address.format(port), live=every(timeout=seconds, stream_options=options)) as source,
    ):
        numbers = [number_of(frame.image) for frame in source]
    assert numbers == list(range(numbers[0], 60))  # over UDP a sender may begin before we listen
    assert numbers[0] < 30 if "udp" in to else numbers[0] == 0
    counts = source.ledger.counts
    assert (counts.parsed, counts.losses, counts.balanced) == (len(numbers), 1, True)
    assert len(source.problems) == 1  # the end of a live stream is a loss
    assert f"was lost after {len(numbers)} frames" in source.problems[0]
    assert "secret" not in str((source.name, source.problems, source.notes, source.files))


def test_pictures_over_http_get_the_times_of_their_arrival() -> None:
    pages = {"/live": ("multipart/x-mixed-replace; boundary=ffmpeg", encoded("mpjpeg", range(20)))}
    with served(pages) as (base, _), open_source(f"{base}/live", live=every()) as source:
        frames = list(source)
    assert [number_of(frame.image) for frame in frames] == list(range(20))
    assert times_of(frames) == sorted(set(times_of(frames)))
    assert times_of(frames)[0] == 0


def test_a_recording_on_a_web_server_has_an_end() -> None:
    pages = {"/a.ts": ("video/mp2t", encoded("mpegts", range(40)))}
    with served(pages, lengths=True) as (base, _), open_source(f"{base}/a.ts", live=LiveOptions()) as source:
        assert [number_of(frame.image) for frame in source] == list(range(40))
    assert source.problems == []
    assert source.ledger.counts.losses == 0


def test_a_recording_that_is_cut_short_is_a_loss() -> None:
    whole = encoded("mpegts", range(40))
    pages = {"/a.ts": ("video/mp2t", whole[: len(whole) // 2])}
    with (
        served(pages, lengths=True, promised=len(whole)) as (base, _),
        open_source(f"{base}/a.ts", live=every()) as source,
    ):
        numbers = [number_of(frame.image) for frame in source]
    assert numbers == list(range(len(numbers)))
    assert 0 < len(numbers) < 40
    assert source.ledger.counts.losses == 1
    assert f"was lost after {len(numbers)} frames" in source.problems[0]


@pytest.mark.parametrize(
    ("address", "options", "said"),
    [
        ("rtsp://me:secret@127.0.0.1:{}/a", {}, r"rtsp://127\.0\.0\.1:\d+/a: cannot be opened \(Connection refused\)"),
        ("http://me:secret@127.0.0.1:{}/a?token=secret", {}, r"http://127\.0\.0\.1:\d+/a: .*Connection refused"),
        ("http://me:secret@127.0.0.1:{}/a.m3u8", {}, r"http://127\.0\.0\.1:\d+/a\.m3u8: .*refused"),
        ("rtmp://127.0.0.1:{}/a", {}, r"Connection refused"),
        ("rtsp://127.0.0.1:{}/a", {"rtsp_transportt": "tcp"}, r"'rtsp_transportt' is not an option of rtsp"),
        ("udp://127.0.0.1:{}", {"rtsp_transport": "tcp"}, r"'rtsp_transport' is not an option of udp://"),
        ("udp://127.0.0.1:{}?fifosize=3", {}, r"'fifosize' is not an option of udp://, expected .*fifo_size"),
        ("srt://me:secret@127.0.0.1:{}", {}, r"no SRT; use a pipe: ffmpeg -i .* \| ce2p parse -"),
        ("ftp://me:secret@127.0.0.1:{}/a.mp4", {}, r"scheme 'ftp', expected one of rtsp, "),
        ("file:///etc/passwd?{}", {}, r"name it without file://"),
    ],
)
def test_what_cannot_be_opened_gets_one_line_without_passwords(
    address: str, options: dict[str, str], said: str
) -> None:
    with pytest.raises(CE2PError, match=said) as raised:
        open_source(address.format(free_port()), live=every(stream_options=options))
    assert "secret" not in str(raised.getrepr(style="long", chain=True).reprcrash)
    assert raised.value.__cause__ is None
    assert "\n" not in str(raised.value)


def test_nothing_comes_in_time() -> None:
    port = free_port(socket.SOCK_DGRAM)
    with pytest.raises(MediaError, match=r"udp://127\.0\.0\.1:\d+: no answer in time"):
        open_source(f"udp://127.0.0.1:{port}", live=every(timeout=0.5))


def test_a_camera_that_is_not_there() -> None:
    with pytest.raises((MediaError, ConfigError), match=r"camera 987"):
        open_source("987", live=every())


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_scheme_knows_its_options(scheme: str) -> None:
    for option in (*SCHEMES[scheme].known, "no_such"):
        options = LiveOptions(stream_options={option: "1"})
        if option == "no_such":
            with pytest.raises(ConfigError, match="is not an option of"):
                NetworkStream(f"{scheme}://h/p", options)
        else:
            assert NetworkStream(f"{scheme}://u:p@h:5/p", options).name == f"{scheme}://h:5/p"


def test_every_protocol_and_format_is_one_of_ffmpeg() -> None:
    """FFmpeg takes lists with misspelt names without a word."""
    for scheme in SCHEMES.values():
        unknown = [name for name in scheme.formats.split(",") if name not in known_formats()]
        assert unknown == []


def known_formats() -> set[str]:
    return {part for name in av.formats_available for part in name.split(",")} | {"live_flv", "mpjpeg"}


@pytest.mark.parametrize("name", ["-", "rtsp://a/b", "HTTP://a", "0", "12", "/dev/video0", "srt://x"])
def test_names_of_live_sources(name: str) -> None:
    assert is_live(name)
    assert not is_live(Path(name))


def test_a_file_is_no_camera(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("0").write_bytes(b"")
    assert not is_live("0")
    assert not is_live("walk.mp4")
    assert not is_live("C:\\a.mp4")


@pytest.mark.parametrize(
    "values", [{"timeout": 0.0}, {"timeout": float("nan")}, {"reconnect": -1.0}, {"policy": "all"}]
)
def test_options_that_mean_nothing(values: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=r"expected"):
        LiveOptions(**values)  # type: ignore[arg-type]


def times_of(frames: list[SourceFrame]) -> list[float]:
    return [float(frame.pts * frame.time_base) for frame in frames]  # type: ignore[operator]
