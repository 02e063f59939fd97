"""`ce2p data` through its functions: what a user sees, and one clear line for each kind of bad data."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from ce2p.cli.announcements import show_announcements
from ce2p.cli.data import run_check, run_sbd, run_synthetic
from ce2p.datasets import names_of
from ce2p.errors import DataError
from ce2p.labels import label_set, read_label_set
from ce2p_runtime.errors import MediaError
from tests.data.folders import annotation, picture, places, split, stripes

ROOT = Path(__file__).parent.parent.parent


@dataclass(frozen=True)
class Seen:
    out: str
    err: str
    error: str | None


@pytest.fixture(autouse=True)
def remarks() -> None:
    """What the front door says on its way is printed, as in every command."""
    show_announcements()


@pytest.fixture
def lip(tmp_path: Path) -> Path:
    split("lip", tmp_path / "lip", "train", ["a", "b", "c"])
    split("lip", tmp_path / "lip", "val", ["d"], labels=(0, 13))
    return tmp_path / "lip"


def check(
    capsys: pytest.CaptureFixture[str],
    root: Path,
    dataset: str | None = None,
    splits: list[str] | None = None,
    target: str | None = None,
) -> Seen:
    capsys.readouterr()
    error = None
    try:
        run_check(root, dataset=dataset, splits=splits or (), json=target)
    except DataError as caught:
        error = str(caught)
        assert "\n" not in error
    captured = capsys.readouterr()
    return Seen(captured.out, captured.err, error)


def cells(text: str, name: str) -> list[str]:
    """The cells of the table row that starts with `name`."""
    (line,) = (line for line in text.splitlines() if line.strip("│┃ ").startswith(f"{name} "))
    return [cell.strip() for cell in line.strip("│┃ ").split("│")]


def test_a_good_data_set_shows_what_it_holds(lip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seen = check(capsys, lip)
    assert seen.error is None
    assert f"{lip}: recognised as lip by its folders; --dataset names another" in seen.err
    assert f"train: train_id.txt with train_images, train_segmentations in {lip}" in seen.err
    assert cells(seen.out, "0 Background") == ["0 Background", "33.333%", "3", "50.000%", "1"]
    assert cells(seen.out, "13 Face") == ["13 Face", "0.000%", "0", "50.000%", "1"]
    assert cells(seen.out, "train") == ["train", "3", "12x10", "12x10", "12x10", "0.000%", "0", "0"]
    assert seen.out.rstrip().endswith("no problems")


@pytest.mark.parametrize("fault", ["missing label", "label 20", "size", "empty list", "missing list", "cut picture"])
def test_each_kind_of_bad_data_ends_in_one_clear_line(
    lip: Path, capsys: pytest.CaptureFixture[str], fault: str
) -> None:
    images, labels, id_list = places("lip", lip, "train")
    if fault == "missing label":
        (labels / "b.png").unlink()
        expected = f"{labels}/b.png: no such file"
    elif fault == "label 20":
        annotation(labels / "b.png", stripes(0, 20))
        expected = f"{labels}/b.png: holds label 20 (60 pixels), expected 0 to 19 (Look into Person) or 255 for ignore"
    elif fault == "size":
        picture(images / "b.jpg", (24, 20))
        expected = (
            f"{labels}/b.png: is 12x10 (height x width) but its picture {images}/b.jpg is 24x20, expected the same"
        )
    elif fault == "empty list":
        id_list.write_text("")
        expected = f"{id_list}: lists no id, expected one per line; fill it, or remove it if there is no such split"
    elif fault == "missing list":
        id_list.unlink()
        expected = (
            f"{id_list}: not there, expected the id list (one per line) of the train split of lip; {lip} holds "
            "train_images/, train_segmentations/, val_id.txt, val_images/, val_segmentations/; complete or correct the "
            "folder"
        )
    else:
        (images / "b.jpg").write_bytes((images / "b.jpg").read_bytes()[:200])
        expected = f"{images}/b.jpg: is cut short (its end is missing); copy or download it again"
    seen = check(capsys, lip, "lip", ["train", "val"])
    assert seen.error == expected
    assert cells(seen.out, "val")[1] == "1"  # the other split was checked all the same
    assert expected in seen.out


def test_a_picture_with_nobody_in_it_is_noted_but_no_fault(lip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, labels, _ = places("lip", lip, "train")
    annotation(labels / "b.png", stripes(0, 0))
    seen = check(capsys, lip, "lip", ["train"])
    assert seen.error is None
    assert cells(seen.out, "train")[-1] == "0"
    assert f"note: 1 annotations are background only, such as {labels}/b.png" in seen.err


def test_many_problems_are_counted_and_the_first_twenty_shown(lip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [f"{index:02d}" for index in range(30)]
    split("lip", lip, "train", names)
    for name in names[:22]:
        (lip / f"train_segmentations/{name}.png").unlink()
    annotation(lip / "train_segmentations/29.png", stripes(0, 20, 21))
    target = lip.parent / "report.json"
    seen = check(capsys, lip, "lip", None, str(target))
    assert seen.error == (
        f"{lip}: 23 problems (22 missing, 1 label value), expected none; the first is "
        f"{lip}/train_segmentations/00.png: no such file"
    )
    assert seen.out.count("no such file") == 20
    assert "and 3 more problems; --json lists all" in seen.out
    document = json.loads(target.read_text())
    assert document["problems"] == 23
    assert document["dataset"] == "lip"
    assert [problem["file"][-6:] for problem in document["splits"]["train"]["problems"]] == [
        *(f"{name}.png" for name in names[:22]),
        "29.png",
    ]
    assert document["splits"]["val"]["pixels"][13] == 60
    assert document["splits"]["val"]["problems"] == []


def test_json_alone_on_standard_output(lip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (lip / "val_id.txt").write_text("")
    seen = check(capsys, lip, "lip", None, "-")
    document = json.loads(seen.out)
    assert document["splits"]["val"] == {
        "problems": [
            {
                "file": str(lip / "val_id.txt"),
                "kind": "split",
                "text": "lists no id, expected one per line; fill it, or remove it if there is no such split",
            }
        ]
    }
    assert document["splits"]["train"]["sizes"] == {"min": [12, 10], "median": [12, 10], "max": [12, 10]}
    assert seen.error is not None


def test_ids_in_two_splits_are_remarked(lip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    split("lip", lip, "val", ["b", "d"])
    seen = check(capsys, lip)
    assert "note: 1 ids are in both train and val, such as b" in seen.err
    assert seen.error is None


def test_voc_says_which_list_it_takes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("train", "val"):
        split("voc", tmp_path / "VOCdevkit/VOC2012", name, [f"2007_{name}"], labels=(0, 15, 255), palette=True)
    seen = check(capsys, tmp_path)
    assert "train: ImageSets/Segmentation/train.txt with JPEGImages, SegmentationClass in" in seen.err
    assert cells(seen.out, "train") == ["train", "1", "12x10", "12x10", "12x10", "33.333%", "0", "0"]
    assert seen.error is None


def test_custom_classes_come_from_the_folder(lip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (lip / "classes.txt").write_text("background\nshirt\n")
    seen = check(capsys, lip)
    assert seen.error is not None
    assert "holds label 2 (40 pixels), expected 0 to 1 (lip) or 255" in seen.error
    assert cells(seen.out, "1 shirt")[0] == "1 shirt"


def test_folders_that_cannot_be_checked_at_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        check(capsys, tmp_path / "gone").error == f"{tmp_path}/gone: no such folder, expected the folder of a data set"
    )
    assert str(check(capsys, tmp_path).error).startswith(
        f"{tmp_path}: has the layout of no data set we know; {tmp_path} is empty; name a published one with --dataset "
        f"({', '.join(names_of(layout=True, published=True))}), or bring classes of your own as classes.txt (one name "
    )
    for dataset in ("lip", "custom", "voc", "cihp"):
        error = check(capsys, tmp_path, dataset).error
        assert error is not None
        assert f"{tmp_path} is empty" in error
    assert "no folder layout known for data set 'mhp'" in str(check(capsys, tmp_path, "mhp").error)
    split("lip", tmp_path, "train", ["a"])
    assert check(capsys, tmp_path, "lip", ["trian"]).error == "no split 'trian'; expected train, val or test"
    assert str(check(capsys, tmp_path, "cihp").error).startswith(
        f"{tmp_path}: has the layout of data set lip, expected"
    )


def test_a_folder_of_images_and_masks_is_told_the_layout_to_bring(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture(tmp_path / "images/a.jpg")
    annotation(tmp_path / "masks/a.png", stripes(0, 1))
    error = str(check(capsys, tmp_path).error)
    assert f"{tmp_path} holds images/, masks/" in error
    for part in ("classes.txt", "train_id.txt", "train_images/ID.jpg", "train_segmentations/ID.png", "for val"):
        assert part in error


def test_the_val_split_that_training_will_ask_for_is_missed(lip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (lip / "val_id.txt").unlink()
    seen = check(capsys, lip)
    assert f"{lip / 'val_id.txt'}: not there, expected the id list" in str(seen.error)
    assert "training scores on it, unless it runs with --val-every 0" in str(seen.error)
    assert cells(seen.out, "train")[1] == "3"
    assert check(capsys, lip, None, ["train"]).error is None


@pytest.mark.parametrize(("labels", "found"), [((0, 255), "0 (background) and 255 (ignore)"), ((0,), "0 (background)")])
def test_a_split_whose_masks_hold_no_class_is_a_problem(
    lip: Path, capsys: pytest.CaptureFixture[str], labels: tuple[int, ...], found: str
) -> None:
    split("lip", lip, "train", ["a", "b", "c"], labels=labels)
    seen = check(capsys, lip)
    folder = lip / "train_segmentations"
    assert str(seen.error).startswith(f"{folder}: holds no value but {found} in any annotation, expected class numbers")
    assert ("save it as that class's number" in str(seen.error)) == (255 in labels)


def test_a_published_data_set_does_not_go_with_other_classes(lip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (lip / "classes.txt").write_text("background\nshirt\ntrousers\n")
    error = str(check(capsys, lip, "lip").error)
    assert error.startswith(
        f"{lip / 'classes.txt'}: lists 3 classes (background, shirt, trousers, ...), Look into Person"
    )
    assert "--dataset custom" in error
    (lip / "classes.txt").write_text("\n".join(label_set("lip").names).lower())
    assert check(capsys, lip, "lip").error is None


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (bytes(range(128, 256)) * 9, "is not UTF-8 text"),
        (b"background\n\x1b[31mred\n", "is no name"),
        (b"background\n" + b"x" * 201, "is no name"),
        (b"a\n" * 2**18, "has more than 262,144 bytes"),
        (b"background\n", "1 names"),
    ],
)
def test_a_classes_txt_that_is_none_is_one_line(
    lip: Path, capsys: pytest.CaptureFixture[str], content: bytes, words: str
) -> None:
    (lip / "classes.txt").write_bytes(content)
    error = str(check(capsys, lip).error)
    assert error.startswith(f"{lip / 'classes.txt'}: ")
    assert words in error


def test_a_data_set_in_the_working_folder_has_that_folders_name(lip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (lip / "classes.txt").write_text("background\nshirt\n")
    monkeypatch.chdir(lip)
    assert read_label_set(Path()).title == "lip"


def test_a_json_target_that_must_not_be_replaced_is_refused_before_the_check(
    lip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    list_before = (lip / "val_id.txt").read_bytes()
    for target in ("val_id.txt", "train_images/a.jpg"):
        with pytest.raises(MediaError, match=r"expected a name ending in \.json"):
            check(capsys, lip, target=str(lip / target))
    (lip / "old.json").write_text("{}")
    with pytest.raises(MediaError, match="exists, and the JSON result would replace it"):
        check(capsys, lip, target=str(lip / "old.json"))
    assert (lip / "val_id.txt").read_bytes() == list_before
    assert (lip / "old.json").read_text() == "{}"


@pytest.mark.parametrize("dataset", ["lip", "cihp", "atr", "ppp", "voc"])
def test_synthetic_data_sets_of_every_layout_are_free_of_problems(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], dataset: str
) -> None:
    root = tmp_path / "people"
    run_synthetic(root, dataset=dataset, train=2, val=1, size=(96, 80), seed=0)
    assert f"wrote 2 training and 1 validation pictures of 96x80 to {root}" in capsys.readouterr().out
    seen = check(capsys, root, dataset)
    assert seen.error is None
    assert cells(seen.out, "train")[1:5] == ["2", "96x80", "96x80", "96x80"]
    with pytest.raises(DataError, match="exists already"):
        run_synthetic(root, dataset=dataset, train=2, val=1, size=(96, 80), seed=0)
    with pytest.raises(DataError):
        run_synthetic(tmp_path / "other", dataset=dataset, train=-1, val=1, size=(96, 80), seed=0)


def test_sbd_tells_what_it_did(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("scipy")
    voc, sbd = tmp_path / "VOC2012", tmp_path / "sbd"
    split("voc", voc, "train", ["2007_000032"])
    split("voc", voc, "val", ["2007_000033"])
    (sbd / "cls").mkdir(parents=True)
    for name in ("train", "val"):
        (sbd / f"{name}.txt").write_text("2007_000033\n2007_000032\n")
    run_sbd(tmp_path, sbd)
    seen = capsys.readouterr()
    assert "trainaug.txt: 1 pictures, 1 with VOC's annotations and 0 with SBD's" in seen.out
    assert "note: the complete VOC 2012 and SBD give 10582 pictures" in seen.err


def test_checking_needs_no_torch(lip: Path) -> None:
    code = (
        "import sys\n"
        "class Block:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] in {'torch', 'torchvision', 'scipy', 'onnx', 'pydantic'}:\n"
        "            raise ModuleNotFoundError(name, name=name)\n"
        "sys.meta_path.insert(0, Block())\n"
        "from pathlib import Path\n"
        "from ce2p.cli.data import run_check\n"
        f"run_check(Path({str(lip)!r}))\n"
    )
    environment = {"PYTHONPATH": ":".join(str(ROOT / part) for part in (".", "export", "runtime")), "PATH": ""}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert "no problems" in done.stdout


def test_the_help_shows_the_layout_for_classes_of_ones_own() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ce2p", "data", "check", "--help"], capture_output=True, text=True, check=True, cwd=ROOT
    )
    for part in ("DIR/classes.txt", "DIR/train_id.txt", "DIR/train_images/ID.jpg", "DIR/train_segmentations/ID.png"):
        assert part in done.stdout
