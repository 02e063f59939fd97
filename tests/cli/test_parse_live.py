"""`ce2p parse` on pipes and streams: the ledger is told in words and in JSON, whatever ends the run."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from ce2p_runtime.media.live.frame_ledger import FrameCounts
from ce2p_runtime.media.video import VideoReader
from tests.cli.command import Ending, Run, error_line
from tests.runtime.handmade import write_network
from tests.runtime.media.live.sender import SIZE, encoded, free_port, number_of, numbered, sending


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_network(tmp_path_factory.mktemp("network") / "net.onnx")


def parse(network: Path, folder: Path, source: str, *options: str, data: bytes = b"") -> Ending:
    """`ce2p parse SOURCE` in a process of its own, which reads `data` from a pipe."""
    command = [sys.executable, "-m", "ce2p", "parse", source, "-m", str(network), "--backend", "onnxruntime"]
    ended = subprocess.run(
        [*command, "--json", "out.json", *options],
        input=data,
        capture_output=True,
        cwd=folder,
        timeout=300,
        check=False,
    )
    return Ending(ended.returncode, ended.stdout.decode(), ended.stderr.decode())


def document(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "out.json").read_text())
    return found


def shown(path: Path) -> list[int]:
    with VideoReader(path) as reader:
        numbers = [number_of(frame.image) for frame in reader]
    assert reader.problem is None
    return numbers


def test_standard_input(network: Path, tmp_path: Path) -> None:
    ending = parse(network, tmp_path, "-", "--opacity", "0", data=encoded("matroska", range(30)))
    assert ending.status == 0, ending
    assert "30 frames = 30 parsed; latency p50" in ending.out
    assert "note: standard input: policy every" in ending.err
    found = document(tmp_path)
    assert found["source"] == "standard input"
    counts = FrameCounts(**found["ledger"])
    assert (counts.received, counts.parsed, counts.balanced) == (30, 30, True)
    assert found["results"] == [
        {"source": "stdin", "overlay": "parsed/stdin_overlay.mp4", "labels": "parsed/stdin_labels.mkv"}
    ]
    assert shown(tmp_path / "parsed/stdin_overlay.mp4") == list(range(30))


def test_bare_pixels_that_end_early(network: Path, tmp_path: Path) -> None:
    data = b"".join(numbered(number).tobytes() for number in range(4))[:-1]
    raw = f"bgr24:{SIZE[1]}x{SIZE[0]}@30"
    ending = parse(network, tmp_path, "-", "--raw", raw, "-o", "out.mp4", "--opacity", "0", data=data)
    assert "standard input: is cut short or damaged" in error_line(ending)
    assert "3 parsed and kept in out.mp4" in error_line(ending)
    assert "4 frames = 3 parsed + 1 failed (undecodable 1)" in ending.out
    assert shown(tmp_path / "out.mp4") == [0, 1, 2]


def test_the_ledger_of_a_file(network: Path, tmp_path: Path) -> None:
    (tmp_path / "film.mkv").write_bytes(encoded("matroska", range(10)))
    ending = parse(network, tmp_path, "film.mkv")
    assert ending.status == 0
    assert "\n10 frames = 10 parsed\n" in ending.out
    assert document(tmp_path)["ledger"]["latency_ms"] == {}


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT to another process there")
def test_an_interrupted_stream_is_finished_and_balanced(network: Path, tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, "-m", "ce2p", "parse", f"tcp://me:secret@127.0.0.1:{port}?listen=1", "-m", str(network)]
    command += ["--backend", "onnxruntime", "--json", "out.json", "--opacity", "0", "--live", "every"]
    with (
        subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process,
        sending("mpegts", f"tcp://127.0.0.1:{port}", rate=50),
    ):
        guard = threading.Timer(240, process.kill)
        guard.start()
        assert process.stderr is not None
        for line in process.stderr:  # said once the model is open and parsing begins
            if b"untrained" in line:
                break
        threading.Event().wait(1.0)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
        guard.cancel()
    assert process.returncode == 130, err
    assert b"Traceback" not in err
    found = document(tmp_path)
    counts = FrameCounts(**found["ledger"])
    assert found["interrupted"]
    assert counts.balanced
    assert counts.waiting == 0
    assert set(counts.dropped) <= {"stopped"}
    assert abs(counts.parsed - found["parsed"]) <= 1
    assert f"{counts.received} frames = {counts.parsed} parsed".encode() in out
    numbers = shown(next((tmp_path / "parsed").glob("*_overlay.mp4")))
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert abs(len(numbers) - counts.parsed) <= 1
    assert "secret" not in f"{out!r} {err!r} {found} {list(tmp_path.rglob('*'))}"


def test_a_stream_that_is_not_there(ce2p: Run, network: Path) -> None:
    ending = ce2p("parse", f"rtsp://me:secret@127.0.0.1:{free_port()}/a", "-m", network)
    assert "Connection refused" in error_line(ending)
    assert "secret" not in ending.out + ending.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["a.mp4", "--live", "latest"], "--live: only for a camera, a stream or standard input"),
        (["photos", "--raw", "bgr24:8x8@1"], "--raw: only for a camera"),
        (["-", "--reconnect", "3"], "--reconnect: only for a camera or a stream"),
        (["rtsp://me:secret@a/b", "--raw", "bgr24:8x8@1"], "--raw: only for bare pixels on standard input"),
        (["rtsp://me:secret@a/b", "--live", "newest"], "expected every, latest or max-age=SECONDS"),
        (["rtsp://me:secret@a/b", "--stream-option", "secret"], "--stream-option: expected NAME=VALUE"),
        (["rtsp://me:secret@a/b", "--stream-option", "cookie=secret"], "'cookie' is not an option of rtsp://"),
    ],
)
def test_options_that_have_no_effect(ce2p: Run, network: Path, arguments: list[str], said: str) -> None:
    ending = ce2p("parse", *arguments, "-m", network)
    assert said in error_line(ending)
    assert "secret" not in ending.err
