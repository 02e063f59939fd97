"""Label maps, their views and their files; the palette PNG is read back by Pillow and OpenCV."""

import dataclasses
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from ce2p_runtime.base.files import atomic_path
from ce2p_runtime.errors import MediaError
from ce2p_runtime.media.png import encode_png, read_labels, write_png
from ce2p_runtime.result import ParsingResult

NAMES = ("Background", "Hat", "Upper-clothes", "../evil\x1b[31m\nname")
PALETTE = ((0, 0, 0), (128, 0, 0), (10, 20, 30), (255, 254, 253))


def _result(labels: np.ndarray) -> ParsingResult:
    return ParsingResult(labels.astype(np.uint8), NAMES, PALETTE, source=Path("a.png"), frame_index=3, time=0.12)


@pytest.fixture
def result() -> ParsingResult:
    labels = np.zeros((7, 11), np.uint8)
    labels[1:3, 2:5], labels[4:, 6:], labels[0, 0] = 1, 2, 3
    return _result(labels)


def test_colours_are_the_palette_in_bgr(result: ParsingResult) -> None:
    colours = result.colours()
    assert colours.dtype == np.uint8
    for index, (red, green, blue) in enumerate(PALETTE):
        assert (colours[result.labels == index] == (blue, green, red)).all()


def test_ids_without_a_class_are_black_and_named(result: ParsingResult) -> None:
    odd = _result(np.array([[0, 1], [255, 255]]))
    assert (odd.colours()[1] == 0).all()
    assert odd.present() == {"Background": 1, "Hat": 1, "class 255": 2}


def test_overlay_leaves_background_alone_and_blends_the_rest(result: ParsingResult) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (7, 11, 3), dtype=np.uint8)
    before = frame.copy()
    overlay = result.overlay(frame, 0.25)
    inside = result.labels > 0
    assert np.array_equal(overlay[~inside], frame[~inside])
    expected = 0.75 * frame[inside] + 0.25 * result.colours()[inside]
    assert np.abs(overlay[inside] - expected).max() <= 0.51
    assert np.array_equal(frame, before)
    assert np.array_equal(result.overlay(frame, 0), frame)
    assert np.array_equal(result.overlay(frame, 1)[inside], result.colours()[inside])


