"""Whole videos of every kind give every frame, a balanced account, and no problem: no false alarm."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.runtime.media.clips import assert_balanced, copy_packets, make_clip, moving, packets_of, read

av = pytest.importorskip("av")


@dataclass(frozen=True)
class _Kind:
    """How a kind of video is made, and how many frames it shows."""

    suffix: str
    codec: str = "libx264"
    pixels: str = "yuv420p"
    options: dict[str, str] = field(default_factory=dict)
    container: dict[str, str] = field(default_factory=dict)
    count: int = 25
    height: int = 48
    width: int = 64


_ALT_REF = {"auto-alt-ref": "1", "lag-in-frames": "16", "b": "60k", "deadline": "good", "cpu-used": "4"}
_OPEN_GOP = {"x264-params": "open-gop=1:keyint=10:bframes=3:log-level=none"}
_INTERLACED = {"flags": "+ildct+ilme"}
_KINDS = {
    "H.264 with B-frames in MP4": _Kind(".mp4", options={"bf": "3"}),
    "H.264 with B-frames in Matroska": _Kind(".mkv", options={"bf": "3"}),
    "H.264 with B-frames in MPEG-TS": _Kind(".ts", options={"bf": "3"}),
    "H.264 with B-frames in AVI": _Kind(".avi", options={"bf": "3"}),
    "H.264 in FLV": _Kind(".flv"),
    "H.264 without a container": _Kind(".h264"),
    "H.264 with open groups": _Kind(".mp4", options=_OPEN_GOP),
    "H.264, interlaced": _Kind(".ts", options=_INTERLACED | {"x264-params": "tff=1"}),
    "H.264 in fragments": _Kind(".mp4", container={"movflags": "frag_keyframe+empty_moov"}),
    "H.264 in fragments after an index": _Kind(".mp4", container={"movflags": "frag_keyframe"}),
    "H.264 with the time in front of each packet": _Kind(".ts", container={"mpegts_m2ts_mode": "1"}),
    "H.264 without the end of clusters": _Kind(".mkv", container={"live": "1"}),
    "HEVC in MP4": _Kind(".mp4", "libx265", options={"x265-params": "log-level=0:keyint=10:open-gop=1"}),
    "HEVC in MPEG-TS": _Kind(".ts", "libx265", options={"x265-params": "log-level=0:keyint=10"}),
    "VP8 with hidden frames": _Kind(".webm", "libvpx", options=_ALT_REF),
    "VP9 with hidden frames": _Kind(".webm", "libvpx-vp9", options=_ALT_REF),
    "VP9 in MP4": _Kind(".mp4", "libvpx-vp9", options=_ALT_REF),
    "VP9 in IVF": _Kind(".ivf", "libvpx-vp9", options=_ALT_REF),
    "AV1 in Matroska": _Kind(".mkv", "libsvtav1", options={"preset": "12"}, height=64),
    "AV1 in MP4": _Kind(".mp4", "libsvtav1", options={"preset": "12"}, height=64),
    "MPEG-2, interlaced, in MPEG-TS": _Kind(".ts", "mpeg2video", options=_INTERLACED | {"bf": "2"}),
    "MPEG-2 in a program stream": _Kind(".mpg", "mpeg2video", options={"bf": "2"}),
    "MPEG-4 with B-frames in AVI": _Kind(".avi", "mpeg4", options={"bf": "2"}),
    "MPEG-4 with B-frames in MP4": _Kind(".mp4", "mpeg4", options={"bf": "2"}),
    "MS MPEG-4": _Kind(".avi", "msmpeg4"),
    "WMV 2": _Kind(".wmv", "wmv2"),
    "Sorenson": _Kind(".flv", "flv"),
    "Motion JPEG": _Kind(".avi", "mjpeg", "yuvj420p"),
    "FFV1 in Matroska": _Kind(".mkv", "ffv1"),
    "FFV1 in AVI": _Kind(".avi", "ffv1"),
    "Huffyuv": _Kind(".avi", "huffyuv", "yuv422p"),
    "ProRes": _Kind(".mov", "prores_ks", "yuv422p10le"),
    "16380x2": _Kind(".avi", "huffyuv", "yuv422p", count=2, height=2, width=16380),
    "one frame": _Kind(".mp4", count=1),
}


@pytest.mark.parametrize("name", list(_KINDS))
def test_a_whole_video_gives_every_frame_and_no_problem(name: str, tmp_path: Path) -> None:
    kind = _KINDS[name]
    path = make_clip(
        tmp_path / f"a{kind.suffix}",
        kind.codec,
        moving(kind.count, kind.height, kind.width),
        pixels=kind.pixels,
        options=kind.options,
        container=kind.container,
    )
    frames, reader = read(path)
    assert reader.problem is None
    assert len(frames) == reader.counts.decoded == kind.count
    assert reader.declared_frames in (None, kind.count)
    assert (reader.counts.skipped, reader.counts.damaged, reader.counts.unread) == (0, 0, 0)
    assert_balanced(reader)
    for frame, image in zip(frames, moving(kind.count, kind.height, kind.width), strict=True):
        assert frame.image.shape == image.shape
        assert np.abs(frame.image.astype(int) - image).mean() < 20


@pytest.mark.parametrize(
    ("suffix", "codec", "unit"),
    [
        (".mp4", "libx264", 1),
        (".mkv", "libx264", 1),
        (".webm", "libvpx", 1),
        (".avi", "mpeg4", 40),  # has a slot for every frame there might have been, and leaves the others empty
    ],
)
def test_uneven_times_are_no_loss(suffix: str, codec: str, unit: int, tmp_path: Path) -> None:
    stamps = [40 * index + 400 * (index // 7) for index in range(25)]
    path = make_clip(
        tmp_path / f"a{suffix}",
        codec,
        stamps=[stamp // unit for stamp in stamps],
        time_base=Fraction(unit, 1000),
        options={"deadline": "realtime"} if codec == "libvpx" else {},
    )
    frames, reader = read(path)
    assert reader.problem is None
    assert len(frames) == 25
    assert reader.declared_frames in (None, 25)
    assert [frame.pts * frame.time_base for frame in frames] == [Fraction(stamp, 1000) for stamp in stamps]


class _Pipe(io.BytesIO):
    """Takes bytes and never goes back."""

    seek = None  # type: ignore[assignment]  # so PyAV tells whether it may


@pytest.mark.parametrize("form", ["matroska", "webm", "avi"])
def test_files_of_recorders_that_cannot_go_back_are_whole(form: str, tmp_path: Path) -> None:
    whole = make_clip(tmp_path / "a.mkv", {"webm": "libvpx-vp9", "avi": "mpeg4"}.get(form, "libx264"))
    pipe = _Pipe()
    with av.open(str(whole)) as inside, av.open(pipe, "w", format=form) as out:
        stream = out.add_stream_from_template(inside.streams.video[0])
        for packet in inside.demux(video=0):
            if packet.size:
                packet.stream = stream
                out.mux(packet)
    path = tmp_path / f"b.{form}"
    path.write_bytes(pipe.getvalue())
    frames, reader = read(path)
    assert reader.problem is None
    assert len(frames) == 25
    assert reader.declared_frames is None or reader.declared_frames == 25


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
@pytest.mark.parametrize("codec", ["libx264", "libx265", "mpeg2video", "mpeg4"])
def test_copies_cut_at_a_keyframe_are_whole(codec: str, suffix: str, tmp_path: Path) -> None:
    options = {"libx264": _OPEN_GOP, "libx265": {"x265-params": "log-level=0:keyint=10:min-keyint=10:open-gop=1"}}.get(
        codec, {}
    )
    whole = make_clip(tmp_path / "a.ts", codec, options=options | {"bf": "3" if "x26" in codec else "2"})
    keys = [number for number, packet in enumerate(packets_of(whole)) if packet[3]]
    path = copy_packets(whole, tmp_path / f"b{suffix}", start=keys[1])
    frames, reader = read(path)
    assert reader.problem is None
    assert len(frames) + reader.counts.hidden == 25 - keys[1]
    assert len(frames) >= 25 - keys[1] - 4  # what is shown before the keyframe refers to what was cut away
    assert_balanced(reader)


def _edit(path: Path, change: Callable[[int, int], tuple[int, int]]) -> None:
    """Alter length and start of the first edit of an MP4 file."""
    data = bytearray(path.read_bytes())
    at = data.index(b"elst") + 12
    old = (int.from_bytes(data[at : at + 4], "big"), int.from_bytes(data[at + 4 : at + 8], "big"))
    for offset, value in zip((0, 4), change(*old), strict=True):
        data[at + offset : at + offset + 4] = value.to_bytes(4, "big")
    path.write_bytes(data)


@pytest.mark.parametrize("bframes", ["0", "3"])
@pytest.mark.parametrize(("length", "shown"), [(1, 25), (2, 13)])
def test_what_an_edit_list_cuts_off_at_the_end_is_no_loss(
    bframes: str, length: int, shown: int, tmp_path: Path
) -> None:
    path = make_clip(tmp_path / "a.mp4", options={"bf": bframes}, container={"use_editlist": "1"})
    _edit(path, lambda duration, start: (duration // length, start))
    frames, reader = read(path)
    assert reader.problem is None
    assert abs(len(frames) - shown) <= 1
    assert reader.declared_frames in (None, len(frames))
    assert_balanced(reader)


def test_what_an_edit_list_leaves_out_at_the_start_is_noted(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mp4", options={"bf": "0"})
    with av.open(str(path)) as container:
        ticks = container.streams.video[0].duration // 25
    _edit(path, lambda duration, start: (duration, start + 5 * ticks))
    frames, reader = read(path)
    assert reader.problem is None
    assert len(frames) == 20
    assert reader.declared_frames == 20
    assert reader.notes == ["frames that the edit list leaves out: 5"]
    assert_balanced(reader)
