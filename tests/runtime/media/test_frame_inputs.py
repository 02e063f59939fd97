"""What people give to a parser: arrays of either order, PIL images, paths, bytes, streams, one or several."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from ce2p_runtime import HumanParser, MediaError, ParsingResult
from ce2p_runtime.media.frame_inputs import FrameInputs
from tests.hostile.picture_files import small_photograph

BGR = small_photograph()
RGB = np.ascontiguousarray(BGR[:, :, ::-1])
PNG = cv2.imencode(".png", BGR)[1].tobytes()


@pytest.fixture(scope="module")
def parser(tiny_model: Path) -> Iterator[HumanParser]:
    with HumanParser(tiny_model, backend="onnxruntime", keep_frames=True) as opened:
        yield opened


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("picture") / "a.png"
    path.write_bytes(PNG)
    return path


def _taken(value: Any, **settings: Any) -> np.ndarray:
    return FrameInputs(**settings).take(value).image


def test_every_way_to_give_one_picture_gives_the_same_pixels(file: Path) -> None:
    with file.open("rb") as stream:
        given = [
            BGR,
            Image.fromarray(RGB),
            str(file),
            file,
            PNG,
            bytearray(PNG),
            memoryview(PNG),
            io.BytesIO(PNG),
            stream,
        ]
        assert all(np.array_equal(_taken(value), BGR) for value in given)
    assert np.array_equal(_taken(RGB, order="rgb"), BGR)
    assert np.array_equal(_taken(Image.fromarray(RGB), order="rgb"), BGR)  # an image knows its order
    assert np.array_equal(_taken(file, order="rgb"), BGR)


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "CMYK", "YCbCr", "HSV"])
def test_pil_images_of_every_mode(mode: str) -> None:
    image = Image.fromarray(RGB).convert(mode)
    assert np.array_equal(_taken(image), np.asarray(image.convert("RGB"))[:, :, ::-1])


def test_pil_images_of_16_bits() -> None:
    deep = Image.fromarray(RGB[:, :, 0].astype(np.uint16) * 256)
    assert np.array_equal(_taken(deep)[:, :, 1], RGB[:, :, 0])


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_pil_images_are_laid_over_the_background(mode: str) -> None:
    image = Image.new(mode, (6, 4))
    if mode == "P":
        image.info["transparency"] = 0
    taken = FrameInputs(background=(10, 20, 30)).take(image)
    assert (taken.image == (30, 20, 10)).all()
    assert taken.notes == ("PIL image: what is transparent is laid over RGB 10, 20, 30",)


def test_grey_arrays_and_arrays_with_opacity() -> None:
    grey = BGR[:, :, 1]
    assert np.array_equal(_taken(grey), np.dstack([grey] * 3))
    half = np.dstack([np.full((4, 5, 3), (200, 100, 0), np.uint8), np.full((4, 5), 51, np.uint8)])  # a fifth
    assert (_taken(half, background=(0, 0, 0)) == (40, 20, 0)).all()
    assert (_taken(half, background=(0, 0, 0), order="rgb") == (0, 20, 40)).all()


class _OnGpu:
    """Says what arrays on a GPU say."""

    __cuda_array_interface__ = {"shape": (4, 4, 3), "typestr": "|u1", "data": (1, False), "version": 3}  # noqa: RUF012


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (np.zeros((4, 4, 3), np.float32), r"float32 \[4, 4, 3\].*\(frame \* 255\)"),
        (np.zeros((3, 40, 50), np.uint8), r"transpose\(1, 2, 0\)"),
        (np.zeros((2, 4, 4, 3), np.uint8), "parse_batch"),
        (np.zeros((4, 4, 2), np.uint8), r"\[H, W, 3\]"),
        (np.zeros((0, 4, 3), np.uint8), "at least one pixel"),
        ([BGR, BGR], "a frame is list.*parse_batch or stream"),
        (None, "a frame is NoneType, expected an array, a PIL image, a path"),
        (io.StringIO("x"), "stream of str.*'rb'"),
        (Image.new("F", (4, 4)), "mode F.*convert it"),
    ],
    ids=["float", "colours first", "several", "two colours", "empty", "list", "None", "text stream", "mode F"],
)
def test_what_is_no_frame_is_refused_with_a_cure(parser: HumanParser, value: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parser(value)


def test_files_that_are_no_pictures_are_media_errors(parser: HumanParser, tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"missing\.png: no such file"):
        parser(tmp_path / "missing.png")
    with pytest.raises(MediaError, match=r"http://127\.0\.0\.1/a\.png: is a URL"):
        parser("http://127.0.0.1/a.png")
    with pytest.raises(MediaError, match="picture given as bytes: is a text file"):
        parser(b"no picture")
    with pytest.raises(MediaError, match="PIL image: cannot be decoded"), Image.open(io.BytesIO(PNG[:-900])) as cut:
        parser(cut)
    with pytest.raises(MediaError, match="PIL image: has 96x80 pixels"):
        FrameInputs(max_pixels=100).take(Image.fromarray(RGB))


def test_settings_that_mean_nothing_are_refused(tiny_model: Path) -> None:
    for settings, words in (
        ({"order": "RGB"}, "order is 'RGB', expected 'bgr'"),
        ({"background": (0, 0, 256)}, "from 0 to 255"),
        ({"max_pixels": 0}, "max_pixels is 0"),
    ):
        with pytest.raises(ValueError, match=words):
            HumanParser(tiny_model, **settings)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="a frame on a GPU must be BGR"):
        FrameInputs(order="rgb").take(_OnGpu())
    assert isinstance(FrameInputs().take(_OnGpu()).image, _OnGpu)


def test_several_frames_of_all_kinds_in_one_stream(parser: HumanParser, file: Path) -> None:
    expected = parser(BGR).labels
    results = list(parser.stream(value for value in (BGR, Image.fromarray(RGB), str(file), file, PNG)))
    assert all(np.array_equal(result.labels, expected) for result in results)
    assert [result.source for result in results] == [None, None, file, file, None]
    stacked = parser.parse_batch(np.stack([BGR, BGR]))
    assert [np.array_equal(result.labels, expected) for result in stacked] == [True, True]


@pytest.mark.parametrize("one", [BGR, PNG, Image.fromarray(RGB), io.BytesIO(PNG)], ids=lambda one: type(one).__name__)
def test_one_frame_where_several_are_expected_is_refused(parser: HumanParser, one: Any) -> None:
    with pytest.raises(ValueError, match="put it into a list"):
        parser.parse_batch(one)
    with pytest.raises(ValueError, match="put it into a list"):
        next(parser.stream(one))


def test_what_came_before_a_bad_frame_is_parsed(tiny_model: Path) -> None:
    kept: list[ParsingResult] = []
    with HumanParser(tiny_model, backend="onnxruntime", batch=2) as two, pytest.raises(MediaError, match="a text file"):
        kept.extend(two.stream([BGR, BGR, BGR, b"no picture", BGR]))
    assert len(kept) == 3


def test_frames_are_kept_on_request_in_the_callers_order(tiny_model: Path, parser: HumanParser, file: Path) -> None:
    bgr = parser(BGR)
    assert bgr.frame is BGR
    assert bgr.order == "bgr"
    with HumanParser(tiny_model, backend="onnxruntime", order="rgb", keep_frames=True) as opened:
        for rgb in (opened(RGB), *opened.stream(file)):
            assert rgb.frame is not None
            assert np.array_equal(rgb.frame, RGB)
            assert np.array_equal(rgb.labels, bgr.labels)
            assert np.array_equal(rgb.overlay()[:, :, ::-1], bgr.overlay())
            assert np.array_equal(rgb.colours()[:, :, ::-1], bgr.colours())
            saved = cv2.imread(str(rgb.save_overlay(file.with_name("overlay.png"))))
            assert np.array_equal(saved, bgr.overlay())
    with HumanParser(tiny_model, backend="onnxruntime") as plain:
        assert plain(BGR).frame is None
        with pytest.raises(ValueError, match="keep_frames=True"):
            plain(BGR).overlay()


def test_results_say_what_was_done_to_the_picture(parser: HumanParser, tmp_path: Path) -> None:
    path = tmp_path / "logo.png"
    Image.new("RGBA", (30, 40)).save(path)
    note = f"{path}: what is transparent is laid over RGB 255, 255, 255"
    assert parser(path).notes == (note,)
    assert [result.notes for result in parser.stream(tmp_path)] == [(note,)]


def test_pillow_is_not_loaded_where_nobody_uses_it(tiny_model: Path) -> None:
    code = (
        "import sys; import numpy as np; from ce2p_runtime import HumanParser\n"
        f"HumanParser({str(tiny_model)!r}, backend='onnxruntime')(np.zeros((9, 9, 3), np.uint8))\n"
        "assert not {'PIL', 'torch'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
