"""check_split: figures counted by hand, every seeded fault found with its file, and nothing else."""

from __future__ import annotations

import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from ce2p.data import check as check_module
from ce2p.data.check import Problem, Report, check_split
from ce2p.data.splits import open_split
from ce2p.labels import label_set
from tests.data.folders import annotation, picture, raw_png, split, stripes

LIP = label_set("lip")
CIHP = label_set("cihp")


@pytest.fixture
def lip(tmp_path: Path) -> Path:
    split("lip", tmp_path, "train", ["a", "b", "c"])
    return tmp_path


def check(root: Path, dataset: str = "lip", name: str = "train", workers: int | None = None) -> Report:
    samples = open_split(dataset, root, name, check_files=False)
    return check_split(label_set(dataset), samples, workers=workers)


def test_frequencies_sizes_and_ignored_pixels_are_counted(lip: Path) -> None:
    # a: 40 pixels each of 0, 1, 2. b: 30 each of 0, 13, 19, 255. c: another size, 0 and 13, as a palette PNG.
    annotation(lip / "train_segmentations/b.png", stripes(0, 13, 19, 255))
    picture(lip / "train_images/c.jpg", (20, 7))
    annotation(lip / "train_segmentations/c.png", stripes(0, 13, size=(20, 7)), palette=True)
    report = check(lip)
    assert report.problems == ()
    assert report.samples == 3
    expected = np.zeros(20, int)
    expected[[0, 1, 2, 13, 19]] = (40 + 30 + 70, 40, 40, 30 + 70, 30)
    np.testing.assert_array_equal(report.pixels, expected)
    np.testing.assert_array_equal(np.flatnonzero(report.pictures), [0, 1, 2, 13, 19])
    assert report.pictures[[0, 1, 2, 13, 19]].tolist() == [3, 1, 1, 2, 1]
    assert report.ignored == 30
    assert report.ignored_share == 30 / 380
    assert report.size_range() == {"min": (12, 7), "median": (12, 10), "max": (20, 10)}
    assert report.turned == 0


def test_every_fault_is_noted_with_its_file_and_the_rest_is_still_checked(lip: Path) -> None:
    images, labels = lip / "train_images", lip / "train_segmentations"
    names = ["a", "value", "size", "no-label", "no-image", "cut-png", "cut-jpg", "blank", "colours", "b", "a"]
    (lip / "train_id.txt").write_text("\n".join(names))
    for name in names:
        picture(images / f"{name}.jpg")
        annotation(labels / f"{name}.png", stripes(0, 1, 2))
    annotation(labels / "value.png", stripes(0, 1, 20, 21, 22, 254, 255, 19, size=(12, 10)))
    annotation(labels / "size.png", stripes(0, 1, size=(12, 11)))
    (labels / "no-label.png").unlink()
    (images / "no-image.jpg").unlink()
    for path in (labels / "cut-png.png", images / "cut-jpg.jpg"):
        path.write_bytes(path.read_bytes()[:-20])
    annotation(labels / "blank.png", stripes(0, 255))
    values = np.dstack([stripes(0, 1, 2)] * 3)
    values[0, 0, 0] = 9
    annotation(labels / "colours.png", values)

    report = check(lip)
    assert report.problems == (
        Problem(images / "a.jpg", "repeated id", "a is listed more than once"),
        Problem(
            labels / "value.png",
            "label value",
            "holds label 20 (20 pixels), 21 (20 pixels), 22 (10 pixels), 254 (10 pixels), expected 0 to 19 "
            "(Look into Person) or 255 for ignore",
        ),
        Problem(
            labels / "size.png",
            "size",
            f"is 12x11 (height x width) but its picture {images / 'size.jpg'} is 12x10, expected the same",
        ),
        Problem(labels / "no-label.png", "missing", "no such file"),
        Problem(images / "no-image.jpg", "missing", "no such file"),
        Problem(labels / "cut-png.png", "unreadable", "is cut short (its end is missing); copy or download it again"),
        Problem(images / "cut-jpg.jpg", "unreadable", "is cut short (its end is missing); copy or download it again"),
        Problem(
            labels / "blank.png",
            "empty",
            "holds nothing but background and 255 for ignore, expected at least one class",
        ),
        Problem(
            labels / "colours.png",
            "unreadable",
            "holds colours, expected one id per pixel (grey or palette PNG); convert colours to class ids first",
        ),
    )
    assert report.samples == 11
    assert len(report.sizes) == 9


@pytest.mark.parametrize(("value", "classes", "fault"), [(19, 20, False), (20, 20, True), (254, 20, True)])
def test_the_border_of_the_range(lip: Path, value: int, classes: int, fault: bool) -> None:
    assert LIP.num_classes == classes
    annotation(lip / "train_segmentations/b.png", stripes(0, value))
    problems = check(lip).problems
    assert [problem.kind for problem in problems] == ["label value"] * fault
    if fault:
        assert str(problems[0]) == (
            f"{lip}/train_segmentations/b.png: holds label {value} (60 pixels), expected 0 to 19 (Look into Person) or "
            "255 for ignore"
        )


def test_a_label_of_four_bits_is_not_taken_for_another_class(lip: Path) -> None:
    (lip / "train_segmentations/b.png").write_bytes(raw_png(stripes(0, 1), 4, 0))  # Pillow alone reads class 17
    assert check(lip).pixels[[1, 17]].tolist() == [40 + 60 + 40, 0]


