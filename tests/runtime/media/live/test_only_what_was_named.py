"""A stream opens what was named: what points elsewhere is refused, and the other side is never asked."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import av
import pytest

from ce2p_runtime.errors import MediaError
from ce2p_runtime.media.live.kinds import LiveOptions
from ce2p_runtime.media.sources import Source, open_source
from tests.runtime.media.live.sender import encoded, number_of
from tests.runtime.media.live.servers import served

VIDEO = ("video/mp2t", encoded("mpegts", range(20)))
PLAYLIST = "application/vnd.apple.mpegurl"


def playlist(*segments: str, key: str = "") -> tuple[str, bytes]:
    lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:1", *([f'#EXT-X-KEY:METHOD=AES-128,URI="{key}"'] if key else [])]
    lines += [line for segment in segments for line in ("#EXTINF:0.8,", segment)]
    return PLAYLIST, "\n".join([*lines, "#EXT-X-ENDLIST", ""]).encode()


def opened(address: str | Path) -> Source:
    return open_source(address, live=LiveOptions(policy="every", reconnect=0.0, timeout=10.0))


def test_a_playlist_that_was_named_is_played_from_its_host() -> None:
    second = ("video/mp2t", encoded("mpegts", range(20, 40), range(20, 40)))
    pages = {"/a.m3u8": playlist("a0.ts", "a1.ts"), "/a0.ts": VIDEO, "/a1.ts": second}
    with served(pages) as (base, asked), opened(f"{base}/a.m3u8") as source:
        numbers = [number_of(frame.image) for frame in source]
    assert numbers == list(range(40))
    assert asked == ["/a.m3u8", "/a0.ts", "/a1.ts"]
    assert source.problems == []  # its list is closed: this is the end that was meant


def test_a_master_playlist_is_followed_on_its_host() -> None:
    master = (PLAYLIST, b"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1000\nb/low.m3u8\n")
    pages = {"/a.m3u8": master, "/b/low.m3u8": playlist("a0.ts"), "/b/a0.ts": VIDEO}
    with served(pages) as (base, asked), opened(f"{base}/a.m3u8") as source:
        assert len(list(source)) == 20
    assert asked == ["/a.m3u8", "/b/low.m3u8", "/b/a0.ts"]


def test_a_segment_that_is_missing_is_a_loss() -> None:
    # Longer than what FFmpeg looks at when it opens a stream.
    pages = {"/a.m3u8": playlist("a0.ts", "a1.ts"), "/a0.ts": ("video/mp2t", encoded("mpegts", range(400)))}
    with served(pages) as (base, _), opened(f"{base}/a.m3u8") as source:
        numbers = [number_of(frame.image) for frame in source]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) >= 390  # FFmpeg keeps the last frames back until it knows that they are whole
    assert source.ledger.counts.losses == 1
    assert "the server answers 404" in source.problems[0]


@pytest.mark.parametrize(
    "elsewhere",
    [
        lambda trap: playlist(f"{trap}/a0.ts"),
        lambda trap: playlist("a0.ts", key=f"{trap}/key"),
        lambda trap: (PLAYLIST, f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1000\n{trap}/low.m3u8\n".encode()),
        lambda trap: ("redirect", f"{trap}/a.m3u8".encode()),
        lambda trap: playlist("there.ts"),
    ],
    ids=["segment", "key", "master", "redirect", "redirected segment"],
)
def test_a_playlist_reaches_no_other_host(elsewhere: Callable[[str], tuple[str, bytes]]) -> None:
    with served({"/a0.ts": VIDEO, "/a.m3u8": playlist("a0.ts"), "/key": ("x", b"0" * 16)}) as (trap, trapped):
        pages = {"/a.m3u8": elsewhere(trap), "/a0.ts": VIDEO, "/there.ts": ("redirect", f"{trap}/a0.ts".encode())}
        with served(pages) as (base, asked), pytest.raises(MediaError, match=r"http://127\.0\.0\.1:\d+/a\.m3u8: "):
            opened(f"{base}/a.m3u8")
        assert asked[0] == "/a.m3u8"
        assert trapped == []


@pytest.mark.parametrize("segment", ["file:///etc/hostname", "/etc/hostname.ts", "concat:a.ts|b.ts"])
def test_a_playlist_reaches_no_file(segment: str) -> None:
    with served({"/a.m3u8": playlist(segment)}) as (base, asked), pytest.raises(MediaError, match=r"/a\.m3u8: "):
        opened(f"{base}/a.m3u8")
    assert set(asked) <= {"/a.m3u8", "/etc/hostname.ts"}  # a path means the same server


@pytest.mark.parametrize("kind", ["hls", "ffconcat", "sdp"])
def test_a_stream_that_is_a_playlist_is_refused(kind: str) -> None:
    with served({"/a0.ts": VIDEO}) as (trap, trapped):
        body = {
            "hls": playlist(f"{trap}/a0.ts")[1],
            "ffconcat": f"ffconcat version 1.0\nfile {trap}/a0.ts\n".encode(),
            "sdp": b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=a\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n"
            b"a=rtpmap:96 H264/90000\n",
        }[kind]
        with served({"/live": ("text/plain", body)}) as (base, asked), pytest.raises(MediaError, match="/live: "):
            opened(f"{base}/live")
        assert asked == ["/live"]
        assert trapped == []


def test_a_redirect_is_not_followed() -> None:
    with served({"/a.ts": VIDEO}) as (trap, trapped):
        pages = {"/live": ("redirect", f"{trap}/a.ts".encode())}
        with served(pages) as (base, asked), pytest.raises(MediaError, match="redirects are not followed"):
            opened(f"{base}/live")
        assert asked == ["/live"]
        assert trapped == []


@contextmanager
def rtsp_server(answer: str) -> Iterator[tuple[str, list[str]]]:
    """A server that gives this answer to DESCRIBE: its address, and the first words of what was asked."""
    asked: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    with connection:
                        while request := connection.recv(4096).decode():
                            asked.append(request.split()[0])
                            number = next(line for line in request.splitlines() if line.startswith("CSeq"))
                            reply = "200 OK\r\nPublic: DESCRIBE, SETUP, PLAY" if asked[-1] == "OPTIONS" else answer
                            connection.sendall(f"RTSP/1.0 {reply}\r\n{number}\r\n\r\n".encode())

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"rtsp://127.0.0.1:{server.getsockname()[1]}/a", asked
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def test_a_redirect_of_an_rtsp_server_is_refused() -> None:
    with rtsp_server("404 Not Found") as (trap, trapped):
        with rtsp_server(f"302 Moved\r\nLocation: {trap}") as (address, asked):
            with pytest.raises(MediaError, match="the server redirects to another address"):
                opened(address)
            assert asked == ["DESCRIBE"]
        assert trapped == []
        with pytest.raises(MediaError, match=r"nothing has this name \(404\)"):  # it answers who asks
            opened(trap)
        assert trapped == ["DESCRIBE", "OPTIONS", "DESCRIBE"]


@pytest.mark.parametrize("as_path", [True, False])
def test_files_never_reach_the_network(tmp_path: Path, as_path: bool) -> None:
    with served({"/a0.ts": VIDEO}) as (trap, trapped):
        for name, body in {
            "a.m3u8": playlist(f"{trap}/a0.ts")[1],
            "a.ts": playlist(f"{trap}/a0.ts")[1],
            "a.mp4": f"ffconcat version 1.0\nfile {trap}/a0.ts\n".encode(),
        }.items():
            file = tmp_path / name
            file.write_bytes(body)
            with pytest.raises(MediaError):
                opened(file if as_path else str(file))
        for name in (f"{trap}/a0.ts", f"concat:{trap}/a0.ts", f"subfile,,start,0,end,9,,:{trap}/a0.ts"):
            with pytest.raises(MediaError):
                open_source(name)  # without `live` an address is the name of a file that is not there
        assert trapped == []


def test_the_trap_catches_who_is_not_careful() -> None:
    with served({"/a0.ts": VIDEO, "/a.m3u8": playlist("a0.ts")}) as (trap, trapped):
        pages = {"/a.m3u8": playlist(f"{trap}/a0.ts")}
        with served(pages) as (base, _), av.open(f"{base}/a.m3u8", timeout=10) as container:
            next(container.decode(video=0))
        assert trapped == ["/a0.ts"]
