"""The sink of videos: same files as writing frame by frame, all of them or none, also after interrupts and faults."""

from __future__ import annotations

import os
import resource
import signal
import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from ce2p_runtime.errors import MediaError
from ce2p_runtime.media.sources import Source, SourceFrame, open_source
from ce2p_runtime.media.video import VideoReader, VideoWriter
from ce2p_runtime.media.video_sink import VideoSink
from ce2p_runtime.process.interrupts import Terminated
from ce2p_runtime.result import ParsingResult
from tests.runtime.media.clips import make_clip

av = pytest.importorskip("av")

NAMES = ("Background", "Hat", "Coat")
PALETTE = ((0, 0, 0), (128, 0, 0), (0, 128, 0))
RATE = Fraction(25)
FRAMES = 12


def images(count: int, height: int = 48, width: int = 64) -> Iterator[NDArray[np.uint8]]:
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2)
    for index in range(count):
        yield np.roll(smooth, 3 * index, axis=1)


def parsed(index: int, image: NDArray[np.uint8]) -> tuple[SourceFrame, ParsingResult]:
    """A frame with labels that follow its number."""
    labels = np.zeros(image.shape[:2], np.uint8)
    labels[:, index % 40 : index % 40 + 10] = 1 + index % 2
    frame = SourceFrame(image, Path("film.mp4"), index, index, 1 / RATE)
    return frame, ParsingResult(labels, NAMES, PALETTE)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    with VideoWriter(path, RATE, (48, 64)) as writer:
        for index, image in enumerate(images(FRAMES)):
            writer.write(image, index, 1 / RATE)
    return path


@pytest.fixture
def source(film: Path) -> Iterator[Source]:
    with open_source(film) as opened:
        yield opened


def targets(folder: Path) -> dict[str, Path]:
    return {"overlay": folder / "film_overlay.mp4", "labels": folder / "film_labels.mkv"}


def read(path: Path, labels: bool = False) -> list[NDArray[np.uint8]]:
    with VideoReader(path, labels=labels) as reader:
        frames = [frame.image for frame in reader]
        assert reader.problem is None
    return frames


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name in ("ce2p-worker", "ce2p-finish")]


def write(sink: VideoSink, count: int, height: int = 48, width: int = 64, start: int = 0) -> None:
    for index, image in enumerate(images(count, height, width), start):
        sink.write(*parsed(index, image))


@pytest.mark.parametrize("save", [("overlay",), ("labels",), ("overlay", "labels")], ids="+".join)
def test_files_are_those_of_the_writers_alone(save: tuple[str, ...], source: Source, tmp_path: Path) -> None:
    wanted = {kind: path for kind, path in targets(tmp_path).items() if kind in save}
    with VideoSink(wanted, source, 0.5) as sink:
        write(sink, FRAMES)
    assert files(tmp_path) == sorted(path.name for path in wanted.values())
    assert threads() == []
    if "labels" in save:
        for index, labels in enumerate(read(wanted["labels"], labels=True)):
            assert np.array_equal(labels, parsed(index, np.zeros((48, 64, 3), np.uint8))[1].labels)
    if "overlay" in save:
        with VideoWriter(tmp_path / "alone.mp4", source.video.frame_rate, (48, 64)) as writer:  # type: ignore[union-attr]
            for index, image in enumerate(images(FRAMES)):
                frame, result = parsed(index, image)
                writer.write(result.overlay(frame.image, 0.5), index, 1 / RATE)
        assert np.array_equal(read(wanted["overlay"]), read(tmp_path / "alone.mp4"))


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt(), Terminated(143)], ids=repr)
def test_after_an_interrupt_the_files_hold_the_frames_so_far(
    interrupt: BaseException, source: Source, tmp_path: Path
) -> None:
    def run() -> None:
        with VideoSink(targets(tmp_path), source, 0.5) as sink:
            write(sink, 7)
            raise interrupt

    with pytest.raises(type(interrupt)):
        run()
    assert files(tmp_path) == ["film_labels.mkv", "film_overlay.mp4"]
    assert len(read(tmp_path / "film_labels.mkv", labels=True)) == len(read(tmp_path / "film_overlay.mp4")) == 7
    assert threads() == []


class Interrupting(ParsingResult):
    """A result that the process is interrupted at while its overlay is drawn, once the sink is being left."""

    sink: VideoSink

    def overlay(self, *arguments: object, **options: object) -> NDArray[np.uint8]:
        wait_until(lambda: any(thread.name == "ce2p-finish" for thread in threading.enumerate()))
        os.kill(os.getpid(), signal.SIGINT)
        wait_until(lambda: self.sink._given_up)
        return super().overlay(*arguments, **options)  # type: ignore[arg-type]


