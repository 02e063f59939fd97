"""Video in and out: times, audio and labels come back equal, damage is reported, nothing half stays."""

import gc
import sys
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from ce2p_runtime.errors import MediaError
from ce2p_runtime.ffv1 import slices_intact
from ce2p_runtime.threads import prefetch
from ce2p_runtime.video import LabelVideoWriter, VideoFrame, VideoReader, VideoWriter

av = pytest.importorskip("av")

FRAMES = 60
AXIS = Fraction(1, 12800)
# Uneven on purpose: 20 and 80 ms in turn, and a start that is no whole number of milliseconds.
UNEVEN = [7777 + 640 * index + 384 * (index % 2) for index in range(FRAMES)]


def _background(height: int = 120, width: int = 160) -> np.ndarray:
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 3)


def _images(count: int, height: int = 120, width: int = 160) -> Iterator[np.ndarray]:
    background = _background(height, width)
    for index in range(count):
        image = np.roll(background, 3 * index, axis=1)
        cv2.circle(image, (20 + 2 * index, height // 2), 15, (0, 0, 255), -1)
        yield image


def _make(
    path: Path,
    codec: str = "libx264",
    pts: Sequence[int] = range(FRAMES),
    time_base: Fraction = Fraction(1, 25),
    audio: str | None = None,
    rotation: tuple[int, bool] | None = None,
    **options: str,
) -> Path:
    """A small video made with PyAV alone: the reader and the writers are not tested with themselves."""
    if path.suffix == ".mp4":
        options["movie_timescale"] = "12800"  # or the start of the track is rounded to milliseconds
    with av.open(str(path), "w", options=options) as out:
        video = out.add_stream(codec, rate=25, options={"g": "20"})
        video.width, video.height, video.pix_fmt = 160, 120, "yuv420p"
        video.time_base = video.codec_context.time_base = time_base
        if rotation is not None:
            video.set_display_rotation(rotation[0], hflip=rotation[1])
        sound = out.add_stream(audio, rate=48000) if audio else None
        for stamp, image in zip(pts, _images(len(pts)), strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="bgr24")
            frame.pts, frame.time_base = stamp, time_base
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        if sound is not None:
            for block in range(60):
                wave = np.sin(np.arange(1024) / (5 + block)).astype(np.float32)
                samples = av.AudioFrame.from_ndarray(np.stack([wave, wave]), format="fltp", layout="stereo")
                samples.sample_rate, samples.pts, samples.time_base = 48000, 1024 * block, Fraction(1, 48000)
                out.mux(sound.encode(samples))
            out.mux(sound.encode(None))
    return path


def _read(path: Path, **options: bool) -> tuple[list[VideoFrame], VideoReader]:
    with VideoReader(path, **options) as reader:
        return list(reader), reader


def _times(path: Path) -> list[Fraction]:
    """Presentation times of all frames, by PyAV alone."""
    with av.open(str(path)) as container:
        return [frame.pts * frame.time_base for frame in container.decode(video=0)]


def _audio(path: Path) -> list[tuple[bytes, Fraction]]:
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(audio=0) if packet.size]
        return [(bytes(packet), packet.pts * packet.time_base) for packet in packets]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One clip of 60 frames per container, with its index at the start where the container has a choice."""
    folder = tmp_path_factory.mktemp("whole")
    return {
        ".mp4": _make(folder / "a.mp4", movflags="faststart"),
        ".mkv": _make(folder / "a.mkv", time_base=Fraction(1, 1000), pts=[40 * index for index in range(FRAMES)]),
        ".webm": _make(folder / "a.webm", "libvpx", time_base=Fraction(1, 1000), pts=range(0, 40 * FRAMES, 40)),
        ".avi": _make(folder / "a.avi", "mpeg4"),
        ".ts": _make(folder / "a.ts", time_base=Fraction(1, 90000), pts=range(0, 3600 * FRAMES, 3600)),
    }


# Reading


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm", ".avi", ".ts"])
def test_whole_files_give_every_frame_and_no_problem(whole: dict[str, Path], suffix: str) -> None:
    frames, reader = _read(whole[suffix])
    assert reader.problem is None
    assert (reader.counts.decoded, reader.counts.damaged, reader.counts.skipped) == (FRAMES, 0, 0)
    assert reader.declared_frames == (FRAMES if suffix in (".mp4", ".avi") else None)
    assert [frame.index for frame in frames] == list(range(FRAMES))
    assert [frame.pts * frame.time_base for frame in frames] == _times(whole[suffix])
    assert frames[-1].time == pytest.approx(float(_times(whole[suffix])[-1]))
    assert reader.frame_rate == 25
    assert reader.size == (120, 160)
    for frame, image in zip(frames, _images(FRAMES), strict=True):
        assert frame.image.dtype == np.uint8
        assert frame.image.shape == (120, 160, 3)
        assert np.abs(frame.image.astype(int) - image).mean() < 12


def test_uneven_times_are_told_as_they_are(tmp_path: Path) -> None:
    frames, _ = _read(_make(tmp_path / "a.mp4", pts=UNEVEN, time_base=AXIS))
    assert [frame.pts * frame.time_base for frame in frames] == [stamp * AXIS for stamp in UNEVEN]


@pytest.mark.skipif(
    not hasattr(av.VideoStream, "set_display_rotation"), reason="this PyAV cannot write display matrices"
)
@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_rotated_videos_are_turned_upright(degrees: int, mirrored: bool, tmp_path: Path) -> None:
    plain, _ = _read(_make(tmp_path / "plain.mp4", pts=range(2)))
    turned, reader = _read(_make(tmp_path / "turned.mp4", pts=range(2), rotation=(degrees, mirrored)))
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
    complete = _read(whole[suffix])[0]
    frames, reader = _read(path)
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
    frames, reader = _read(path)
    assert len(frames) >= complete > 5
    assert f"{len(frames)} of 60 announced frames" in str(reader.problem)


def test_a_transport_stream_cut_inside_a_packet_says_so(whole: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "cut.ts"
    path.write_bytes(whole[".ts"].read_bytes()[: 188 * 60 + 50])
    frames, reader = _read(path)
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
    frames, reader = _read(path)
    assert reader.problem is not None
    assert reader.counts.decoded == len(frames)
    assert len(frames) >= FRAMES // 4
    if suffix == ".mp4":  # its index survives, so the end is reached
        assert len(frames) >= FRAMES // 2
        assert frames[-1].pts * frames[-1].time_base == _times(whole[suffix])[-1]


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
    frames, reader = _read(path)
    assert len(frames) < FRAMES
    assert "of 60 video blocks" in str(reader.problem)


def test_a_missing_index_is_explained(tmp_path: Path) -> None:
    path = _make(tmp_path / "a.mp4")
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
    _make(tmp_path / "secret.mp4", pts=range(3))
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
    from ce2p_runtime import containers
    from ce2p_runtime.sniff import Sniffed

    _make(tmp_path / "secret.mp4", pts=range(3))
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
    _make(tmp_path / "a.mp4", pts=range(3))
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
    assert len(_read(odd)[0]) == 3


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
    path = _make(tmp_path / "a.mp4", pts=range(3))
    monkeypatch.setattr("ce2p_runtime.video._MAX_PIXELS", 160 * 120 - 1)
    with pytest.raises(MediaError, match="160x120"):
        VideoReader(path)


def test_a_missing_pyav_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MediaError, match=r'pip install "ce2p\[cli\]"'):
        VideoReader("a.mp4")


def test_iteration_ends_when_the_reader_is_closed(whole: dict[str, Path]) -> None:
    reader = VideoReader(whole[".mp4"])
    frames = iter(reader)
    assert next(frames).index == 0
    reader.close()
    assert list(frames) == []
    assert reader.problem is None


def test_reading_ahead_gives_the_same_frames(whole: dict[str, Path]) -> None:
    plain, _ = _read(whole[".mp4"])
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
        assert len(_read(whole[".mp4"])[0]) == FRAMES
        decoded = sum(type(thing) is av.VideoFrame for thing in gc.get_objects())
    finally:
        gc.enable()
    assert decoded <= 2


# Writing


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
    path = _make(tmp_path / f"in{source}", pts=stamps, time_base=axis, audio="libopus" if target == ".webm" else "aac")
    out = tmp_path / "new" / f"out{target}"
    with VideoReader(path) as reader, VideoWriter(out, reader.frame_rate, reader.size, reader.path) as writer:
        for frame in reader:
            writer.write(frame.image, frame.pts, frame.time_base)
    expected = [stamp * axis for stamp in stamps]
    half_tick = Fraction(slack, 2000)  # Matroska keeps milliseconds
    assert all(abs(a - b) <= half_tick for a, b in zip(_times(out), expected, strict=True))
    assert (writer.frames, writer.moved, writer.audio_note) == (FRAMES, 0, None)
    before, after = _audio(path), _audio(out)
    assert writer.audio_packets == len(before) > 50
    assert [data for data, _ in before] == [data for data, _ in after]
    # An AAC packet lasts 1024/48000 s, so milliseconds cannot hold its times exactly.
    assert all(abs(a[1] - b[1]) <= half_tick for a, b in zip(before, after, strict=True))
    assert [entry.name for entry in out.parent.iterdir()] == [out.name]
    assert _read(out)[1].problem is None


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
    shown = _read(tmp_path / f"a{suffix}")[0][1].image
    for index, colour in enumerate(colours):
        assert np.abs(shown[32, 32 * index + 16].astype(int) - colour).max() <= 8


def test_odd_sizes_are_padded_with_the_edge(tmp_path: Path) -> None:
    image = np.full((31, 45, 3), 100, np.uint8)
    image[-1], image[:, -1] = 220, 220
    with VideoWriter(tmp_path / "a.mp4", 25, (31, 45)) as writer:
        writer.write(image, 0, Fraction(1, 25))
    (frame,), reader = _read(tmp_path / "a.mp4")
    assert reader.size == (32, 46)
    assert np.abs(frame.image[:31, :45].astype(int) - image).mean() < 6
    assert np.abs(frame.image[-1].astype(int) - 220).max() < 30


def test_audio_that_does_not_fit_is_left_out_and_told(tmp_path: Path) -> None:
    path = _make(tmp_path / "in.mp4", pts=range(3), audio="aac")
    with VideoReader(path) as reader, VideoWriter(tmp_path / "out.webm", 25, reader.size, path) as writer:
        for frame in reader:
            writer.write(frame.image, frame.pts, frame.time_base)
    assert "aac" in str(writer.audio_note)
    assert writer.audio_packets == 0
    assert len(_times(tmp_path / "out.webm")) == 3


def test_times_that_do_not_grow_are_moved_and_counted(tmp_path: Path) -> None:
    image = np.zeros((32, 32, 3), np.uint8)
    with VideoWriter(tmp_path / "a.mp4", 25, (32, 32)) as writer:
        for pts in (0, 10, 10, 5, 40):
            writer.write(image, pts, Fraction(1, 1000))
    assert writer.moved == 2
    assert _times(tmp_path / "a.mp4") == [Fraction(pts, 1000) for pts in (0, 10, 11, 12, 40)]


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_a_frame_before_the_beginning_is_not_hidden(suffix: str, tmp_path: Path) -> None:
    with VideoWriter(tmp_path / f"a{suffix}", 25, (32, 32)) as writer:
        for pts in (-40, 0, 40):
            writer.write(np.full((32, 32, 3), pts + 40, np.uint8), pts, Fraction(1, 1000))
    frames, reader = _read(tmp_path / f"a{suffix}")
    assert [round(frame.image.mean() / 40) for frame in frames] == [0, 1, 2]
    assert reader.problem is None
    assert writer.moved == (0 if suffix == ".mkv" else 2)


def test_a_change_of_time_base_is_followed(tmp_path: Path) -> None:
    image = np.zeros((32, 32, 3), np.uint8)
    with VideoWriter(tmp_path / "a.mp4", 25, (32, 32)) as writer:
        writer.write(image, 0, Fraction(1, 1000))
        writer.write(image, 3600, Fraction(1, 90000))
    assert _times(tmp_path / "a.mp4") == [0, Fraction(40, 1000)]


@pytest.mark.parametrize("frames", [0, 1, 40])
@pytest.mark.parametrize("kind", [KeyboardInterrupt, ValueError])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_an_interrupted_writer_leaves_nothing(
    suffix: str, kind: type[BaseException], frames: int, tmp_path: Path
) -> None:
    source = _make(tmp_path / "in.mp4", pts=range(3), audio="aac")
    old = tmp_path / "out" / f"a{suffix}"
    old.parent.mkdir()
    old.write_text("what was there before")

    def write() -> None:
        with VideoWriter(old, 25, (120, 160), source) as writer:
            for index, image in enumerate(_images(frames)):
                writer.write(image, index, Fraction(1, 25))
            raise kind

    with pytest.raises(kind):
        write()
    assert list(old.parent.iterdir()) == [old]
    assert old.read_text() == "what was there before"


def test_writing_nothing_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    with (
        pytest.raises(MediaError, match="no frame was written"),
        VideoWriter(tmp_path / "a.mp4", 25, (32, 32)),
    ):
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
    frames, reader = _read(path, labels=True)
    assert reader.problem is None
    assert reader.size == size
    for index, (frame, labels) in enumerate(zip(frames, maps, strict=True)):
        assert np.array_equal(frame.image, labels)
        assert abs(frame.pts * frame.time_base - Fraction(1001 * index, 30000)) <= Fraction(1, 2000)


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
    frames, reader = _read(path, labels=True)
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
