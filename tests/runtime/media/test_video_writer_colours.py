"""Colours, pixel shapes and sizes of written videos: nothing gets darker, wider or a wrong excuse."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ce2p_runtime.errors import MediaError
from ce2p_runtime.media.video import LabelVideoWriter, VideoReader, VideoWriter
from ce2p_runtime.media.video_writer import bgr_to_yuv420

av = pytest.importorskip("av")

# ITU-R BT.709, limited range: Y', Cb, Cr of (B, G, R) in 0..255.
LUMA = np.array([0.0722, 0.7152, 0.2126])
TO_YUV = np.stack(
    [
        LUMA * 219 / 255,
        (np.array([1, 0, 0]) - LUMA) / (2 * (1 - 0.0722)) * 224 / 255,
        (np.array([0, 0, 1]) - LUMA) / (2 * (1 - 0.2126)) * 224 / 255,
    ]
)
OFFSET = np.array([16, 128, 128])


def ramps(height: int = 64) -> NDArray[np.uint8]:
    """Steps of every level, 2 pixels each: grey, then each channel by itself; uint8 BGR [H, 512, 3]."""
    image = np.zeros((height, 512, 3), np.uint8)
    level = np.repeat(np.arange(256, dtype=np.uint8), 2)
    bands = np.array_split(np.arange(height // 2) * 2, 4)
    for band, channels in zip(bands, ([0, 1, 2], [0], [1], [2]), strict=True):
        for channel in channels:
            image[band[0] : band[-1] + 2, :, channel] = level
    return image


def test_planes_are_the_standards_rounded() -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    planes = bgr_to_yuv420(image).astype(float)
    exact = image @ TO_YUV.T + OFFSET
    # Rounding is half a level; OpenCV's coefficients have 10 bits, which is 3 * 255 / 2 / 1024 at most.
    assert np.abs(planes[:64] - exact[..., 0]).max() < 0.5 + 0.38
    chroma = exact[..., 1:].reshape(32, 2, 48, 2, 2).mean((1, 3))
    written = planes[64:].reshape(2, 32, 48)
    assert np.abs(written - np.moveaxis(chroma, 2, 0)).max() < 1.0 + 0.38  # rounded twice
    assert abs((planes[:64] - exact[..., 0]).mean()) < 0.1


@pytest.mark.parametrize("channel", [0, 1, 2])
def test_grey_ramps_neither_darken_nor_brighten(channel: int, tmp_path: Path) -> None:
    image = np.repeat(np.repeat(np.arange(256, dtype=np.uint8), 2)[None, :, None], 32, 0).repeat(3, 2)
    with VideoWriter(tmp_path / "a.mp4", 25, image.shape[:2]) as writer:
        for index in range(3):
            writer.write(image, index, Fraction(1, 25))
    with av.open(str(tmp_path / "a.mp4")) as container:
        planes = [frame.to_ndarray(format="yuv420p") for frame in container.decode(video=0)]
    decoded = np.stack([_bgr(plane, image.shape[0]) for plane in planes])[..., channel]
    assert abs((decoded - image[..., channel]).mean()) < 0.5


def test_colours_keep_their_mean_level(tmp_path: Path) -> None:
    image = ramps()
    decoded = _bgr(bgr_to_yuv420(image), image.shape[0])
    inside = np.abs(decoded - image).max(axis=2) < 8  # colours that 4:2:0 with rounding can hold
    assert inside.mean() > 0.95
    assert np.abs((decoded - image)[inside].mean(axis=0)).max() < 0.5


def _bgr(planes: NDArray[np.uint8], height: int) -> NDArray[np.float64]:
    """BGR [H, W, 3] of the planes of a 4:2:0 picture, by the standard's formula in floating point."""
    width = planes.shape[1]
    chroma = planes[height:].reshape(2, height // 2, width // 2).repeat(2, 1).repeat(2, 2)
    yuv = np.stack([planes[:height], *chroma], axis=-1).astype(float)
    return np.clip((yuv - OFFSET) @ np.linalg.inv(TO_YUV).T, 0, 255)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_the_shape_of_pixels_is_carried_on(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    with VideoWriter(path, 25, (576, 720), sample_aspect_ratio=Fraction(16, 15)) as writer:
        writer.write(np.zeros((576, 720, 3), np.uint8), 0, Fraction(1, 25))
    assert writer.aspect_note is None
    with VideoReader(path) as reader:
        assert reader.sample_aspect_ratio == Fraction(16, 15)


def test_where_the_shape_of_pixels_cannot_be_written_that_is_said(tmp_path: Path) -> None:
    narrow = VideoWriter(tmp_path / "a.webm", 25, (576, 720), sample_aspect_ratio=Fraction(16, 15))
    assert "16:15" in str(narrow.aspect_note)
    assert VideoWriter(tmp_path / "a.webm", 25, (576, 720)).aspect_note is None


@pytest.mark.parametrize(("size", "found"), [((4, 20000), "20000x4"), ((16386, 2), "2x16386")])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_size_beyond_the_codec_is_refused_at_once_by_its_limit(
    suffix: str, size: tuple[int, int], found: str, tmp_path: Path
) -> None:
    with pytest.raises(MediaError, match=f"H.264 takes at most 16384 pixels per side.*{found}.*scale"):
        VideoWriter(tmp_path / f"a{suffix}", 25, size)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", [(2, 16380), (4, 20000), (400, 2), (2000, 31), (1, 1), (1, 400), (2100, 2100)])
def test_labels_of_odd_sizes_are_exact(size: tuple[int, int], tmp_path: Path) -> None:
    labels = (np.arange(size[0] * size[1]) // 7 % 20).reshape(size).astype(np.uint8)
    with LabelVideoWriter(tmp_path / "a.mkv", 25, size) as writer:
        writer.write(labels, 0, Fraction(1, 25))
    with VideoReader(tmp_path / "a.mkv", labels=True) as reader:
        assert [np.array_equal(frame.image, labels) for frame in reader] == [True]


def test_labels_that_ffv1_cannot_hold_are_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="FFV1 cannot hold label maps of 1x400"):
        LabelVideoWriter(tmp_path / "a.mkv", 25, (400, 1))


def test_a_complete_file_takes_no_frame_and_its_name_at_the_end(tmp_path: Path) -> None:
    path, image = tmp_path / "a.mp4", np.zeros((32, 32, 3), np.uint8)
    with VideoWriter(path, 25, (32, 32)) as writer:
        writer.write(image, 0, Fraction(1, 25))
        writer.complete()
        writer.complete()
        assert not path.exists()
        with pytest.raises(ValueError, match="complete"):
            writer.write(image, 1, Fraction(1, 25))
    with VideoReader(path) as reader:
        assert len(list(reader)) == 1


WRITE = """
import resource, signal, sys
import numpy as np
from fractions import Fraction
from ce2p_runtime.media.video import VideoWriter
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
chance = np.random.default_rng(0)
try:
    with VideoWriter(sys.argv[1], 25, (240, 320)) as writer:
        for index in range(40):
            writer.write(chance.integers(0, 256, (240, 320, 3), dtype=np.uint8), index, Fraction(1, 25))
except Exception as error:
    print(f"{type(error).__name__}: {error}")
"""


def test_a_full_place_is_still_called_one(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WRITE, str(tmp_path / "a.mp4")], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("MediaError")
    assert "File too large" in done.stdout
    assert "check the free space" in done.stdout
    assert list(tmp_path.iterdir()) == []