@pytest.mark.parametrize(
    "person", [slice(0, 0), slice(0, 40), slice(7, 9), slice(39, 40)], ids=["nobody", "everywhere", "some", "a corner"]
)
@pytest.mark.parametrize("width", [2, 50])
def test_overlay_is_that_of_the_whole_frame_bit_by_bit(person: slice, width: int) -> None:
    draw = np.random.default_rng(1)
    labels = np.zeros((40, width), np.uint8)
    labels[person, width // 2 :] = draw.integers(0, 4, labels[person, width // 2 :].shape)
    labels[person, -1] = 200  # without a class: black
    result, frame = _result(labels), draw.integers(0, 256, (40, width, 3), dtype=np.uint8)
    whole = cv2.addWeighted(frame, 0.7, result.colours(), 0.3, 0)
    assert np.array_equal(result.overlay(frame, 0.3), np.where((labels > 0)[:, :, None], whole, frame))


def test_overlay_names_both_sizes(result: ParsingResult) -> None:
    with pytest.raises(ValueError, match=r"\[7, 12, 3\].*\[7, 11\]"):
        result.overlay(np.zeros((7, 12, 3), np.uint8))
    with pytest.raises(ValueError, match=r"opacity is 1\.5"):
        result.overlay(np.zeros((7, 11, 3), np.uint8), 1.5)


def test_masks_and_counts(result: ParsingResult) -> None:
    assert result.present() == {"Background": 77 - 6 - 15 - 1, "Hat": 6, "Upper-clothes": 15, NAMES[3]: 1}
    masks = result.masks()
    assert list(masks) == list(result.present())
    assert all(mask.dtype == bool for mask in masks.values())
    assert (sum(mask.astype(int) for mask in masks.values()) == 1).all()
    assert np.array_equal(result.mask("upper-CLOTHES"), masks["Upper-clothes"])
    assert np.array_equal(result.mask(np.uint8(1)), masks["Hat"])  # type: ignore[arg-type]
    assert not _result(np.zeros((2, 2))).mask("Hat").any()


@pytest.mark.parametrize("name", ["Upper-clothes", "upper clothes", "UPPER_CLOTHES", " upperClothes "])
def test_names_are_forgiving(result: ParsingResult, name: str) -> None:
    assert np.array_equal(result.mask(name), result.labels == 2)


def test_several_classes_are_one_mask(result: ParsingResult) -> None:
    expected = (result.labels == 1) | (result.labels == 2)
    for names in (("Hat", "Upper-clothes"), (["Hat", 2],), ({"hat"}, np.uint8(2)), (range(1, 3),)):
        assert np.array_equal(result.mask(*names), expected)
    mask = result.mask("Hat")
    assert mask.dtype == bool
    assert np.array_equal(~mask, result.labels != 1)
    assert np.array_equal(result.mask(), result.labels != 0)
    alpha = result.alpha("Hat", 2)
    assert alpha.dtype == np.uint8
    assert np.array_equal(alpha, np.where(expected, 255, 0))


def test_a_cutout_holds_what_is_inside_and_nothing_else(result: ParsingResult, tmp_path: Path) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (7, 11, 3), dtype=np.uint8)
    cutout = result.cutout(frame, "Hat", "Upper-clothes")
    inside = (result.labels == 1) | (result.labels == 2)
    assert np.array_equal(cutout[inside], np.dstack([frame, np.full((7, 11), 255)])[inside])
    assert (cutout[~inside] == 0).all()
    assert np.array_equal(result.cutout(frame)[:, :, 3], result.alpha())
    path = result.save_cutout(tmp_path / "coat.png", frame, "Hat", "Upper-clothes")
    assert np.array_equal(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), cutout)
    with pytest.raises(MediaError, match=r"cutout\.jpg: cut-outs are stored as PNG"):
        result.save_cutout(tmp_path / "cutout.jpg", frame)
    kept = dataclasses.replace(result, frame=frame[:, :, ::-1], order="rgb")
    assert np.array_equal(cv2.imread(str(kept.save_cutout(path)), cv2.IMREAD_UNCHANGED), result.cutout(frame))


def test_counts_are_exact_beyond_what_a_float_holds() -> None:
    labels = np.full((4200, 4200), 2, np.uint8)
    labels[0, :3] = 1
    assert _result(labels).present() == {"Hat": 3, "Upper-clothes": 4200 * 4200 - 3}


def test_counts_are_those_of_every_pixel() -> None:
    draw = np.random.default_rng(2)
    for shape in ((1, 1), (7, 2), (40, 60)):
        for share in (0.0, 0.02, 1.0):
            labels = draw.integers(0, 4, shape) * (draw.random(shape) < share)
            ids, counts = np.unique(labels, return_counts=True)
            assert list(_result(labels).present().values()) == counts.tolist()
            assert list(_result(labels).masks()) == [NAMES[index] for index in ids]


def test_unknown_classes_get_help(result: ParsingResult) -> None:
    with pytest.raises(KeyError, match=r"did you mean 'Upper-clothes'.*Background, Hat"):
        result.mask("uper clothes")
    with pytest.raises(KeyError, match=r"no class 'clothes'; did you mean 'Upper-clothes'"):
        result.mask("Hat", "clothes")
    with pytest.raises(KeyError, match="no class ''; classes are"):
        result.mask("")
    with pytest.raises(KeyError, match=r"class id 4 is not in 0\.\.3"):
        result.mask(4)
    with pytest.raises(KeyError, match="class id -1"):
        result.mask(-1)


def test_wrong_labels_are_refused() -> None:
    with pytest.raises(ValueError, match="expected uint8"):
        ParsingResult(np.zeros((2, 2), np.int64), NAMES, PALETTE)  # type: ignore[arg-type]


def test_label_png_is_mode_p_with_ids_and_palette(result: ParsingResult, tmp_path: Path) -> None:
    image_module = pytest.importorskip("PIL.Image")
    path = result.save_labels(tmp_path / "new" / "labels.png")
    with image_module.open(path) as image:
        image.load()  # checks every checksum
        assert image.mode == "P"
        assert np.array_equal(np.asarray(image), result.labels)
        assert tuple(image.getpalette()[:12]) == sum(PALETTE, ())
    assert np.array_equal(cv2.imread(str(path)), result.colours())
    assert [entry.name for entry in path.parent.iterdir()] == ["labels.png"]