def wait_until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def test_a_second_interrupt_keeps_nothing_and_says_so(source: Source, tmp_path: Path) -> None:
    def run() -> None:
        with VideoSink(targets(tmp_path), source, 0.5) as sink:
            Interrupting.sink = sink
            write(sink, 3)
            frame, result = parsed(3, next(images(1)))
            sink.write(frame, Interrupting(result.labels, NAMES, PALETTE))
            while not list(tmp_path.glob(".*")):  # the label file is begun
                threading.Event().wait(0.01)
            raise KeyboardInterrupt

    with pytest.raises(MediaError, match=r"film_labels.mkv and .*film_overlay.mp4: interrupted a second time"):
        run()
    assert files(tmp_path) == []
    assert threads() == []


def test_an_interrupt_before_the_first_frame_leaves_nothing(source: Source, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), VideoSink(targets(tmp_path), source, 0.5):
        raise KeyboardInterrupt
    assert files(tmp_path) == []


def test_an_error_leaves_nothing_and_what_was_there(source: Source, tmp_path: Path) -> None:
    old = targets(tmp_path)["labels"]
    old.write_text("what was there before")

    def run() -> None:
        with VideoSink(targets(tmp_path), source, 0.5) as sink:
            write(sink, 7)
            raise LookupError

    with pytest.raises(LookupError):
        run()
    assert files(tmp_path) == [old.name]
    assert old.read_text() == "what was there before"
    assert threads() == []


def test_nothing_written_is_an_error_and_leaves_nothing(source: Source, tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="no frame was written"), VideoSink(targets(tmp_path), source, 0.5):
        pass
    assert files(tmp_path) == []


