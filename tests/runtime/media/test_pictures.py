"""Pictures that are read, and the many things called .jpg that are refused with a line that says why."""

import os
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from ce2p_runtime.errors import MediaError
from ce2p_runtime.media import pictures
from ce2p_runtime.media.picture_headers import missing_part, picture_size
from ce2p_runtime.media.pictures import find_pictures, read_picture, source_kind

SUFFIXES = (".jpg", ".png", ".webp", ".bmp", ".tiff")


def _picture(height: int = 60, width: int = 90) -> np.ndarray:
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 2)


def _encoded(suffix: str, image: np.ndarray | None = None, *options: int) -> bytes:
    return cv2.imencode(suffix, _picture() if image is None else image, options)[1].tobytes()


def _refused(path: Path, *words: str) -> None:
    """`read_picture` gives one line that names the file and says `words`."""
    with pytest.raises(MediaError) as caught:
        read_picture(path)
    text = str(caught.value)
    assert "\n" not in text
    for word in (str(path), *words):
        assert word in text


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_pictures_are_read_as_imread_does(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"übung 1{suffix}"
    path.write_bytes(_encoded(suffix))
    read = read_picture(path)
    assert read.dtype == np.uint8
    assert np.array_equal(read, cv2.imread(str(path), cv2.IMREAD_COLOR))
    assert picture_size(path.read_bytes()) == (60, 90)


@pytest.mark.parametrize(
    ("suffix", "image", "options"),
    [
        (".png", np.full((4, 5), 200, np.uint8), ()),
        (".png", np.full((4, 5), 40000, np.uint16), ()),
        (".png", np.full((4, 5, 4), 99, np.uint8), ()),
        (".jpg", np.full((33, 5), 7, np.uint8), (cv2.IMWRITE_JPEG_PROGRESSIVE, 1)),
        (".jpg", _picture(64, 64), (cv2.IMWRITE_JPEG_RST_INTERVAL, 1)),
        (".webp", _picture(1, 300), (cv2.IMWRITE_WEBP_QUALITY, 101)),
    ],
)
def test_other_kinds_of_pixels(suffix: str, image: np.ndarray, options: tuple[int, ...], tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(_encoded(suffix, image, *options))
    assert read_picture(path).shape == (*image.shape[:2], 3)


def _with_exif(jpeg: bytes, orientation: int) -> bytes:
    # A TIFF header with one entry (orientation), and a whole JPEG as its thumbnail, end marker included.
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01" + struct.pack(">HH", orientation, 0) + bytes(4)
    exif += _encoded(".jpg", _picture(8, 8))
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:]


def test_exif_orientation_turns_the_picture(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(_encoded(".jpg"))
    plain = read_picture(path)
    path.write_bytes(_with_exif(_encoded(".jpg"), 6))
    assert np.array_equal(read_picture(path), cv2.rotate(plain, cv2.ROTATE_90_CLOCKWISE))


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("share", [0.3, 0.5, 0.9, 0.999])
def test_cut_pictures_are_refused(suffix: str, share: float, tmp_path: Path) -> None:
    data = _encoded(suffix)
    path = tmp_path / f"a{suffix}"
    path.write_bytes(data[: min(int(len(data) * share), len(data) - 2)])
    _refused(path, "damaged")


def test_the_end_of_a_thumbnail_is_not_the_end_of_a_jpeg(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    data = _with_exif(_encoded(".jpg"), 1)
    assert missing_part(data) is None
    assert missing_part(data + b"appended by a phone") is None
    path.write_bytes(data[:-600])
    _refused(path, "end marker is missing")
    # What interrupted downloads leave where the space was reserved beforehand.
    path.write_bytes(data[:-600] + bytes(600))
    _refused(path, "end marker is missing")


def test_a_flipped_byte_in_a_png_is_found(tmp_path: Path) -> None:
    data = bytearray(_encoded(".png"))
    data[len(data) // 2] ^= 1
    path = tmp_path / "a.png"
    path.write_bytes(data)
    _refused(path, "checksum", "IDAT")


def test_fill_bytes_in_front_of_markers_are_stepped_over() -> None:
    jpeg = _encoded(".jpg")
    filled = jpeg.replace(b"\xff\xda", b"\xff\xff\xff\xda", 1).replace(b"\xff\xc0", b"\xff\xff\xc0", 1)
    assert missing_part(filled) is None
    assert picture_size(filled) == (60, 90)
    assert missing_part(jpeg[:-2] + b"\xff" * 200_000 + b"\0") == "its end marker is missing"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", ("is empty", "0 bytes")),
        (b"<!DOCTYPE html><html><body>Sign in</body></html>", ("HTML page",)),
        (b"  \n<html lang=en>", ("HTML page",)),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", ("Git-LFS pointer", "git lfs pull")),
        ("kein Bild, nur Wörter\n".encode(), ("a text file",)),
        (b"\0\0\0\x20ftypisom\0\0\2\0isomiso2", ("MP4 video", "as a video")),
        (b"\x1a\x45\xdf\xa3\x9f\x42", ("Matroska",)),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", ("HEIC", "convert it")),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", ("HEIC",)),
        (b"\0\0\0\x18ftypavis\0\0\0\0avifavis", ("AVIF animation",)),
        (b"\xff\x0a\xfa\x1f", ("JPEG XL",)),
        (b"PK\x03\x04\x14\0\0\0", ("ZIP",)),
        (b"<?xml version='1.0'?><svg xmlns='x'/>", ("SVG",)),
        (bytes(range(128, 148)), ("unknown data", "80 81 82")),
        (b"\xff\xd8\xff\xe0", ("no picture size",)),
        (b"\x89PNG\r\n\x1a\n", ("no picture size",)),
    ],
)
def test_what_is_no_picture_is_named(content: bytes, words: tuple[str, ...], tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    _refused(path, *words)


def test_names_that_are_no_files(tmp_path: Path) -> None:
    _refused(tmp_path / "missing.png", "no such file")
    _refused(tmp_path, "is a folder")
    with pytest.raises(MediaError, match="is a URL"):
        read_picture("http://127.0.0.1/a.png")
    with pytest.raises(MediaError):
        read_picture("a\0b.png")


def _png_bomb(side: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    pixels = zlib.compress(bytes(64), 9)
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def _announcing(suffix: str, side: int) -> bytes:
    """A small picture file whose header is changed to announce `side` x `side` pixels."""
    if suffix == ".gif":  # OpenCV 4.10 cannot write it; what comes after the header does not matter here
        return b"GIF89a" + struct.pack("<HH", side, side) + b"\0\0\0;"
    options = (cv2.IMWRITE_WEBP_QUALITY, 80) if suffix == ".lossy.webp" else ()
    data = bytearray(_encoded("." + suffix.rsplit(".")[-1], None, *options))
    if suffix == ".jpg":
        at = data.index(b"\xff\xc0")
        data[at + 5 : at + 9] = struct.pack(">HH", side, side)
    elif suffix == ".bmp":
        data[18:26] = struct.pack("<ii", side, -side)
    elif suffix == ".webp":  # lossless by default
        data[21:25] = struct.pack("<I", side - 1 | side - 1 << 14)
    elif suffix == ".lossy.webp":
        data[26:30] = struct.pack("<HH", side, side)
    elif suffix == ".tiff":
        order = "<" if data[:2] == b"II" else ">"
        (table,) = struct.unpack_from(order + "I", data, 4)
        for entry in range(table + 2, table + 2 + 12 * struct.unpack_from(order + "H", data, table)[0], 12):
            tag, kind = struct.unpack_from(order + "HH", data, entry)
            if tag in (256, 257):
                struct.pack_into(order + ("H" if kind == 3 else "I"), data, entry + 8, side)
    return bytes(data)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".lossy.webp", ".bmp", ".tiff", ".gif"])
def test_bombs_are_refused_before_decoding(suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def decoder(*_: object) -> None:
        raise AssertionError("the decoder was started")

    path = tmp_path / f"bomb{suffix}"
    path.write_bytes(_png_bomb(14_000) if suffix == ".png" else _announcing(suffix, 14_000))
    monkeypatch.setattr(pictures.cv2, "imdecode", decoder)
    _refused(path, "14000x14000", "196 megapixels", "at most 50")


def test_folders_are_listed_in_natural_order(tmp_path: Path) -> None:
    for name in ("b10.png", "b9.PNG", "a2.jpg", ".hidden.png", "._b9.png", "notes.txt", "sub.png/inner.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert [path.name for path in find_pictures(tmp_path)] == ["a2.jpg", "b9.PNG", "b10.png", "inner.png"]
    assert [path.name for path in find_pictures(f"{tmp_path}/*")] == ["a2.jpg", "b9.PNG", "b10.png"]
    assert source_kind(tmp_path) == "folder"


def test_patterns(tmp_path: Path) -> None:
    for name in ("x/1.png", "x/y/2.png", "x/y/10.png", "x/y/3.txt", "[1].png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")

    def names(pattern: str) -> list[str]:
        return [path.relative_to(tmp_path).as_posix() for path in find_pictures(f"{tmp_path}/{pattern}")]

    assert names("x/**/*") == ["x/1.png", "x/y/2.png", "x/y/10.png"]
    assert names("[1].png") == ["[1].png"]  # a file of that name exists, so it is no pattern
    assert source_kind(f"{tmp_path}/x/*.png") == "glob"
    assert source_kind(f"{tmp_path}/[1].png") == "picture"
    with pytest.raises(MediaError, match="nothing matches"):
        find_pictures(f"{tmp_path}/x/*.webp")
    with pytest.raises(MediaError, match="none of its 1 matches is a picture"):
        find_pictures(f"{tmp_path}/x/y/*.txt")


def test_empty_folders_and_missing_sources_are_explained(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"no pictures in this folder.*\.jpg .*\.webp"):
        find_pictures(tmp_path)
    for function in (find_pictures, source_kind):
        with pytest.raises(MediaError, match="no such file"):
            function(tmp_path / "missing")


def test_kinds_by_suffix_and_by_content(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"x")
    (tmp_path / "photo").write_bytes(_encoded(".png"))
    (tmp_path / "clip").write_bytes(b"\x1a\x45\xdf\xa3rest")
    (tmp_path / "text").write_bytes(b"hello")
    kinds = [source_kind(tmp_path / name) for name in ("a.mp4", "photo", "clip")]
    assert kinds == ["video", "picture", "video"]
    with pytest.raises(MediaError, match="a text file"):
        source_kind(tmp_path / "text")


@pytest.mark.skipif(os.name != "posix", reason="named pipes")
def test_a_pipe_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    _refused(tmp_path / "pipe.png", "device or pipe")
