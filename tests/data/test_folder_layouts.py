"""Every published folder layout, listed; every way in which a folder is not one, named."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ce2p.data.splits import Sample, describe, has_split, open_split, recognise
from ce2p.datasets import names_of
from ce2p.errors import DataError
from tests.data.folders import annotation, picture, places, split, stripes

LAYOUTS = {
    "lip": "lip",
    "custom": "custom",
    "ppp": "ppp",
    "ppp-published": "ppp",
    "atr": "atr",
    "voc": "voc",
    "cihp": "cihp",
}
"""Layout of tests.data.folders -> data set."""
IDS = ["0000007", "2008_000003", "100034_483681"]


def refusal(dataset: str, root: Path, name: str = "train") -> str:
    with pytest.raises(DataError) as caught:
        open_split(dataset, root, name)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("palette", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_layout_gives_its_files_in_the_order_of_the_list(tmp_path: Path, layout: str, palette: bool) -> None:
    split(layout, tmp_path, "train", IDS, palette=palette)
    split(layout, tmp_path, "val", ["2008_000009"], palette=palette)
    images, labels, _ = places(layout, tmp_path, "train")
    expected = tuple(Sample(name, images / f"{name}.jpg", labels / f"{name}.png") for name in IDS)
    assert open_split(LAYOUTS[layout], tmp_path, "train") == expected
    assert [sample.name for sample in open_split(LAYOUTS[layout], tmp_path, "val")] == ["2008_000009"]
    assert has_split(LAYOUTS[layout], tmp_path, "val")
    assert not has_split(LAYOUTS[layout], tmp_path, "test")


def test_every_dataset_that_can_be_opened_is_covered_here() -> None:
    assert set(LAYOUTS.values()) == set(names_of(layout=True))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_are_told_apart(tmp_path: Path, layout: str) -> None:
    split(layout, tmp_path, "train", IDS)
    if layout == "custom":
        (tmp_path / "classes.txt").write_text("background\nthing\n")
    # Pascal-Person-Part stored as SCHP reads it cannot be told from LIP.
    assert recognise(tmp_path) == ("lip" if layout == "ppp" else LAYOUTS[layout])
    assert recognise(tmp_path / "nowhere") is None
    for dataset in set(names_of(layout=True)) - {LAYOUTS[layout]}:
        if layout in ("lip", "ppp", "custom") and dataset in ("lip", "ppp", "custom"):
            continue
        if layout == "ppp-published" or (layout, dataset) == ("voc", "atr"):
            assert str(tmp_path) in refusal(dataset, tmp_path)
            continue
        actual = recognise(tmp_path)
        message = refusal(dataset, tmp_path)
        assert message.startswith(f"{tmp_path}: has the layout of data set {actual}, expected {dataset}; use --dataset")


def test_cihp_brings_people_and_instances_where_their_folders_are(tmp_path: Path) -> None:
    split("cihp", tmp_path, "val", ["0000006"])
    part = tmp_path / "Validation"
    assert open_split("cihp", tmp_path, "val")[0].humans is None
    annotation(part / "Human_ids/0000006.png", stripes(0, 1, 2))
    annotation(part / "Instance_ids/0000006.png", stripes(0, 1, 2))
    (sample,) = open_split("cihp", tmp_path, "val")
    assert sample.humans == part / "Human_ids/0000006.png"
    assert sample.instances == part / "Instance_ids/0000006.png"
    assert describe("cihp", tmp_path, "val") == (
        f"val_id.txt with Images, Category_ids, Human_ids, Instance_ids in {part}"
    )
    (part / "Human_ids/0000006.png").unlink()
    assert refusal("cihp", tmp_path, "val").startswith(f"{part}/Human_ids/0000006.png: no such file; 1 of the 1 human")


def test_cihp_ids_are_padded_and_its_archives_folder_is_looked_into(tmp_path: Path) -> None:
    home = tmp_path / "instance-level_human_parsing"
    split("cihp", home, "train", ["0000006"])
    (home / "Training/train_id.txt").write_text("6\n")
    assert recognise(tmp_path) == "cihp"
    assert open_split("cihp", tmp_path, "train")[0].image == home / "Training/Images/0000006.jpg"


@pytest.mark.parametrize("home", ["", "VOC2012", "VOCdevkit/VOC2012"])
def test_voc_takes_trainaug_where_it_is_and_says_so(tmp_path: Path, home: str) -> None:
    voc = tmp_path / home
    split("voc", voc, "train", ["2007_000032"])
    split("voc", voc, "val", ["2007_000033"])
    lists = voc / "ImageSets/Segmentation"
    assert recognise(tmp_path) == "voc"
    assert [sample.name for sample in open_split("voc", tmp_path, "train")] == ["2007_000032"]
    plain = f"ImageSets/Segmentation/train.txt with JPEGImages, SegmentationClass in {voc}"
    assert describe("voc", tmp_path, "train") == plain

    (lists / "trainaug.txt").write_text("2007_000032\n2008_000008\n")
    picture(voc / "JPEGImages/2008_000008.jpg")
    message = refusal("voc", tmp_path)  # the list alone is not enough, and train.txt is not taken instead
    assert message.startswith(f"{voc}/SegmentationClass/2008_000008.png: no such file; 1 of the 2 annotations")
    assert "ce2p data sbd" in message

    annotation(voc / "SegmentationClass/2008_000008.png", stripes(0, 15))  # as sssegmentation packs it
    assert [sample.labels for sample in open_split("voc", tmp_path, "train")] == [
        voc / "SegmentationClass/2007_000032.png",
        voc / "SegmentationClass/2008_000008.png",
    ]
    for name in ("2007_000032", "2008_000008"):
        annotation(voc / f"SegmentationClassAug/{name}.png", stripes(0, 15))
    augmented = f"ImageSets/Segmentation/trainaug.txt with JPEGImages, SegmentationClassAug in {voc}"
    assert describe("voc", tmp_path, "train") == augmented
    assert {sample.labels.parent.name for sample in open_split("voc", tmp_path, "train") if sample.labels} == {
        "SegmentationClassAug"
    }
    assert open_split("voc", tmp_path, "val")[0].labels == voc / "SegmentationClass/2007_000033.png"


@pytest.mark.parametrize("folder", ["test_images", "testing_images"])
def test_lip_test_pictures_have_no_annotations(tmp_path: Path, folder: str) -> None:
    picture(tmp_path / folder / "100.jpg")
    (tmp_path / "test_id.txt").write_text("100\n")
    assert open_split("lip", tmp_path, "test") == (Sample("100", tmp_path / folder / "100.jpg", None),)
    assert describe("lip", tmp_path, "test") == f"test_id.txt with {folder}, no annotations in {tmp_path}"


def test_a_test_split_is_annotated_altogether_or_not_at_all(tmp_path: Path) -> None:
    split("atr", tmp_path, "test", ["a", "b"], annotated=False)
    assert [sample.labels for sample in open_split("atr", tmp_path, "test")] == [None, None]
    path = annotation(tmp_path / "SegmentationClassAug/b.png", stripes(0, 1))
    assert refusal("atr", tmp_path, "test").startswith(f"{path.with_name('a.png')}: no such file; 1 of the 2 annot")
    annotation(path.with_name("a.png"), stripes(0, 1))
    assert open_split("atr", tmp_path, "test")[1].labels == path


def test_lists_as_people_write_them(tmp_path: Path) -> None:
    split("lip", tmp_path, "train", ["a", "b", "c", "d", "e"])
    text = "\ufeffa\r\n\r\nb.jpg\r\nc 1 0.5\r\n  d.PNG  \r\ntrain_images/e.jpg,train_labels/e.png\r\n\r\n"
    (tmp_path / "train_id.txt").write_bytes(text.encode())
    assert [sample.name for sample in open_split("lip", tmp_path, "train")] == ["a", "b", "c", "d", "e"]


def test_custom_pictures_may_be_png(tmp_path: Path) -> None:
    split("custom", tmp_path, "train", ["a", "b"])
    (tmp_path / "train_images/b.jpg").unlink()
    picture(tmp_path / "train_images/b.png")
    assert [sample.image.name for sample in open_split("custom", tmp_path, "train")] == ["a.jpg", "b.png"]
    picture(tmp_path / "train_images/a.jpeg")
    assert "holds a.jpg and a.jpeg, expected one picture per id" in refusal("custom", tmp_path)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", [0, 1], ids=["picture", "annotation"])
def test_listed_files_that_are_missing_are_named_and_counted(tmp_path: Path, layout: str, kind: int) -> None:
    split(layout, tmp_path, "train", ["0000001", "0000002", "0000003"])
    folder = places(layout, tmp_path, "train")[kind]
    suffix, word = ((".jpg", "pictures"), (".png", "annotations"))[kind]
    for name in ("0000002", "0000003"):
        (folder / name).with_suffix(suffix).unlink()
    message = refusal(LAYOUTS[layout], tmp_path)
    id_list = places(layout, tmp_path, "train")[2]
    assert message == (
        f"{folder}/0000002{suffix}: no such file; 2 of the 3 {word} that {id_list} lists are missing; "
        "complete the data set or shorten the list"
    )
    assert len(open_split(LAYOUTS[layout], tmp_path, "train", check_files=False)) == 3


@pytest.mark.parametrize("layout", LAYOUTS)
def test_missing_and_empty_lists_and_folders(tmp_path: Path, layout: str) -> None:
    dataset = LAYOUTS[layout]
    assert refusal(dataset, tmp_path / "gone") == (
        f"{tmp_path}/gone: no such folder, expected the folder of the data set {dataset}; unpack it there or correct it"
    )
    assert f"{tmp_path} is empty" in refusal(dataset, tmp_path)
    split(layout, tmp_path, "train", IDS)
    images, _, id_list = places(layout, tmp_path, "train")

    id_list.write_text("\n \r\n")
    assert refusal(dataset, tmp_path) == (
        f"{id_list}: lists no id, expected one per line; fill it, or remove it if there is no such split"
    )
    id_list.write_text("0000007\n2008_000003\n0000007\n")
    assert refusal(dataset, tmp_path) == (
        f"{id_list}: lists 0000007 more than once (1 such ids), expected each id once; remove the repetitions"
    )
    assert len(open_split(dataset, tmp_path, "train", check_files=False)) == 3
    id_list.write_text("../../etc/passwd\n")
    assert refusal(dataset, tmp_path) == (
        f"{id_list}: line 1 holds '../../etc/passwd', expected the name of a picture in {images.name}/"
    )
    id_list.write_bytes("a\nb\n".encode("utf-16"))
    assert refusal(dataset, tmp_path) == (f"{id_list}: is not UTF-8 text, expected one id per line; save it as UTF-8")
    id_list.rename(id_list.with_name("list.txt"))
    message = refusal(dataset, tmp_path)
    assert message.startswith(
        f"{id_list}: not there, expected the id list (one per line) of the train split of {dataset}; "
    )
    assert f"{id_list.parent} holds " in message
    assert "list.txt" in message
    id_list.write_text("0000007\n")
    shutil.rmtree(images)
    assert refusal(dataset, tmp_path).startswith(f"{images}: not there, expected the pictures of the train split of")


def test_names_that_mean_nothing(tmp_path: Path) -> None:
    assert "no folder layout known for data set 'mhp'; expected one of lip, " in refusal("mhp", tmp_path)
    assert refusal("lip", tmp_path, "trainval") == "no split 'trainval'; expected train, val or test"
    (tmp_path / "file").touch()
    assert "file: is a file, expected the folder" in refusal("lip", tmp_path / "file")
