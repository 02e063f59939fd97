"""Commands stopped at random moments: no half file under a final name, what is there is whole, nothing else stays.

The time that a command takes when it is left alone is cut into as many parts as there are moments, and one is drawn in
each: no part of a run goes without a signal. SIGINT and SIGTERM let a command clean up and tell by its status; SIGKILL
cannot, so its temporary files may stay, under names that say whose they are.
"""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import cache
from pathlib import Path

import cv2
import onnx
import pytest

from ce2p.synthetic import iter_samples, walking_sequence
from ce2p_runtime.base.cache import CACHE_VARIABLE
from ce2p_runtime.media.video import VideoReader, VideoWriter

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGKILL]
FILM_FRAMES, FILM_SIZE = 60, (240, 320)
PICTURES = 24
STATUS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -signal.SIGKILL}


@pytest.fixture(scope="session")
def kill_moments(request: pytest.FixtureRequest) -> int:
    """Moments per command and signal."""
    return int(request.config.getoption("--kill-moments"))


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "walk.mp4"
    with VideoWriter(path, 25, FILM_SIZE) as writer:
        for index, (frame, _) in enumerate(walking_sequence(0, FILM_FRAMES, FILM_SIZE)):
            writer.write(frame, index, Fraction(1, 25))
    return path


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("album")
    for index, (image, _) in enumerate(iter_samples(1, PICTURES, (240, 200))):
        cv2.imwrite(str(folder / f"{index:02d}.png"), image)
    return folder


def start(arguments: list[str], folder: Path) -> subprocess.Popen[str]:
    """The command in a process of its own, as a shell would start it, with one thread for the libraries."""
    temporary = folder / "tmp"
    temporary.mkdir(parents=True)
    environment = {
        **os.environ,
        CACHE_VARIABLE: str(folder / "cache"),
        "TMPDIR": str(temporary),
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.Popen(
        [sys.executable, "-m", "ce2p", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        cwd=folder,
        # Where these tests run in the background of a script, SIGINT is ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def moments(number: signal.Signals, count: int, whole: float, seed: str) -> Iterator[float]:
    """Seconds after the start, one in each of `count` parts of the run; the parts of the three signals alternate."""
    chance = random.Random(seed)  # noqa: S311
    parts = count * len(SIGNALS)
    for index in range(count):
        begin = (index * len(SIGNALS) + SIGNALS.index(number)) / parts
        # At the very start the interpreter has not yet got to us.
        yield whole * (0.15 + 0.85 * (begin + chance.random() / parts))


def video_is_whole(path: Path) -> int:
    """Frames of a video that decodes to its end without a complaint."""
    with VideoReader(path, labels=path.suffix == ".mkv") as reader:
        count = sum(1 for _ in reader)
        assert reader.problem is None, reader.problem
    return count


def finished(out: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """Files that have their final names; temporary ones are hidden."""
    return sorted(path for path in out.glob("*") if path.suffix in suffixes and not path.name.startswith("."))


def check_video(out: Path) -> None:
    frames = {path.name: video_is_whole(path) for path in finished(out, (".mp4", ".mkv"))}
    assert len(set(frames.values())) <= 1, frames  # overlay and labels hold the same frames


def check_pictures(out: Path) -> None:
    for path in finished(out, (".png", ".jpg")):
        assert cv2.imread(str(path)) is not None, path
        end = b"IEND\xaeB`\x82" if path.suffix == ".png" else b"\xff\xd9"
        assert path.read_bytes().endswith(end), path


def check_model(out: Path) -> None:
    for path in finished(out, (".onnx",)):
        onnx.checker.check_model(str(path), full_check=True)


Command = tuple[Callable[[Path], list[str]], Callable[[Path], None]]


@pytest.fixture(scope="module")
def commands(film: Path, album: Path, tiny_model: Path) -> dict[str, Command]:
    """By name: the arguments, given the folder for the results, and what must hold for the results."""
    parse = ["-m", str(tiny_model), "--backend", "onnxruntime", "--threads", "1", "-o"]
    network = ["lip-r18-os16", "--family", "schp", "--random", "--imgsz", "65", "--backend", "onnxruntime"]
    return {
        "video": (lambda out: ["parse", str(film), *parse, str(out)], check_video),
        "pictures": (lambda out: ["parse", str(album), *parse, str(out)], check_pictures),
        "export": (lambda out: ["export", *network, "-o", str(out / "net.onnx")], check_model),
    }


@pytest.fixture(scope="module")
def duration(commands: dict[str, Command], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], float]:
    """Seconds that a command takes when nobody stops it, by its name."""

    @cache
    def measure(name: str) -> float:
        arguments, check = commands[name]
        folder = tmp_path_factory.mktemp("whole")
        begun = time.monotonic()
        process = start(arguments(folder / "out"), folder)
        said, _ = process.communicate(timeout=300)
        seconds = time.monotonic() - begun
        assert process.returncode == 0, said
        check(folder / "out")
        return seconds

    return measure


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
@pytest.mark.parametrize("name", ["video", "pictures", "export"])
def test_a_command_stopped_at_any_moment_leaves_whole_files_only(
    name: str,
    number: signal.Signals,
    commands: dict[str, Command],
    duration: Callable[[str], float],
    kill_moments: int,
    fuzz_seed: int,
    tmp_path: Path,
) -> None:
    arguments, check = commands[name]
    endings: Counter[str] = Counter()
    for index, moment in enumerate(moments(number, kill_moments, duration(name), f"{fuzz_seed} {name} {number}")):
        folder = tmp_path / str(index)
        out = folder / "out"
        process = start(arguments(out), folder)
        try:
            said, _ = process.communicate(timeout=moment)
        except subprocess.TimeoutExpired:
            process.send_signal(number)
            said, _ = process.communicate(timeout=300)
        where = f"{name}, {number.name} after {moment:.3f} s: status {process.returncode}\n{said}"
        # -number: before Python could listen, or, of a process that was through, while it was going.
        assert process.returncode in (0, STATUS[number], -number), where
        assert "Traceback" not in said, where
        assert "error: " not in said, where
        check(out)
        hidden = [path.name for path in (*folder.rglob(".*"), *(folder / "tmp").rglob("*"))]
        if number != signal.SIGKILL:
            assert hidden == [], where
        else:
            assert all(is_temporary(file) for file in hidden if file.startswith(".")), hidden
        endings[f"status {process.returncode}, {len(list(out.glob('[!.]*')))} files"] += 1
    print(f"{name}, {number.name}: {dict(endings)}")  # noqa: T201  (for those who run it with -s)


def is_temporary(name: str) -> bool:
    """Whether a later run can tell whose file this was (`ce2p_runtime.base.leftovers`)."""
    return re.fullmatch(r"\..*\.[0-9a-f]+-[0-9a-f]+-[0-9a-f]{8}-[0-9a-f]{8}(\.[^.]*)?", name) is not None


def test_what_a_killed_run_left_is_removed_by_the_next(commands: dict[str, Command], tmp_path: Path) -> None:
    arguments, check = commands["video"]
    out = tmp_path / "out"
    process = start(arguments(out), tmp_path)
    while not list(out.glob(".*")) and process.poll() is None:
        time.sleep(0.002)
    process.kill()
    process.communicate(timeout=300)
    assert list(out.glob(".*")), "the run was through before it could be killed"
    (tmp_path / "tmp").rmdir()
    second = start(arguments(out), tmp_path)
    said, _ = second.communicate(timeout=300)
    assert second.returncode == 0, said
    assert sorted(path.name for path in out.iterdir()) == ["walk_labels.mkv", "walk_overlay.mp4"]
    check(out)