@pytest.mark.parametrize("broken", ["overlay", "labels"])
def test_when_one_file_cannot_be_written_the_other_does_not_appear(
    broken: str, source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = targets(tmp_path)
    wanted[broken] = tmp_path / "gone" / wanted[broken].name

    def run() -> None:
        with VideoSink(wanted, source, 0.5) as sink:
            wanted[broken].parent.rmdir()  # the folder vanishes behind the sink's back
            write(sink, FRAMES)

    with pytest.raises(MediaError, match=wanted[broken].name):
        run()
    assert files(tmp_path) == []
    assert threads() == []


def test_an_error_at_the_very_end_leaves_no_file_either(source: Source, tmp_path: Path) -> None:
    """The encoder hands the pictures out at the end, and they do not fit: the label file is complete by then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)

    def run() -> None:
        with VideoSink(targets(tmp_path), source, 0.0) as sink:
            for index in range(FRAMES):
                sink.write(*parsed(index, np.roll(noise, 5 * index, axis=0)))
            resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))

    try:
        with pytest.raises(MediaError, match=r"overlay.*File too large"):
            run()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert files(tmp_path) == []


@pytest.mark.parametrize(("broken", "left"), [("overlay", ["film_labels.mkv"]), ("labels", [])])
def test_a_name_that_is_taken_meanwhile_is_said_with_what_is_complete(
    broken: str, left: list[str], source: Source, tmp_path: Path
) -> None:
    def run() -> None:
        with VideoSink(targets(tmp_path), source, 0.5) as sink:
            write(sink, FRAMES)
            targets(tmp_path)[broken].mkdir()

    with pytest.raises(MediaError, match=".*".join(["cannot be replaced", *(f"{name} is complete" for name in left)])):
        run()
    assert files(tmp_path) == left


def test_an_error_of_a_writer_ends_the_run_soon(source: Source, tmp_path: Path) -> None:
    """Not only at the end: at most what fits into the queues is handed over in vain."""
    handed = 0

    def run() -> None:
        nonlocal handed
        with VideoSink(targets(tmp_path), source, 0.5) as sink:
            for index, image in enumerate(images(1000)):
                frame, result = parsed(index, image)
                if index == 5:
                    result = ParsingResult(result.labels[:-1], NAMES, PALETTE)  # does not fit the frame
                sink.write(frame, result)
                handed += 1

    with pytest.raises(ValueError, match="pass the frame that was parsed"):
        run()
    assert handed < 5 + 2 * (4 + 2)
    assert files(tmp_path) == []


def test_a_change_of_size_goes_on_in_a_further_file(source: Source, tmp_path: Path) -> None:
    sizes = [(48, 64), (24, 80), (48, 64)]
    with VideoSink(targets(tmp_path), source, 0.5) as sink:
        for number, (height, width) in enumerate(sizes):
            write(sink, 4, height, width, start=4 * number)
    assert files(tmp_path) == ["film_labels.2.mkv", "film_labels.3.mkv", "film_labels.mkv", "film_overlay.mp4"]
    for number, (size, name) in enumerate(zip(sizes, ("", ".2", ".3"), strict=True)):
        maps = read(tmp_path / f"film_labels{name}.mkv", labels=True)
        for index, labels in enumerate(maps, 4 * number):
            assert np.array_equal(labels, parsed(index, np.zeros((*size, 3), np.uint8))[1].labels)
        assert len(maps) == 4
    overlay = read(tmp_path / "film_overlay.mp4")
    assert [image.shape for image in overlay] == [(48, 64, 3)] * 12
    assert overlay[5][:10].max() < 40  # black above and below the flat pictures
    assert overlay[5][20:28].mean() > 60
    first, second = sink.remarks
    assert "from frame 4 on the pictures are 80x24" in first
    assert "film_labels.2.mkv" in first
    assert "film_labels.3.mkv" in second


def test_a_source_that_changes_its_size_is_written_to_its_end(tmp_path: Path) -> None:
    """From the file to the files: a transport stream of two recordings of different sizes."""
    parts = [
        make_clip(
            tmp_path / f"{number}.ts",
            images=images(12, *size),
            stamps=range(start, start + 43200, 3600),
            time_base=Fraction(1, 90000),
        )
        for number, (size, start) in enumerate([((48, 64), 0), ((80, 48), 43200)])
    ]
    joined = tmp_path / "joined.ts"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    out = tmp_path / "out"
    with open_source(joined) as source, VideoSink(targets(out), source, 0.5) as sink:
        for frame in source:
            sink.write(frame, parsed(frame.index, frame.image)[1])
        assert source.delivered == 24
    assert [image.shape for image in read(out / "film_labels.mkv", labels=True)] == [(48, 64)] * 12
    assert [image.shape for image in read(out / "film_labels.2.mkv", labels=True)] == [(80, 48)] * 12
    assert len(read(out / "film_overlay.mp4")) == 24


def test_times_go_on_behind_a_change_of_size(source: Source, tmp_path: Path) -> None:
    with VideoSink(targets(tmp_path), source, 0.5) as sink:
        write(sink, 4)
        write(sink, 4, 24, 80, start=4)
    with VideoReader(tmp_path / "film_labels.2.mkv", labels=True) as reader:
        assert [round(frame.time * 25) for frame in reader] == [4, 5, 6, 7]


@pytest.mark.parametrize("replace", [True, False])
def test_further_files_replace_others_only_where_they_may(replace: bool, source: Source, tmp_path: Path) -> None:
    (tmp_path / "film_labels.2.mkv").write_text("somebody's")
    with VideoSink(targets(tmp_path), source, 0.5, replace=replace) as sink:
        write(sink, 4)
        write(sink, 4, 24, 80, start=4)
    further = "film_labels.2.mkv" if replace else "film_labels.3.mkv"
    assert further in sink.remarks[0]
    assert len(read(tmp_path / further, labels=True)) == 4
    assert replace or (tmp_path / "film_labels.2.mkv").read_text() == "somebody's"


def test_a_further_file_never_replaces_the_source(film: Path, tmp_path: Path) -> None:
    copy = tmp_path / "film.2.mkv"
    copy.write_bytes(film.read_bytes())
    with open_source(copy) as source, VideoSink({"labels": tmp_path / "film.mkv"}, source, 0.5, replace=True) as sink:
        write(sink, 4)
        write(sink, 4, 24, 80, start=4)
    assert copy.read_bytes() == film.read_bytes()
    assert files(tmp_path) == ["film.2.mkv", "film.3.mkv", "film.mkv"]


def test_many_frames_do_not_fill_the_memory(tmp_path: Path) -> None:
    """2000 frames of 0.2 MB, of which a handful may be alive: the peak does not follow their number."""
    image = next(images(1, 216, 320))
    with VideoWriter(tmp_path / "film.mp4", RATE, image.shape[:2]) as writer:
        writer.write(image, 0, 1 / RATE)

    def peak_after(frames: range, sink: VideoSink) -> int:
        for index in frames:
            sink.write(*parsed(index, image.copy()))
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    with open_source(tmp_path / "film.mp4") as source, VideoSink(targets(tmp_path), source, 0.5) as sink:
        begun = peak_after(range(300), sink)
        assert peak_after(range(300, 2000), sink) - begun < 40 * 1024  # kB; all frames together are 400 MB
    assert len(read(tmp_path / "film_labels.mkv", labels=True)) == 2000


def test_frames_without_a_time_are_refused(source: Source, tmp_path: Path) -> None:
    frame, result = parsed(0, np.zeros((48, 64, 3), np.uint8))
    still = SourceFrame(frame.image, frame.path, 0)
    with pytest.raises(ValueError, match="without a time"), VideoSink(targets(tmp_path), source, 0.5) as sink:
        sink.write(still, result)
    assert files(tmp_path) == []
