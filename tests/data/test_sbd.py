"""SBD merged into VOC: which pictures, whose annotations, and what stays untouched."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ce2p.data.annotations import read_labels
from ce2p.data.sbd import merge_sbd
from ce2p.data.splits import describe, open_split
from ce2p.errors import DataError
from tests.data.folders import picture, split, stripes

scipy_io = pytest.importorskip("scipy.io")

VOC_TRAIN, VOC_VAL = ["2007_000032", "2007_000039"], ["2007_000033", "2007_000042"]
SBD_TRAIN, SBD_VAL = ["2008_000002", "2007_000039", "2007_000033"], ["2008_000008", "2007_000042"]
MERGED = ["2007_000032", "2007_000039", "2008_000002", "2008_000008"]
"""By the rule: VOC train, and SBD without VOC val; 2007_000039 is in both and keeps VOC's annotation."""


def mat(path: Path, ids: np.ndarray) -> None:
    """An annotation as SBD stores it: a struct GTcls with the fields Boundaries, Segmentation, CategoriesPresent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    present = np.unique(ids)[1:, None]
    scipy_io.savemat(path, {"GTcls": {"Boundaries": ids > 200, "Segmentation": ids, "CategoriesPresent": present}})


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    voc, sbd = tmp_path / "VOCdevkit/VOC2012", tmp_path / "sbd"
    split("voc", voc, "train", VOC_TRAIN, labels=(0, 15, 255), palette=True)
    split("voc", voc, "val", VOC_VAL, labels=(0, 15, 255), palette=True)
    for name in ("2008_000002", "2008_000008"):
        picture(voc / f"JPEGImages/{name}.jpg")
    for index, name in enumerate(SBD_TRAIN + SBD_VAL, 1):
        mat(sbd / f"cls/{name}.mat", stripes(0, index))
    (sbd / "train.txt").write_text("\n".join(SBD_TRAIN))
    (sbd / "val.txt").write_text("\n".join(SBD_VAL))
    return voc, sbd


def refusal(voc: Path, sbd: Path) -> str:
    with pytest.raises(DataError) as caught:
        merge_sbd(voc, sbd)
    return str(caught.value)


def test_the_union_without_voc_val_with_vocs_annotations_where_there_are(folders: tuple[Path, Path]) -> None:
    voc, sbd = folders
    calls: list[tuple[int, int]] = []
    merged = merge_sbd(voc.parent.parent, sbd, lambda step, done, total: calls.append((done, total)))
    assert (merged.pictures, merged.from_voc, merged.from_sbd, merged.kept) == (4, 2, 2, 0)
    assert calls == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert merged.id_list.read_text().split() == MERGED
    samples = open_split("voc", voc, "train")
    assert [sample.name for sample in samples] == MERGED
    expected = [stripes(0, 15, 255), stripes(0, 15, 255), stripes(0, 1), stripes(0, 4)]
    for sample, ids in zip(samples, expected, strict=True):
        assert sample.labels
        assert sample.labels.parent == voc / "SegmentationClassAug"
        np.testing.assert_array_equal(read_labels(sample.labels), ids)
    assert describe("voc", voc, "train").startswith("ImageSets/Segmentation/trainaug.txt with")
    assert sorted(path.name for path in (voc / "SegmentationClassAug").iterdir()) == [f"{name}.png" for name in MERGED]


def test_torchvision_reads_the_same_from_these_files(folders: tuple[Path, Path]) -> None:
    datasets = pytest.importorskip("torchvision.datasets")
    voc, sbd = folders
    merged = merge_sbd(voc, sbd)
    for name in SBD_TRAIN:
        picture(sbd / f"img/{name}.jpg")
    reference = datasets.SBDataset(str(sbd), image_set="train", mode="segmentation")
    assert [Path(path).stem for path in reference.masks] == SBD_TRAIN
    written = read_labels(merged.folder / f"{SBD_TRAIN[0]}.png")
    np.testing.assert_array_equal(written, np.asarray(reference[0][1]))


def test_running_again_continues_and_overwrites_nothing(folders: tuple[Path, Path]) -> None:
    voc, sbd = folders
    (sbd / "cls/2008_000008.mat").write_bytes(b"MATLAB 5.0 MAT-file, cut")
    message = refusal(voc, sbd)
    assert message.startswith(f"{sbd}/cls/2008_000008.mat: cannot be read as an annotation of SBD")
    assert not (voc / "ImageSets/Segmentation/trainaug.txt").exists()  # half a merge is not trained on
    mat(sbd / "cls/2008_000008.mat", stripes(0, 4))
    assert merge_sbd(voc, sbd).kept == 3
    own = voc / "SegmentationClassAug/2008_000002.png"
    own.write_bytes(b"mine")
    assert merge_sbd(voc, sbd).kept == 4
    assert own.read_bytes() == b"mine"


def test_a_list_that_says_something_else_is_not_touched(folders: tuple[Path, Path]) -> None:
    voc, sbd = folders
    id_list = voc / "ImageSets/Segmentation/trainaug.txt"
    id_list.write_text("2007_000032\n2009_000001\n")
    assert refusal(voc, sbd) == (
        f"{id_list}: is there and lists 2 pictures, but VOC and SBD give 4 (4 differ); "
        "move it away, and it is written again"
    )
    assert not (voc / "SegmentationClassAug").exists()
    id_list.write_text("\n".join(reversed(MERGED)))
    merge_sbd(voc, sbd)
    assert id_list.read_text().split() == MERGED[::-1]


def test_what_is_missing_is_named(folders: tuple[Path, Path]) -> None:
    voc, sbd = folders
    assert refusal(voc, sbd / "cls").startswith(f"{sbd}/cls: holds no folder cls, expected SBD as torchvision")
    assert refusal(sbd, sbd).startswith(f"{sbd}: holds no ImageSets/Segmentation; {sbd} holds cls/")
    (voc / "JPEGImages/2008_000008.jpg").unlink()
    assert refusal(voc, sbd) == (
        f"{voc}/JPEGImages/2008_000008.jpg: no such file; 1 of the 4 training pictures are missing; complete VOC 2012"
    )
    picture(voc / "JPEGImages/2008_000008.jpg")
    (sbd / "cls/2008_000002.mat").unlink()
    assert refusal(voc, sbd).startswith(f"{sbd}/cls/2008_000002.mat: no such file, expected an annotation of SBD")
    mat(sbd / "cls/2008_000002.mat", stripes(0, 21))
    assert "holds uint8 [12, 10] with values up to 21, expected a map of class ids 0 to 20" in refusal(voc, sbd)
    (sbd / "val.txt").unlink()
    assert refusal(voc, sbd).startswith(f"{sbd}/val.txt: no such file, expected a list of picture ids")


def test_sbd_as_its_archive_unpacks(folders: tuple[Path, Path]) -> None:
    voc, sbd = folders
    (sbd.parent / "benchmark_RELEASE").mkdir()
    sbd.rename(sbd.parent / "benchmark_RELEASE/dataset")
    assert merge_sbd(voc, sbd.parent).pictures == 4


def test_without_scipy_one_line_says_so(folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_scipy(name: str, *arguments: Any, **options: Any) -> Any:
        if name.startswith("scipy"):
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without_scipy)
    assert refusal(*folders) == "SBD's annotations are .mat files, which need the package scipy; pip install scipy"
