"""Reading videos: every frame with its own time, upright; damage is told, what is no video is named."""

from __future__ import annotations

import gc
import sys
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from ce2p_runtime.errors import MediaError
from ce2p_runtime.media.ffv1 import slices_intact
from ce2p_runtime.media.video import LabelVideoWriter, VideoReader
from ce2p_runtime.process.threads import prefetch
from tests.runtime.media.clips import read
from tests.runtime.media.film import AXIS, FRAMES, UNEVEN, film_images, make_film, times_of

av = pytest.importorskip("av")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One clip of 60 frames per container, with its index at the start where the container has a choice."""
    folder = tmp_path_factory.mktemp("whole")
    return {
        ".mp4": make_film(folder / "a.mp4", movflags="faststart"),
        ".mkv": make_film(folder / "a.mkv", time_base=Fraction(1, 1000), pts=[40 * index for index in range(FRAMES)]),
        ".webm": make_film(folder / "a.webm", "libvpx", time_base=Fraction(1, 1000), pts=range(0, 40 * FRAMES, 40)),
        ".avi": make_film(folder / "a.avi", "mpeg4"),
        ".ts": make_film(folder / "a.ts", time_base=Fraction(1, 90000), pts=range(0, 3600 * FRAMES, 3600)),
    }


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm", ".avi", ".ts"])
def test_whole_files_give_every_frame_and_no_problem(whole: dict[str, Path], suffix: str) -> None:
    frames, reader = read(whole[suffix])
    assert reader.problem is None
    assert (reader.counts.decoded, reader.counts.damaged, reader.counts.skipped) == (FRAMES, 0, 0)
    assert reader.declared_frames == (FRAMES if suffix in (".mp4", ".avi") else None)
    assert [frame.index for frame in frames] == list(range(FRAMES))
    assert [frame.pts * frame.time_base for frame in frames] == times_of(whole[suffix])
    assert frames[-1].time == pytest.approx(float(times_of(whole[suffix])[-1]))
    assert reader.frame_rate == 25
    assert reader.size == (120, 160)
    for frame, image in zip(frames, film_images(FRAMES), strict=True):
        assert frame.image.dtype == np.uint8
        assert frame.image.shape == (120, 160, 3)
        assert np.abs(frame.image.astype(int) - image).mean() < 12


def test_uneven_times_are_told_as_they_are(tmp_path: Path) -> None:
    frames, _ = read(make_film(tmp_path / "a.mp4", pts=UNEVEN, time_base=AXIS))
    assert [frame.pts * frame.time_base for frame in frames] == [stamp * AXIS for stamp in UNEVEN]


@pytest.mark.skipif(
    not hasattr(av.VideoStream, "set_display_rotation"), reason="this PyAV cannot write display matrices"
)
@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_rotated_videos_are_turned_upright(degrees: int, mirrored: bool, tmp_path: Path) -> None:
    plain, _ = read(make_film(tmp_path / "plain.mp4", pts=range(2)))
    turned, reader = read(make_film(tmp_path / "turned.mp4", pts=range(2), rotation=(degrees, mirrored)))
    # PyAV documents: counter-clockwise by `degrees`, mirrored after that.
    expected = np.rot90(plain[1].image, degrees // 90)
    assert np.array_equal(turned[1].image, expected[:, ::-1] if mirrored else expected)
    assert reader.size == expected.shape[:2]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm", ".avi"])
@pytest.mark.parametrize("share", [0.4, 0.5, 0.75, 0.97])
def test_cut_files_give_what_is_left_and_say_so(
    whole: dict[str, Path], suffix: str, share: float, tmp_path: Path
) -> None:
    data = whole[suffix].read_bytes()
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(data[: int(len(data) * share)])
    complete = read(whole[suffix])[0]
    frames, reader = read(path)
    assert 0 < len(frames) == reader.counts.decoded <= FRAMES
    # All but the frame the cut goes through are as they were in the whole file.
    for before, after in zip(complete, frames[:-1], strict=False):
        assert np.array_equal(before.image, after.image)
    assert reader.problem is not None
    assert str(path) in reader.problem
    assert f"frames read: {len(frames)}" in reader.problem
    assert "\n" not in reader.problem


@pytest.mark.parametrize("share", [0.3, 0.5, 0.6, 0.75])
def test_every_frame_in_front_of_a_cut_is_delivered(share: float, whole: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "cut.mp4"
    data = whole[".mp4"].read_bytes()
    length = int(len(data) * share)
    path.write_bytes(data[:length])
    with av.open(str(whole[".mp4"])) as container:
        complete = sum(packet.pos + packet.size <= length for packet in container.demux(video=0) if packet.size)
    frames, reader = read(path)
    assert len(frames) >= complete > 5
    assert f"{len(frames)} of 60 announced frames" in str(reader.problem)


def test_a_transport_stream_cut_inside_a_packet_says_so(whole: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "cut.ts"
    path.write_bytes(whole[".ts"].read_bytes()[: 188 * 60 + 50])
    frames, reader = read(path)
    assert frames
    assert "50 of 188" in str(reader.problem)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm"])
@pytest.mark.parametrize("seed", range(3))
def test_damage_in_the_middle_does_not_end_the_video(
    whole: dict[str, Path], suffix: str, seed: int, tmp_path: Path
) -> None:
    data = bytearray(whole[suffix].read_bytes())
    chance = np.random.default_rng(seed)
    for at in chance.integers(len(data) // 3, 2 * len(data) // 3, 150):
        data[at] = chance.integers(256)
    path = tmp_path / f"damaged{suffix}"
    path.write_bytes(data)
    frames, reader = read(path)
    assert reader.problem is not None
    assert reader.counts.decoded == len(frames)
    assert len(frames) >= FRAMES // 4
    if suffix == ".mp4":  # its index survives, so the end is reached
        assert len(frames) >= FRAMES // 2
        assert frames[-1].pts * frames[-1].time_base == times_of(whole[suffix])[-1]


def test_blocks_that_the_demuxer_drops_are_counted(whole: dict[str, Path], tmp_path: Path) -> None:
    data = bytearray(whole[".webm"].read_bytes())
    # The flags of a block in the middle now claim 256 laced frames: FFmpeg drops the rest of the cluster.
    blocks = [
        at for at in range(len(data) - 4) if data[at] == 0xA3 and data[at + 1] & 0xC0 == 0x40 and data[at + 3] == 0x81
    ]
    middle = blocks[len(blocks) // 2]
    data[middle + 6 : middle + 8] = b"\x06\xff"
    path = tmp_path / "laced.webm"
    path.write_bytes(data)
    frames, reader = read(path)
    assert len(frames) < FRAMES
    assert "of 60 video blocks" in str(reader.problem)


def test_a_missing_index_is_explained(tmp_path: Path) -> None:
    path = make_film(tmp_path / "a.mp4")
    path.write_bytes(path.read_bytes()[:-2000])  # without faststart, the index is at the end
    with pytest.raises(MediaError, match=r"a\.mp4: cannot be opened \(its 'm...' box|a\.mp4.*index"):
        VideoReader(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"ffconcat version 1.0\nfile 'secret.mp4'\n", "ffconcat playlist"),
        (b"#EXTM3U\n#EXTINF:1,\nsecret.mp4\n", "M3U playlist"),
        (b"<!doctype html><p>no", "HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "git lfs pull"),
        (b"just words\n" * 50, "a text file"),
        (cv2.imencode(".png", np.zeros((9, 9, 3), np.uint8))[1].tobytes(), "a PNG picture"),
        (bytes(range(128, 255)) * 40, "unknown data"),
        (b"\0\0\0\x08ftyp\0\0\0\x08free", "index"),
    ],
)
def test_what_is_no_video_is_named(content: bytes, words: str, tmp_path: Path) -> None:
    make_film(tmp_path / "secret.mp4", pts=range(3))
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    with pytest.raises(MediaError, match=words) as caught:
        VideoReader(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "disguise", [b"\n \nffconcat version 1.0\n", b"\xef\xbb\xbfffconcat version 1.0\n", b"#EXTM3U\0"]
)
def test_playlists_are_refused_by_format_as_well(
    disguise: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ce2p_runtime.media import containers
    from ce2p_runtime.media.sniff import Sniffed

    make_film(tmp_path / "secret.mp4", pts=range(3))
    path = tmp_path / "a.mp4"
    path.write_bytes(disguise + b"#EXT-X-TARGETDURATION:1\nfile 'secret.mp4'\n")
    monkeypatch.setattr(containers, "sniff_file", lambda _: Sniffed("video", "a disguised file"))
    with pytest.raises(MediaError, match="a disguised file"):
        VideoReader(path)
    # The same holds for the plain playlist, which FFmpeg does recognise.
    path.write_bytes(b"ffconcat version 1.0\nfile 'secret.mp4'\n")
    assert len(av.open(f"file:{path}", options={"protocol_whitelist": "file"}).streams.video) == 1
    with pytest.raises(MediaError, match="a disguised file"):
        VideoReader(path)


def test_names_are_names_and_not_addresses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_film(tmp_path / "a.mp4", pts=range(3))
    for name in (
        "http://127.0.0.1:9/a.mp4",
        "concat:a.mp4|a.mp4",
        "subfile,,start,0,end,0,,:a.mp4",
        "lavfi:testsrc",
        "a.mp4\0",
    ):
        with pytest.raises(MediaError, match=r"no such file|is a URL|cannot be opened"):
            VideoReader(name)
    with pytest.raises(MediaError, match="is a folder"):
        VideoReader(tmp_path)
    odd = Path("concat:a %03d ü.mp4")  # relative: with a folder in front, it would not look like a protocol
    (tmp_path / "a.mp4").rename(odd)
    assert len(read(odd)[0]) == 3


def test_sound_without_pictures_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("aac", rate=48000)
        samples = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), format="fltp", layout="stereo")
        samples.sample_rate = 48000
        out.mux(stream.encode(samples))
        out.mux(stream.encode(None))
    with pytest.raises(MediaError, match="no video stream"):
        VideoReader(path)


def test_frames_that_are_too_large_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_film(tmp_path / "a.mp4", pts=range(3))
    monkeypatch.setattr("ce2p_runtime.media.video_streams._MAX_PIXELS", 160 * 120 - 1)
    with pytest.raises(MediaError, match="160x120"):
        VideoReader(path)


def test_a_missing_pyav_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MediaError, match=r'pip install "\.\[cli\]"'):
        VideoReader("a.mp4")


def test_iteration_ends_when_the_reader_is_closed(whole: dict[str, Path]) -> None:
    reader = VideoReader(whole[".mp4"])
    frames = iter(reader)
    assert next(frames).index == 0
    reader.close()
    assert list(frames) == []
    assert reader.problem is None


def test_reading_ahead_gives_the_same_frames(whole: dict[str, Path]) -> None:
    plain, _ = read(whole[".mp4"])
    with VideoReader(whole[".mp4"]) as reader:
        ahead = list(prefetch(reader, 3))
    assert all(np.array_equal(a.image, b.image) for a, b in zip(plain, ahead, strict=True))
    # Leaving in the middle, and closing the file while the thread still decodes: neither crashes nor hangs.
    for _ in range(10):
        with VideoReader(whole[".mp4"]) as reader:
            kept = prefetch(reader, 3)
            assert next(kept).index == 0
        assert len(list(kept)) < FRAMES


def test_frames_are_released_without_the_garbage_collector(whole: dict[str, Path]) -> None:
    gc.collect()
    gc.disable()
    try:
        assert len(read(whole[".mp4"])[0]) == FRAMES
        decoded = sum(type(thing) is av.VideoFrame for thing in gc.get_objects())
    finally:
        gc.enable()
    assert decoded <= 2


def test_damaged_label_videos_are_noticed(tmp_path: Path) -> None:
    path = tmp_path / "labels.mkv"
    maps = [
        np.kron(np.arange(20, dtype=np.uint8).reshape(4, 5), np.full((16, 16), 1 + index % 3, np.uint8))
        for index in range(9)
    ]
    with LabelVideoWriter(path, 25, (64, 80)) as writer:
        for index, labels in enumerate(maps):
            writer.write(labels, index, Fraction(1, 25))
    with av.open(str(path)) as container:
        packet = [packet for packet in container.demux(video=0) if packet.size][4]
        at, size = packet.pos, packet.size
    data = bytearray(path.read_bytes())
    data[data.index(bytes(packet), at) + size // 2] ^= 0x10
    path.write_bytes(data)
    frames, reader = read(path, labels=True)
    wrong = [
        i for i, (frame, labels) in enumerate(zip(frames, maps, strict=True)) if not np.array_equal(frame.image, labels)
    ]
    assert wrong == [4]
    assert reader.counts.damaged == 1
    assert "repaired by the decoder: 1" in str(reader.problem)
    assert not slices_intact(b"abc")


def test_only_gray_videos_are_read_as_labels(whole: dict[str, Path]) -> None:
    with pytest.raises(MediaError, match="yuv420p, expected gray"):
        VideoReader(whole[".mp4"], labels=True)
