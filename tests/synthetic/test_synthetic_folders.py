"""Written data sets: the files of every layout, read back by the readers of real data sets, and the same every time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ce2p.data.annotations import read_ids, read_image, read_labels
from ce2p.data.splits import open_split, recognise
from ce2p.errors import ConfigError
from ce2p.labels import label_set, read_label_set
from ce2p.synthetic import SYNTHETIC, annotated_at, iter_samples, write_dataset, write_lip_folder
from ce2p.synthetic.annotated import Split

SIZE = (72, 60)
LIKE_LIP = {
    "train_id.txt",
    "val_id.txt",
    "train_images/train_000000.jpg",
    "train_images/train_000001.jpg",
    "train_segmentations/train_000000.png",
    "train_segmentations/train_000001.png",
    "val_images/val_000000.jpg",
    "val_segmentations/val_000000.png",
}
FILES = {
    "lip": LIKE_LIP,
    "ppp": LIKE_LIP,
    "custom": LIKE_LIP | {"classes.txt"},
    "atr": {
        "train_id.txt",
        "val_id.txt",
        "JPEGImages/train_000000.jpg",
        "JPEGImages/train_000001.jpg",
        "JPEGImages/val_000000.jpg",
        "SegmentationClassAug/train_000000.png",
        "SegmentationClassAug/train_000001.png",
        "SegmentationClassAug/val_000000.png",
    },
    "cihp": {
        "Training/train_id.txt",
        "Training/Images/0000001.jpg",
        "Training/Images/0000002.jpg",
        "Training/Category_ids/0000001.png",
        "Training/Category_ids/0000002.png",
        "Training/Human_ids/0000001.png",
        "Training/Human_ids/0000002.png",
        "Training/Instance_ids/0000001.png",
        "Training/Instance_ids/0000002.png",
        "Validation/val_id.txt",
        "Validation/Images/1000001.jpg",
        "Validation/Category_ids/1000001.png",
        "Validation/Human_ids/1000001.png",
        "Validation/Instance_ids/1000001.png",
    },
    "voc": {
        f"VOCdevkit/VOC2012/{name}"
        for name in (
            "ImageSets/Segmentation/train.txt",
            "ImageSets/Segmentation/val.txt",
            "JPEGImages/train_000000.jpg",
            "JPEGImages/train_000001.jpg",
            "JPEGImages/val_000000.jpg",
            "SegmentationClass/train_000000.png",
            "SegmentationClass/train_000001.png",
            "SegmentationClass/val_000000.png",
        )
    },
}


def contents(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("dataset", SYNTHETIC)
def test_a_written_folder_is_read_back_by_the_readers_of_the_real_one(dataset: str, tmp_path: Path) -> None:
    root = tmp_path / "set"
    calls: list[tuple[int, int]] = []
    write_dataset(root, dataset, train=2, val=1, size=SIZE, seed=4, progress=lambda step, *done: calls.append(done))
    assert calls == [(1, 3), (2, 3), (3, 3)]
    assert contents(root).keys() == FILES[dataset]
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
    assert recognise(root) == ("lip" if dataset == "ppp" else dataset)
    splits: dict[Split, int] = {"train": 2, "val": 1}
    for split, count in splits.items():
        samples = open_split(dataset, root, split)
        assert len(samples) == count
        for index, sample in enumerate(samples):
            expected = annotated_at(dataset, 4, index, SIZE, split)
            assert sample.labels is not None
            np.testing.assert_array_equal(read_labels(sample.labels), expected.labels)
            assert np.abs(read_image(sample.image).astype(int) - expected.image).mean() < 6
            assert (sample.humans is not None) == (sample.instances is not None) == (dataset == "cihp")
            if expected.humans is not None and expected.instances is not None:
                assert sample.humans
                assert sample.instances
                np.testing.assert_array_equal(read_ids(sample.humans), expected.humans)
                np.testing.assert_array_equal(read_ids(sample.instances), expected.instances)


@pytest.mark.parametrize("dataset", SYNTHETIC)
def test_the_same_arguments_write_the_same_bytes_and_a_longer_set_starts_with_the_shorter(
    dataset: str, tmp_path: Path
) -> None:
    write_dataset(tmp_path / "long", dataset, train=3, val=2, size=SIZE, seed=7)
    write_dataset(tmp_path / "again", dataset, train=3, val=2, size=SIZE, seed=7)
    write_dataset(tmp_path / "short", dataset, train=1, val=1, size=SIZE, seed=7)
    write_dataset(tmp_path / "other", dataset, train=1, val=1, size=SIZE, seed=8)
    long, short, other = (contents(tmp_path / name) for name in ("long", "short", "other"))
    assert long == contents(tmp_path / "again")
    pictures = {name for name in short if name.endswith((".jpg", ".png"))}
    assert {name: long[name] for name in pictures} == {name: short[name] for name in pictures}
    assert all(short[name] != other[name] for name in pictures)
    photos = [data for name, data in long.items() if name.endswith(".jpg")]
    assert len(set(photos)) == 5


@pytest.mark.parametrize("dataset", SYNTHETIC)
def test_class_ids_are_the_data_sets_own(dataset: str, tmp_path: Path) -> None:
    write_dataset(tmp_path / "set", dataset, train=4, val=0, size=SIZE, seed=1)
    labels = read_label_set(tmp_path / "set") if dataset == "custom" else label_set(dataset)
    for sample in open_split(dataset, tmp_path / "set", "train"):
        assert sample.labels
        ids = set(np.unique(read_labels(sample.labels)).tolist())
        assert 0 in ids
        assert len(ids) > 1
        assert ids - {255} <= set(range(labels.num_classes))
        assert (255 in ids) == (dataset == "voc")


def test_lips_pictures_for_a_seed_are_what_they_always_were(tmp_path: Path) -> None:
    """Pixels per class and mean colour (blue, green, red) of what version 0.1.0 drew, with room for other rounding."""
    write_lip_folder(tmp_path / "9", train=1, val=1, size=(96, 80), seed=9)
    write_lip_folder(tmp_path / "5", train=1, val=0, size=(96, 80), seed=5)
    expected = {
        ("9", "train"): ({0: 6472, 2: 55, 3: 87, 5: 316, 9: 549, 13: 110, 18: 52, 19: 39}, (116.65, 124.83, 116.18)),
        ("9", "val"): (
            {0: 6417, 1: 93, 2: 37, 5: 56, 7: 684, 12: 136, 13: 82, 14: 13, 15: 14, 16: 30, 17: 42, 18: 33, 19: 43},
            (107.69, 96.42, 122.56),
        ),
        ("5", "train"): (  # cropped below the hips
            {0: 4815, 2: 360, 5: 1517, 9: 241, 13: 301, 14: 205, 15: 241},
            (166.09, 133.48, 111.27),
        ),
    }
    for (seed, split), (pixels, colour) in expected.items():
        (sample,) = open_split("lip", tmp_path / seed, split)
        assert sample.labels
        found = np.bincount(read_labels(sample.labels).ravel(), minlength=20)
        assert sum(abs(int(found[label]) - pixels.get(label, 0)) for label in range(20)) <= 4
        assert read_image(sample.image).mean(axis=(0, 1)) == pytest.approx(colour, abs=0.3)


def test_vocs_annotations_are_palette_pictures_in_vocs_colours(tmp_path: Path) -> None:
    write_dataset(tmp_path, "voc", train=1, val=0, size=SIZE)
    with Image.open(tmp_path / "VOCdevkit/VOC2012/SegmentationClass/train_000000.png") as picture:
        assert picture.mode == "P"
        palette = picture.getpalette()
        assert palette
        # VOC's colour map: background black, person pink, "void" cream.
        assert [palette[3 * i : 3 * i + 3] for i in (0, 15, 255)] == [[0, 0, 0], [192, 128, 128], [224, 224, 192]]


def test_other_annotations_are_grey(tmp_path: Path) -> None:
    for dataset in ("lip", "cihp", "atr", "ppp", "custom"):
        write_dataset(tmp_path / dataset, dataset, train=1, val=0, size=SIZE)
        for path in (tmp_path / dataset).rglob("*.png"):
            with Image.open(path) as picture:
                assert picture.mode == "L", path


def test_whole_figures_leaves_whole_pictures_alone_and_crops_none() -> None:
    feet = {True: 0, False: 0}
    same = 0
    for index in range(40):
        (image, labels, *_), (whole, whole_labels, *_) = (
            annotated_at("lip", 3, index, SIZE, whole_figures=option) for option in (False, True)
        )
        same += image.tobytes() == whole.tobytes()
        feet[False] += bool(np.isin(labels, (18, 19)).any())
        feet[True] += bool(np.isin(whole_labels, (18, 19)).any())
    assert feet[True] == 40
    assert 25 <= same == feet[False] < 40
    groups = [annotated_at("cihp", 3, index, SIZE, whole_figures=True).labels for index in range(20)]
    assert all(np.isin(labels, (18, 19)).any() for labels in groups)


def test_lip_samples_are_those_in_memory() -> None:
    for index, (image, labels) in enumerate(iter_samples(6, 3, SIZE, split="val")):
        sample = annotated_at("lip", 6, index, SIZE, "val")
        assert image.tobytes() == sample.image.tobytes()
        assert labels.tobytes() == sample.labels.tobytes()


def test_mistakes_are_named_and_leave_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no synthetic people for data set 'mhp'; expected one of lip, .*voc"):
        write_dataset(tmp_path / "set", "mhp", train=1, val=1, size=SIZE)
    with pytest.raises(ConfigError, match="'mhp'"):
        annotated_at("mhp", 0, 0, SIZE)
    with pytest.raises(ValueError, match="-1 val pictures, expected 0 to"):
        write_dataset(tmp_path / "set", "lip", train=1, val=-1, size=SIZE)
    with pytest.raises(ValueError, match="at least 16 pixels"):
        write_dataset(tmp_path / "set", "cihp", train=1, val=1, size=(8, 64))
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_write_leaves_nothing(tmp_path: Path) -> None:
    def interrupt(step: str, done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_dataset(tmp_path / "set", "cihp", train=1, val=2, size=SIZE, progress=interrupt)
    assert list(tmp_path.iterdir()) == []