def test_label_png_with_ids_past_the_palette_is_readable() -> None:
    data = encode_png(np.array([[0, 200]], np.uint8), PALETTE)
    assert 201 <= int.from_bytes(data[data.index(b"PLTE") - 4 :][:4], "big") / 3 <= 256  # older Pillow fills it up
    assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) is not None
    with pytest.raises(ValueError, match="uint8"):
        encode_png(np.zeros((2, 2, 3), np.uint8))


def test_grey_label_png_is_read_by_opencv_and_both_kinds_by_read_labels(result: ParsingResult, tmp_path: Path) -> None:
    grey = result.save_labels(tmp_path / "grey.png", grey=True)
    palette = result.save_labels(tmp_path / "palette.png")
    assert np.array_equal(cv2.imread(str(grey), cv2.IMREAD_UNCHANGED), result.labels)
    for path in (grey, palette):
        read = read_labels(path)
        assert read.dtype == np.uint8
        assert np.array_equal(read, result.labels)
    deep = tmp_path / "deep.png"
    cv2.imwrite(str(deep), result.labels.astype(np.uint16))
    with pytest.raises(MediaError, match=r"deep\.png: has 16 bits for each pixel"):
        read_labels(deep)
    with pytest.raises(MediaError, match=r"missing\.png: no such file"):
        read_labels(tmp_path / "missing.png")


def test_labels_are_not_stored_in_lossy_formats(result: ParsingResult, tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"\.png"):
        result.save_labels(tmp_path / "labels.jpg")


def test_overlay_file(result: ParsingResult, tmp_path: Path) -> None:
    frame = np.full((7, 11, 3), 90, np.uint8)
    path = result.save_overlay(tmp_path / "overlay.png", frame)
    assert np.array_equal(cv2.imread(str(path)), result.overlay(frame))
    with pytest.raises(MediaError, match=r"'\.xyz'"):
        result.save_overlay(tmp_path / "overlay.xyz", frame)
    assert [entry.name for entry in tmp_path.iterdir()] == ["overlay.png"]


def test_mask_files_stay_in_their_folder_whatever_classes_are_called(result: ParsingResult, tmp_path: Path) -> None:
    paths = result.save_masks(tmp_path / "masks", "walk")
    names = ["walk_00_background.png", "walk_01_hat.png", "walk_02_upper-clothes.png", "walk_03_evil-31m-name.png"]
    assert [path.name for path in paths] == names
    assert sorted(entry.name for entry in (tmp_path / "masks").iterdir()) == names
    stored = cv2.imread(str(paths[2]), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(stored, np.where(result.labels == 2, 255, 0))
    with pytest.raises(ValueError, match="without folders"):
        result.save_masks(tmp_path, "../walk")


def test_atomic_path_leaves_the_old_file_when_the_body_raises(tmp_path: Path) -> None:
    target = tmp_path / "a.png"
    target.write_text("old")

    def write() -> None:
        with atomic_path(target) as temporary:
            assert temporary.parent == tmp_path
            assert temporary.suffix == ".png"
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("durable", [True, False])
def test_atomic_path_waits_for_the_disk_unless_told_not_to(
    tmp_path: Path, durable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, synced, fsync = tmp_path / "a.bin", [], os.fsync

    def watched(handle: int) -> None:
        synced.append((os.fstat(handle).st_ino, target.exists()))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", watched)
    with atomic_path(target, durable=durable) as temporary:
        temporary.write_bytes(b"whole")
    # The bytes before there is a name for them, and then the name.
    expected = [(target.stat().st_ino, False), (tmp_path.stat().st_ino, True)]
    assert synced == (expected if durable else [])


def test_atomic_path_explains_what_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(MediaError, match="folder cannot be made"):
        write_png(tmp_path / "file" / "a.png", np.zeros((2, 2), np.uint8))
    with pytest.raises(MediaError, match="is a folder"), atomic_path(tmp_path):
        pass
    with pytest.raises(MediaError, match="nothing was written"), atomic_path(tmp_path / "b.png"):
        pass
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
