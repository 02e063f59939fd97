"""Pictures and annotations as they are found: what is read exactly, what is refused, and in which words."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from ce2p.data.annotations import exif_orientation, read_ids, read_image, read_labels
from ce2p.errors import DataError
from tests.data.folders import annotation, picture, raw_png, stripes

IDS = np.arange(120, dtype=np.uint8).reshape(12, 10)


def test_grey_and_palette_annotations_give_the_same_ids_where_opencv_gives_colours(tmp_path: Path) -> None:
    grey = annotation(tmp_path / "grey.png", IDS)
    palette = annotation(tmp_path / "palette.png", IDS, palette=True)
    for path in (grey, palette):
        labels = read_labels(path)
        assert labels.dtype == np.uint8
        assert labels.flags.writeable
        np.testing.assert_array_equal(labels, IDS)
    # The trap this guards against: the published loaders' call does not give the ids of a palette PNG.
    assert not np.array_equal(cv2.imread(str(palette), cv2.IMREAD_GRAYSCALE), IDS)
    np.testing.assert_array_equal(read_ids(palette), IDS)


@pytest.mark.parametrize("depth", [1, 2, 4])
@pytest.mark.parametrize("colour_type", [0, 3])
def test_annotations_of_less_than_eight_bits_are_not_stretched(tmp_path: Path, depth: int, colour_type: int) -> None:
    ids = IDS % 2**depth
    path = tmp_path / "few.png"
    path.write_bytes(raw_png(ids, depth, colour_type))
    np.testing.assert_array_equal(read_labels(path), ids)


def test_rgb_annotations_are_read_only_where_each_pixel_holds_one_number(tmp_path: Path) -> None:
    equal = annotation(tmp_path / "equal.png", np.dstack([IDS] * 3))
    np.testing.assert_array_equal(read_labels(equal), IDS)
    for channel in range(3):
        values = np.dstack([IDS] * 3)
        values[3, 4, channel] += 1
        path = annotation(tmp_path / f"colours{channel}.png", values)
        with pytest.raises(DataError, match="holds colours, expected one id per pixel") as caught:
            read_labels(path)
        assert str(path) in str(caught.value)
    transparent = annotation(tmp_path / "rgba.png", np.dstack([IDS] * 4))
    with pytest.raises(DataError, match="holds pixels of kind RGBA with 8 bits, expected one id per pixel"):
        read_labels(transparent)
    deep = tmp_path / "deep.png"  # Pillow keeps the high bytes of such files, which are zeros here
    deep.write_bytes(cv2.imencode(".png", np.dstack([IDS.astype(np.uint16)] * 3))[1].tobytes())
    with pytest.raises(DataError, match="holds pixels of kind RGB with 16 bits, expected one id per pixel"):
        read_labels(deep)


def test_16_bit_ids_are_read_and_16_bit_labels_refused(tmp_path: Path) -> None:
    wide = np.arange(120, dtype=np.uint16).reshape(12, 10) * 500
    path = annotation(tmp_path / "wide.png", wide)
    ids = read_ids(path)
    assert ids.dtype == np.int32
    np.testing.assert_array_equal(ids, wide)
    with pytest.raises(DataError, match="16-bit PNG, expected 8 bits"):
        read_labels(path)


def test_a_jpeg_is_no_annotation_whatever_it_is_called(tmp_path: Path) -> None:
    path = tmp_path / "labels.png"
    path.write_bytes(cv2.imencode(".jpg", stripes(0, 1, 2))[1].tobytes())
    with pytest.raises(DataError, match=r"labels\.png: is a JPEG, whose compression changes ids; expected a grey"):
        read_labels(path)
    path.write_bytes(b"GIF89a" + bytes(40))
    with pytest.raises(DataError, match=r"labels\.png: is no PNG; expected"):
        read_labels(path)


@pytest.mark.parametrize("reader", [read_image, read_labels, read_ids])
def test_files_that_are_missing_empty_or_folders_are_named(tmp_path: Path, reader: object) -> None:
    assert callable(reader)
    with pytest.raises(DataError, match=r"gone\.png: no such file, expected a"):
        reader(tmp_path / "gone.png")
    (tmp_path / "empty.png").touch()
    with pytest.raises(DataError, match=r"empty\.png: is empty, expected a"):
        reader(tmp_path / "empty.png")
    with pytest.raises(DataError, match=r"cannot be read \(Is a directory\)"):
        reader(tmp_path)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_every_cut_is_noticed(tmp_path: Path, suffix: str, share: float) -> None:
    path = tmp_path / f"cut{suffix}"
    picture(path, (60, 80))
    data = path.read_bytes()
    path.write_bytes(data[: min(int(len(data) * share), len(data) - 1)])
    with pytest.raises(DataError, match=rf"cut\{suffix}: is cut short"):
        read_image(path)
    if suffix == ".png":
        with pytest.raises(DataError, match="is cut short"):
            read_labels(path)


def test_the_end_of_a_thumbnail_is_not_the_end_of_the_picture(tmp_path: Path) -> None:
    thumbnail, whole = io.BytesIO(), io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(noise[:8, :8]).save(thumbnail, "JPEG")
    header = b"Exif\0\0" + thumbnail.getvalue()
    Image.fromarray(noise).save(whole, "JPEG", exif=header)
    path = tmp_path / "photo.jpg"
    path.write_bytes(whole.getvalue() + bytes(10))  # cameras append things
    assert read_image(path).shape == (40, 40, 3)
    path.write_bytes(whole.getvalue()[:-100])
    with pytest.raises(DataError, match="is cut short"):
        read_image(path)


def test_damage_inside_is_noticed(tmp_path: Path) -> None:
    path = annotation(tmp_path / "damaged.png", np.random.default_rng(0).integers(0, 20, (60, 60), dtype=np.uint8))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(bytes(data))
    with pytest.raises(DataError, match=r"damaged\.png: is damaged .*copy or download it again"):
        read_labels(path)
    text = tmp_path / "page.jpg"
    text.write_text("<html>404</html>")
    with pytest.raises(DataError, match=r"page\.jpg: cannot be decoded, expected a JPEG or PNG picture"):
        read_image(text)


def test_pictures_come_as_bgr_under_any_name(tmp_path: Path) -> None:
    path = tmp_path / "Größe 人.png"
    pixels = picture(path)
    np.testing.assert_array_equal(read_image(path), pixels)
    grey = tmp_path / "grey.png"
    annotation(grey, IDS)
    np.testing.assert_array_equal(read_image(grey), np.dstack([IDS] * 3))


def test_pictures_are_turned_upright_as_the_published_loaders_do(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera lay on its side: rows are columns
    path = tmp_path / "turned.jpg"
    Image.fromarray(np.zeros((12, 10, 3), np.uint8)).save(path, exif=exif)
    assert read_image(path).shape == (10, 12, 3)
    assert read_image(path).shape == cv2.imread(str(path)).shape
    assert exif_orientation(path) == 6
    picture(tmp_path / "plain.jpg")
    assert exif_orientation(tmp_path / "plain.jpg") == 1
    (tmp_path / "page.jpg").write_text("<html>404</html>")
    assert exif_orientation(tmp_path / "page.jpg") == 1
    exif[0x0112] = 9
    Image.fromarray(np.zeros((12, 10, 3), np.uint8)).save(path, exif=exif)
    assert exif_orientation(path) == 1
    assert read_image(path).shape == (12, 10, 3)


# --- files of strangers ---


def png_of(width: int, height: int) -> bytes:
    """A grey PNG whose pixels take a thousandth of their number in bytes."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compressobj(9)
    data = b"".join(rows.compress(bytes(width + 1)) for _ in range(height)) + rows.flush()
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.mark.parametrize("reader", [read_image, read_labels, read_ids])
def test_a_small_file_that_unfolds_to_gigabytes_is_refused_unread(tmp_path: Path, reader: object) -> None:
    assert callable(reader)
    path = tmp_path / "bomb.png"
    path.write_bytes(png_of(10_000, 5_001))
    assert path.stat().st_size < 200_000
    with pytest.raises(
        DataError, match=r"bomb\.png: has 10000x5001 pixels, expected at most 50,000,000; make it smaller"
    ):
        reader(path)


