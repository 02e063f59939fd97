"""Pictures as the video means them: colours, the shape of pixels, sizes that change, and what is worth a note."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from ce2p_runtime.media.pyav import fraction
from ce2p_runtime.media.sources import open_source
from tests.runtime.media.clips import assert_balanced, copy_packets, make_clip, moving, packets_of, read

av = pytest.importorskip("av")

_COLOUR = (120, 100, 170)
"""Luma and chroma of a colour that the matrices see differently."""
_WEIGHTS = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}
"""Shares of red and blue in the luma, by the number of the matrix in ITU-T H.273."""


def _plain(path: Path, size: tuple[int, int], matrix: int, value_range: int, count: int = 2, **tags: int) -> Path:
    """A lossless clip of one colour whose frames say which matrix and range they have."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("ffv1", rate=25)
        stream.height, stream.width, stream.pix_fmt = *size, "yuv444p"
        context = stream.codec_context
        context.colorspace, context.color_range = matrix, value_range
        for name, value in tags.items():
            setattr(context, name, value)
        for index in range(count):
            frame = av.VideoFrame(size[1], size[0], "yuv444p")
            for plane, value in zip(frame.planes, _COLOUR, strict=True):
                plane.update(bytes([value]) * plane.buffer_size)
            frame.pts, frame.colorspace, frame.color_range = index, matrix, value_range
            for name, value in tags.items():
                setattr(frame, name, value)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def _bgr(matrix: int, full: bool) -> list[float]:
    """The colour by the definition of the matrix."""
    red_share, blue_share = _WEIGHTS[matrix]
    luma, blue, red = _COLOUR
    y = luma / 255 if full else (luma - 16) / 219
    u, v = ((c - 128) / (255 if full else 224) for c in (blue, red))
    r, b = y + 2 * (1 - red_share) * v, y + 2 * (1 - blue_share) * u
    g = (y - red_share * r - blue_share * b) / (1 - red_share - blue_share)
    return [255 * value for value in (b, g, r)]


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize(
    ("tag", "size", "matrix"),
    [
        (1, (48, 64), 1),
        (5, (48, 64), 5),
        (6, (720, 1280), 6),
        (9, (720, 1280), 9),
        (2, (48, 64), 6),
        (2, (576, 720), 6),
        (2, (720, 1280), 1),
        (2, (1080, 1920), 1),
    ],
)
def test_colours_follow_the_tags_and_without_them_the_size(
    tag: int, size: tuple[int, int], matrix: int, full: bool, tmp_path: Path
) -> None:
    frames, reader = read(_plain(tmp_path / "a.mkv", size, tag, 2 if full else 1))
    assert np.abs(frames[0].image[10, 10] - np.array(_bgr(matrix, full))).max() <= 2.5
    said = [note for note in reader.notes if "no colour matrix" in note]
    assert bool(said) == (tag == 2 and size[0] >= 720)


@pytest.mark.parametrize(
    ("transfer", "primaries", "words"), [(16, 9, "PQ BT.2020"), (18, 9, "HLG BT.2020"), (14, 9, "BT.2020"), (1, 1, "")]
)
def test_wide_and_bright_colours_are_noted(transfer: int, primaries: int, words: str, tmp_path: Path) -> None:
    path = _plain(tmp_path / "a.mkv", (48, 64), 9, 1, color_trc=transfer, color_primaries=primaries)
    _, reader = read(path)
    assert reader.problem is None
    assert [note.split(" colours")[0] for note in reader.notes] == ([words] if words else [])


