"""Writing videos: times, sound, colours and labels come back equal, nothing half stays."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from ce2p_runtime.errors import MediaError
from ce2p_runtime.media.video import LabelVideoWriter, VideoReader, VideoWriter
from tests.runtime.media.clips import read
from tests.runtime.media.film import AXIS, FRAMES, UNEVEN, audio_of, film_images, make_film, times_of

av = pytest.importorskip("av")


@pytest.mark.parametrize(
    ("source", "target", "slack"),
    [
        (".mp4", ".mp4", 0),
        (".mp4", ".mov", 0),
        (".mkv", ".mkv", 0),
        (".mkv", ".mp4", 0),
        (".mkv", ".webm", 0),
        (".mp4", ".mkv", 1),
    ],
)
def test_times_and_audio_survive(source: str, target: str, slack: int, tmp_path: Path) -> None:
    axis, stamps = (
        (AXIS, UNEVEN) if source == ".mp4" else (Fraction(1, 1000), [333 + 20 * i + 7 * (i % 3) for i in range(FRAMES)])
    )
    path = make_film(
        tmp_path / f"in{source}", pts=stamps, time_base=axis, audio="libopus" if target == ".webm" else "aac"
    )
    out = tmp_path / "new" / f"out{target}"
    with VideoReader(path) as reader, VideoWriter(out, reader.frame_rate, reader.size, reader.path) as writer:
        for frame in reader:
            writer.write(frame.image, frame.pts, frame.time_base)
    expected = [stamp * axis for stamp in stamps]
    half_tick = Fraction(slack, 2000)  # Matroska keeps milliseconds
    assert all(abs(a - b) <= half_tick for a, b in zip(times_of(out), expected, strict=True))
    assert (writer.frames, writer.moved, writer.audio_note) == (FRAMES, 0, None)
    before, after = audio_of(path), audio_of(out)
    assert writer.audio_packets == len(before) > 50
    assert [data for data, _ in before] == [data for data, _ in after]
    # An AAC packet lasts 1024/48000 s, so milliseconds cannot hold its times exactly.
    assert all(abs(a[1] - b[1]) <= half_tick for a, b in zip(before, after, strict=True))
    assert [entry.name for entry in out.parent.iterdir()] == [out.name]
    assert read(out)[1].problem is None


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_colours_survive(suffix: str, tmp_path: Path) -> None:
    bars = np.zeros((64, 128, 3), np.uint8)
    colours = [(30, 60, 220), (200, 40, 30), (40, 180, 60), (250, 250, 250)]
    for index, colour in enumerate(colours):
        bars[:, 32 * index : 32 * index + 32] = colour
    with VideoWriter(tmp_path / f"a{suffix}", 25, (64, 128)) as writer:
        for index in range(3):
            writer.write(bars, index, Fraction(1, 25))
    with av.open(str(tmp_path / f"a{suffix}")) as container:
        assert next(container.decode(video=0)).colorspace == 1  # BT.709, said in the file
    shown = read(tmp_path / f"a{suffix}")[0][1].image
    for index, colour in enumerate(colours):
        assert np.abs(shown[32, 32 * index + 16].astype(int) - colour).max() <= 8


def test_odd_sizes_are_padded_with_the_edge(tmp_path: Path) -> None:
    image = np.full((31, 45, 3), 100, np.uint8)
    image[-1], image[:, -1] = 220, 220
    with VideoWriter(tmp_path / "a.mp4", 25, (31, 45)) as writer:
        writer.write(image, 0, Fraction(1, 25))
    (frame,), reader = read(tmp_path / "a.mp4")
    assert reader.size == (32, 46)
    assert np.abs(frame.image[:31, :45].astype(int) - image).mean() < 6
    assert np.abs(frame.image[-1].astype(int) - 220).max() < 30


def test_audio_that_does_not_fit_is_left_out_and_told(tmp_path: Path) -> None:
    path = make_film(tmp_path / "in.mp4", pts=range(3), audio="aac")
    with VideoReader(path) as reader, VideoWriter(tmp_path / "out.webm", 25, reader.size, path) as writer:
        for frame in reader:
            writer.write(frame.image, frame.pts, frame.time_base)
    assert "aac" in str(writer.audio_note)
    assert writer.audio_packets == 0
    assert len(times_of(tmp_path / "out.webm")) == 3


def test_times_that_do_not_grow_are_moved_and_counted(tmp_path: Path) -> None:
    image = np.zeros((32, 32, 3), np.uint8)
    with VideoWriter(tmp_path / "a.mp4", 25, (32, 32)) as writer:
        for pts in (0, 10, 10, 5, 40):
            writer.write(image, pts, Fraction(1, 1000))
    assert writer.moved == 2
    assert times_of(tmp_path / "a.mp4") == [Fraction(pts, 1000) for pts in (0, 10, 11, 12, 40)]


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_a_frame_before_the_beginning_is_not_hidden(suffix: str, tmp_path: Path) -> None:
    with VideoWriter(tmp_path / f"a{suffix}", 25, (32, 32)) as writer:
        for pts in (-40, 0, 40):
            writer.write(np.full((32, 32, 3), pts + 40, np.uint8), pts, Fraction(1, 1000))
    frames, reader = read(tmp_path / f"a{suffix}")
    assert [round(frame.image.mean() / 40) for frame in frames] == [0, 1, 2]
    assert reader.problem is None
    assert writer.moved == (0 if suffix == ".mkv" else 2)


def test_a_change_of_time_base_is_followed(tmp_path: Path) -> None:
    image = np.zeros((32, 32, 3), np.uint8)
    with VideoWriter(tmp_path / "a.mp4", 25, (32, 32)) as writer:
        writer.write(image, 0, Fraction(1, 1000))
        writer.write(image, 3600, Fraction(1, 90000))
    assert times_of(tmp_path / "a.mp4") == [0, Fraction(40, 1000)]


@pytest.mark.parametrize("frames", [0, 1, 40])
@pytest.mark.parametrize("kind", [KeyboardInterrupt, ValueError])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_an_interrupted_writer_leaves_nothing(
    suffix: str, kind: type[BaseException], frames: int, tmp_path: Path
) -> None:
    source = make_film(tmp_path / "in.mp4", pts=range(3), audio="aac")
    old = tmp_path / "out" / f"a{suffix}"
    old.parent.mkdir()
    old.write_text("what was there before")

    def write() -> None:
        with VideoWriter(old, 25, (120, 160), source) as writer:
            for index, image in enumerate(film_images(frames)):
                writer.write(image, index, Fraction(1, 25))
            raise kind

    with pytest.raises(kind):
        write()
    assert list(old.parent.iterdir()) == [old]
    assert old.read_text() == "what was there before"


def test_writing_nothing_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="no frame was written"), VideoWriter(tmp_path / "a.mp4", 25, (32, 32)):
        pass
    assert list(tmp_path.iterdir()) == []


def test_frames_of_another_size_are_refused(tmp_path: Path) -> None:
    def write(*heights: int) -> None:
        with VideoWriter(tmp_path / "a.mp4", 25, (32, 32)) as writer:
            for index, height in enumerate(heights):
                writer.write(np.zeros((height, 32, 3), np.uint8), index, Fraction(1, 25))

    with pytest.raises(MediaError, match="frame 1 is 32x34, expected 32x32"):
        write(32, 34)
    assert list(tmp_path.iterdir()) == []


def test_wrong_targets_are_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"'\.gif'.*\.mp4"):
        VideoWriter(tmp_path / "a.gif", 25, (32, 32))
    with pytest.raises(MediaError, match=r"\.mkv"):
        LabelVideoWriter(tmp_path / "a.mp4", 25, (32, 32))
    with pytest.raises(ValueError, match="positive"):
        VideoWriter(tmp_path / "a.mp4", 0, (32, 32))


@pytest.mark.parametrize("size", [(77, 101), (64, 64), (1, 3)])
def test_label_videos_are_exact(size: tuple[int, int], tmp_path: Path) -> None:
    chance = np.random.default_rng(0)
    maps = [chance.integers(0, 256, size, dtype=np.uint8) for _ in range(20)]
    path = tmp_path / "labels.mkv"
    with LabelVideoWriter(path, Fraction(30000, 1001), size) as writer:
        for index, labels in enumerate(maps):
            writer.write(labels, 1001 * index, Fraction(1, 30000))
    frames, reader = read(path, labels=True)
    assert reader.problem is None
    assert reader.size == size
    for index, (frame, labels) in enumerate(zip(frames, maps, strict=True)):
        assert np.array_equal(frame.image, labels)
        assert abs(frame.pts * frame.time_base - Fraction(1001 * index, 30000)) <= Fraction(1, 2000)