def test_a_jpeg_too_large_to_decode_is_refused_by_its_header(tmp_path: Path) -> None:
    data = bytearray(cv2.imencode(".jpg", np.zeros((16, 16, 3), np.uint8))[1].tobytes())
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", 9000, 9000)
    (tmp_path / "large.jpg").write_bytes(data)
    with pytest.raises(DataError, match=r"large\.jpg: has 9000x9000 pixels"):
        read_image(tmp_path / "large.jpg")


def test_a_jpeg_of_endless_scans_is_refused(tmp_path: Path) -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    picture.save(tmp_path / "scans.jpg", progressive=True)
    assert read_image(tmp_path / "scans.jpg").shape == (64, 64, 3)
    data = (tmp_path / "scans.jpg").read_bytes()
    last = data.rindex(b"\xff\xda")
    (tmp_path / "scans.jpg").write_bytes(data[:last] + data[last:-2] * 101 + data[-2:])
    with pytest.raises(DataError, match=r"scans\.jpg: is a JPEG of more than 100 scans"):
        read_image(tmp_path / "scans.jpg")


@pytest.mark.parametrize("reader", [read_image, read_labels, read_ids])
def test_pipes_and_devices_are_refused_without_waiting(tmp_path: Path, reader: object) -> None:
    assert callable(reader)
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    for name in ("pipe.png", "zero.png"):
        with pytest.raises(DataError, match=rf"{name}: is a device or pipe, expected a"):
            reader(tmp_path / name)