def test_interlaced_frames_are_noted(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.ts", "mpeg2video", 5, options={"flags": "+ildct+ilme"})
    assert [note for note in read(path)[1].notes if note.startswith("interlaced")]
    assert not read(make_clip(tmp_path / "b.ts", "mpeg2video", 5))[1].notes


@pytest.mark.parametrize("ratio", [Fraction(1), Fraction(16, 15), Fraction(4, 3)])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_the_shape_of_pixels_is_told(suffix: str, ratio: Fraction, tmp_path: Path) -> None:
    path = make_clip(tmp_path / f"a{suffix}", images=3, sample_aspect_ratio=ratio)
    _, reader = read(path)
    assert reader.sample_aspect_ratio == ratio
    assert isinstance(reader.sample_aspect_ratio, Fraction)


@pytest.mark.parametrize("codec", ["libx264", "mjpeg"])
def test_pictures_of_another_size_go_on(codec: str, tmp_path: Path) -> None:
    pixels = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    small = make_clip(tmp_path / "small.mkv", codec, moving(6, 48, 64), pixels=pixels)
    large = make_clip(tmp_path / "large.mkv", codec, moving(6, 96, 128), pixels=pixels)
    path = tmp_path / ("a.h264" if codec == "libx264" else "a.mkv")
    if codec == "libx264":
        parts = [copy_packets(clip, tmp_path / f"{clip.stem}.h264") for clip in (small, large)]
        path.write_bytes(b"".join(part.read_bytes() for part in parts))
    else:
        others = packets_of(large)
        copy_packets(small, path, change=lambda number, _: others[number][2] if number > 2 else None)
    frames, reader = read(path)
    changed = 6 if codec == "libx264" else 3
    assert [frame.image.shape for frame in frames[:changed]] == [(48, 64, 3)] * changed
    assert {frame.image.shape for frame in frames[changed:]} == {(96, 128, 3)}
    assert reader.size == (48, 64)
    assert reader.problem is None
    assert reader.counts.resized == 1
    assert reader.notes == [f"the size of the pictures changes from 64x48 to 128x96 at frame {changed}"]
    assert_balanced(reader)
    expected = list(moving(6, 96, 128))[-1]
    assert np.abs(frames[-1].image.astype(int) - expected).mean() < 12


def test_further_streams_are_noted_by_the_source(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as out:
        streams = [out.add_stream("mpeg4", rate=25) for _ in range(2)]
        for stream in streams:
            stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        for index, image in enumerate(moving(4)):
            for stream in streams:
                frame = av.VideoFrame.from_ndarray(image, format="bgr24").reformat(format="yuv420p")
                frame.pts = index
                out.mux(stream.encode(frame))
        for stream in streams:
            out.mux(stream.encode(None))
    with open_source(path) as source:
        assert len(list(source)) == 4
        assert not source.problems
        assert source.notes == [f"{path}: other streams (video) are not copied: 1"]


@pytest.mark.parametrize(("suffix", "declared"), [(".mp4", 25), (".avi", 25), (".mkv", None), (".ts", None)])
def test_how_many_frames_to_expect(suffix: str, declared: int | None, tmp_path: Path) -> None:
    path = make_clip(tmp_path / f"a{suffix}", "mpeg4")
    _, reader = read(path)
    assert reader.declared_frames == declared
    assert reader.estimated_frames is not None
    assert abs(reader.estimated_frames - 25) <= 1
    with open_source(path) as source:
        assert (source.total, source.estimate) == (declared, reader.estimated_frames)


def test_an_impossible_frame_rate_is_not_believed(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.avi", "mpeg4")
    data = bytearray(path.read_bytes())
    at = data.index(b"strh") + 8 + 20  # ticks of the clock per frame
    data[at : at + 4] = (0x10000001).to_bytes(4, "little")
    path.write_bytes(data)
    frames, reader = read(path)
    assert (reader.frame_rate, len(frames)) == (25, 25)


class _Rational:
    """How PyAV 19 gives rational numbers: never None, perhaps without a value."""

    def __init__(self, numerator: int, denominator: int) -> None:
        self.numerator, self.denominator = numerator, denominator


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (Fraction(30000, 1001), Fraction(30000, 1001)),
        (_Rational(30000, 1001), Fraction(30000, 1001)),
        (_Rational(0, 1), None),
        (_Rational(0, 0), None),
        (_Rational(1, 0), None),
    ],
)
def test_rational_numbers_of_every_pyav(value: object, expected: Fraction | None) -> None:
    assert fraction(value) == expected