def test_a_picture_turned_by_exif_is_told_from_a_wrong_annotation(lip: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 8
    Image.fromarray(np.zeros((12, 10, 3), np.uint8)).save(lip / "train_images/b.jpg", exif=exif)
    report = check(lip)
    assert report.turned == 1
    (problem,) = report.problems
    assert problem.text == (
        f"is 12x10 (height x width) but its picture {lip}/train_images/b.jpg is 10x12, expected the same; the picture "
        "is turned by its EXIF orientation 8: store it upright, as its annotation is"
    )


def test_a_split_without_annotations_is_read_all_the_same(tmp_path: Path) -> None:
    split("lip", tmp_path, "test", ["a", "b"], annotated=False)
    (tmp_path / "test_images/b.jpg").write_bytes(b"\xff\xd8 no picture")
    report = check(tmp_path, name="test")
    assert [(problem.file.name, problem.kind) for problem in report.problems] == [("b.jpg", "unreadable")]
    assert report.pixels.sum() == 0
    assert report.ignored_share == 0
    assert report.size_range()["median"] == (12, 10)


def test_nothing_that_can_be_read_gives_no_sizes(tmp_path: Path) -> None:
    split("lip", tmp_path, "test", ["a"], annotated=False)
    (tmp_path / "test_images/a.jpg").unlink()
    assert check(tmp_path, name="test").size_range() == {}


def cihp(root: Path, classes: np.ndarray, humans: np.ndarray, instances: np.ndarray) -> tuple[Problem, ...]:
    split("cihp", root, "val", ["0000001"])
    for folder, ids in (("Category_ids", classes), ("Human_ids", humans), ("Instance_ids", instances)):
        annotation(root / f"Validation/{folder}/0000001.png", ids)
    return check(root, "cihp", "val").problems


def test_people_and_instances_that_agree_are_no_problem(tmp_path: Path) -> None:
    classes, people = stripes(0, 13, 5, 13, 5, 0), stripes(0, 1, 1, 2, 2, 0)
    assert cihp(tmp_path, classes, people, stripes(0, 1, 2, 3, 4, 0).astype(np.uint16) * 300) == ()


def test_people_and_instances_that_contradict_are_found(tmp_path: Path) -> None:
    classes = stripes(0, 13, 5, 13, 5, 0)
    people = stripes(0, 1, 1, 2, 2, 3)  # person 3 lies on background
    instances = stripes(9, 1, 1, 2, 7, 0)  # 1 spans classes, 9 lies on background
    instances[4] = 7
    people[4, 0] = 1  # 7 lies on two people
    folder = tmp_path / "Validation"
    assert cihp(tmp_path, classes, people, instances) == (
        Problem(
            folder / "Instance_ids/0000001.png", "instances", "instance 1 spans classes 5 and 13, expected one class"
        ),
        Problem(folder / "Instance_ids/0000001.png", "instances", "instance 9 lies on background, expected a class"),
        Problem(
            folder / "Instance_ids/0000001.png", "instances", "instance 7 spans people 1 and 2, expected one person"
        ),
        Problem(
            folder / "Human_ids/0000001.png", "instances", "person 3 has no part, expected at least one class under it"
        ),
    )


def test_people_and_instances_of_another_size_are_found(tmp_path: Path) -> None:
    classes = stripes(0, 13, 5)
    problems = cihp(tmp_path, classes, stripes(0, 1, size=(12, 9)), stripes(0, 1, 2, size=(11, 10)))
    assert [(problem.file.parent.name, problem.kind) for problem in problems] == [
        ("Human_ids", "size"),
        ("Instance_ids", "size"),
    ]


def test_the_report_does_not_depend_on_the_number_of_threads(tmp_path: Path) -> None:
    split("lip", tmp_path, "train", [f"{index:03d}" for index in range(40)])
    for index in range(0, 40, 3):
        (tmp_path / f"train_segmentations/{index:03d}.png").unlink()
    reports = [check(tmp_path, workers=workers).to_dict() for workers in (1, 8)]
    assert reports[0] == reports[1]
    assert [problem["file"][-7:] for problem in reports[0]["problems"]] == [f"{i:03d}.png" for i in range(0, 40, 3)]


def test_progress_counts_every_picture(lip: Path) -> None:
    (lip / "train_images/b.jpg").unlink()
    calls: list[tuple[int, int]] = []
    check_split(
        LIP, open_split("lip", lip, "train", check_files=False), lambda step, done, total: calls.append((done, total))
    )
    assert calls == [(1, 3), (2, 3), (3, 3)]


def test_opencv_writes_what_is_read_here(lip: Path) -> None:
    cv2.imwrite(str(lip / "train_segmentations/b.png"), np.dstack([stripes(0, 5)] * 3))
    assert check(lip).pixels[5] == 60


def test_an_interrupted_check_does_not_read_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    split("lip", tmp_path, "train", ["a"])
    (sample,) = open_split("lip", tmp_path, "train")
    looked = []

    def slowly(path: Path) -> np.ndarray:
        looked.append(path)
        time.sleep(0.002)
        return np.zeros((12, 10, 3), np.uint8)

    def interrupt(step: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(check_module, "read_image", slowly)
    with pytest.raises(KeyboardInterrupt):
        check_split(LIP, [sample] * 1000, interrupt, workers=1)
    assert len(looked) < 500  # all 1000 where the pool is only left
