"""Damaged and oversized picture files: what decoders only say on standard error, and what they would believe."""

from __future__ import annotations

import io
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from ce2p_runtime.errors import MediaError
from ce2p_runtime.media.picture_headers import MAX_JPEG_SCANS, missing_part
from ce2p_runtime.media.pictures import decode_picture, load_picture, read_picture
from tests.hostile.isolated import run_isolated
from tests.hostile.picture_files import many_scans, picture_files, small_photograph, tiff

USUAL = ((256, 10), (257, 10), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, 10), (279, 100))


def _opencv_reads(data: bytes) -> bool:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) is not None


def _zeroed(data: bytes, start: float, length: int) -> bytes:
    """`length` bytes from a place, as a share of the file, set to zero."""
    place = int(len(data) * start)
    return data[:place] + bytes(length) + data[place + length :]


def _cmyk_jpeg() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(small_photograph()).convert("CMYK").save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.mark.parametrize("name", ["JPEG", "JPEG with restart markers", "progressive JPEG", "CMYK"])
def test_what_libjpeg_warns_of_is_a_problem(name: str) -> None:
    data = _zeroed(_cmyk_jpeg() if name == "CMYK" else picture_files()[name], 0.6, 40)
    assert _opencv_reads(data)  # and says it on standard error only
    assert missing_part(data) is None
    with pytest.raises(MediaError, match=r"^walk.jpg: is damaged \(Corrupt JPEG data: .*\); copy or download it again"):
        decode_picture(data, "walk.jpg")


def _pixels(name: str) -> np.ndarray:
    return decode_picture(picture_files()[name], name).image


@pytest.mark.parametrize(("after", "offset", "value"), [(b"JFIF", 5, 9), (b"\xff\xda", 12, 0x10)])
def test_odd_but_whole_jpeg_files_are_read_with_a_note(after: bytes, offset: int, value: int) -> None:
    """A revision of JFIF that does not exist, and parameters that mean nothing in a sequential scan."""
    data = bytearray(picture_files()["JPEG"])
    data[data.index(after) + offset] = value
    picture = decode_picture(bytes(data), "odd.jpg")
    assert np.array_equal(picture.image, _pixels("JPEG"))
    (note,) = picture.notes
    assert note.startswith("odd.jpg: libjpeg warns of its data (")


@pytest.mark.parametrize("name", [name for name in picture_files() if "JPEG" in name and "TIFF" not in name])
def test_jpeg_pixels_are_those_of_opencv(name: str) -> None:
    expected = cv2.imdecode(np.frombuffer(picture_files()[name], np.uint8), cv2.IMREAD_COLOR)
    assert np.array_equal(_pixels(name), expected)


def test_each_thread_hears_of_its_own_damage() -> None:
    whole = picture_files()["JPEG"]
    damaged = _zeroed(whole, 0.6, 40)

    def verdict(number: int) -> str:
        try:
            decode_picture(damaged if number % 3 == 0 else whole, str(number))
        except MediaError as error:
            return str(error).partition(":")[0]
        return "whole"

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(verdict, range(300))) == ["whole" if number % 3 else str(number) for number in range(300)]


@pytest.mark.parametrize("name", ["TIFF, LZW", "TIFF, deflate", "TIFF, JPEG"])
def test_damage_in_compressed_tiff_is_a_problem(name: str) -> None:
    whole = picture_files()[name]
    decoded = decode_picture(whole, "a.tif")
    assert not decoded.notes
    assert np.array_equal(decoded.image, cv2.imdecode(np.frombuffer(whole, np.uint8), cv2.IMREAD_COLOR))
    damaged = _zeroed(whole, 0.5, 60)
    assert _opencv_reads(damaged)
    with pytest.raises(MediaError, match=r"a\.tif: is damaged"):
        decode_picture(damaged, "a.tif")


def test_lzw_that_nobody_can_check_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    (note,) = decode_picture(picture_files()["TIFF, LZW"], "a.tif").notes
    assert note == "a.tif: its compressed pixels were not checked for damage, for which Pillow must be installed"


def test_scans_are_counted_before_they_are_decoded() -> None:
    assert missing_part(many_scans(64, MAX_JPEG_SCANS)) is None
    with pytest.raises(MediaError, match=f"more than {MAX_JPEG_SCANS} scans"):
        decode_picture(many_scans(64, MAX_JPEG_SCANS + 1), "bomb.jpg")


def test_the_tiff_of_these_tests_is_read() -> None:
    picture = decode_picture(tiff(*USUAL, pixels=bytes(range(100))), "a.tif")
    assert np.array_equal(picture.image[..., 1], np.arange(100).reshape(10, 10))


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        (((256, 30000), *USUAL), "tag 256 twice"),
        ((USUAL[0], (256, 30000), *USUAL[1:]), "tag 256 twice"),
        ((USUAL[1], USUAL[0], *USUAL[2:]), "tag 256 out of order"),
        (((254, 1), *USUAL), "only a preview"),
        ((*USUAL[:5], (273, 9000), *USUAL[6:]), "pixels reach to byte 9100"),
        ((*USUAL[:5], *USUAL[6:]), "0 pieces of pixels and 1 lengths"),
        ((*USUAL, (322, 60000), (323, 60000)), "tiles have more than"),
    ],
)
def test_tiff_that_could_be_read_in_two_ways_is_refused(tags: tuple[tuple[int, int], ...], words: str) -> None:
    with pytest.raises(MediaError, match=words):
        decode_picture(tiff(*tags), "a.tif")


def test_a_strip_larger_than_its_place_is_refused() -> None:
    """The pixels of a TIFF file whose strip is a JPEG file of another size than the picture."""
    whole = picture_files()["TIFF, JPEG"]
    lying = whole.replace(b"\xff\xc0\x00\x11\x08", b"\xff\xc0\x00\x11\x08\x75\x30\x75\x30", 1)
    start = lying.index(b"\xff\xc0\x00\x11\x08") + 5
    lying = lying[: start + 4] + lying[start + 8 :]  # 30000 x 30000 instead of what it was
    assert len(lying) == len(whole)
    with pytest.raises(MediaError, match="larger than its place"):
        decode_picture(lying, "a.tif")


def test_more_pixels_are_read_where_they_are_allowed(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(picture_files()["PNG"])
    with pytest.raises(MediaError, match=r"96x80 pixels .* at most 0\.005; make it smaller or allow more"):
        read_picture(path, max_pixels=5000)
    assert load_picture(path, max_pixels=96 * 80).image.shape == (80, 96, 3)


def _read(path: Path) -> tuple[int, ...]:
    return read_picture(path).shape


def test_little_memory_is_enough_for_a_small_picture_and_too_little_is_said(tmp_path: Path) -> None:
    small, large = tmp_path / "small.png", tmp_path / "large.png"
    small.write_bytes(picture_files()["PNG"])
    large.write_bytes(cv2.imencode(".png", np.zeros((6000, 6000), np.uint8))[1].tobytes())
    _, second, third = run_isolated(_read, [small, small, large], memory=200 * 2**20)
    assert (second.kind, second.value) == ("returned", (80, 96, 3))
    assert third.kind == "refused"
    assert "large.png: 6000x6000 pixels do not fit into the memory" in third.value
