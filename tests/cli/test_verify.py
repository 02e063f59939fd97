"""`ce2p verify` as a user types it, and the pictures that gates compare on."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from ce2p import __main__ as command
from ce2p.api.pictures import choose_pictures
from ce2p.checkpoints import save_checkpoint
from ce2p.cli.verify import run
from ce2p.data.annotations import read_image, read_labels
from ce2p.errors import CE2PError, ConfigError, DataError
from ce2p.labels import LABEL_SETS
from ce2p.models import CE2P, CE2PConfig, untrained
from ce2p.synthetic import write_dataset, write_lip_folder
from ce2p_export import GraphOptions, export_onnx, open_model
from ce2p_runtime import BackendError, HumanParser, MediaError, ModelFileError, ModelMetadata
from ce2p_runtime.errors import CE2PRuntimeError
from ce2p_runtime.judge import GateError

Tiny = Callable[..., CE2P]
ROOT = Path(__file__).parent.parent.parent
PICTURES = 5


@dataclass(frozen=True)
class Ending:
    status: int
    out: str
    err: str


Run = Callable[..., Ending]


@pytest.fixture
def verify(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """`ce2p verify ...` in this process."""

    def typed(*arguments: object) -> Ending:
        monkeypatch.setattr("sys.argv", ["ce2p", "verify", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ending:
            command.main()
        captured = capsys.readouterr()
        return Ending(int(ending.value.code or 0), captured.out, captured.err)

    return typed


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "lip"
    write_lip_folder(folder, train=2, val=PICTURES, size=(110, 90))
    return folder


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network of `tiny_model` with other weights."""
    path = tmp_path_factory.mktemp("other") / "other.onnx"
    return export_onnx(
        open_model("lip-r18-os16", family="schp", random=True, seed=1), GraphOptions((97, 97)), path
    ).path


@pytest.fixture(scope="module")
def lip(tiny_model: Path) -> ModelMetadata:
    with HumanParser(tiny_model, backend="onnxruntime", device="cpu") as parser:
        return parser.metadata


def test_a_file_is_as_good_as_itself(verify: Run, tiny_model: Path) -> None:
    ending = verify(tiny_model, tiny_model, "--backend", "onnxruntime", "--limit", 2)
    assert ending.status == 0, ending
    assert ending.out.endswith("passed\n")
    assert "2 synthetic pictures, with truth" in " ".join(ending.out.split())
    assert "FAILED" not in ending.out
    assert "Right-shoe" in ending.out
    assert "reference: tiny.onnx" in ending.err
    assert "candidate: tiny.onnx" in ending.err
    assert "untrained: where labels mean nothing" in ending.err


def test_a_file_with_other_weights_is_stopped(verify: Run, tiny_model: Path, other: Path, tmp_path: Path) -> None:
    ending = verify(tiny_model, other, "--backend", "onnxruntime", "--limit", 2, "-o", tmp_path / "out")
    assert ending.status == 1
    assert "not passed" in ending.out
    assert "FAILED" in ending.out
    last = ending.err.splitlines()[-1]
    assert last.startswith("error: other.onnx: is not as good as tiny.onnx by the limits for fp32: pixel agreement is")
    document = json.loads((tmp_path / "out/gate.json").read_text())
    assert document["passed"] is False
    assert document["failures"]
    painted = cv2.imread(str(tmp_path / "out/worst.png"))
    assert painted is not None
    assert painted.shape[1] > 4 * 384


def test_the_reference_runs_where_it_is_exact_whatever_the_candidates_backend(
    verify: Run, tiny_model: Path, tmp_path: Path
) -> None:
    ending = verify(tiny_model, tiny_model, "--backend", "openvino", "--limit", 2, "--json", tmp_path / "gate.json")
    assert ending.status == 0, ending
    document = json.loads((tmp_path / "gate.json").read_text())
    assert document["reference"] == {"name": "tiny.onnx", "runs_on": "onnxruntime on cpu"}
    assert document["candidate"] == {"name": "tiny.onnx", "runs_on": "openvino on cpu"}
    assert document["compared_on"] == "2 synthetic pictures, with truth"


def test_a_checkpoint_against_its_export_on_a_data_set(tiny: Tiny, data: Path, tmp_path: Path, verify: Run) -> None:
    training = {"input_size": [65, 73]}
    checkpoint = save_checkpoint(
        tmp_path / "net.safetensors", tiny("schp"), "lip", "untrained (random, seed 0)", training
    )
    exported = export_onnx(open_model(str(checkpoint)), GraphOptions((97, 97)), tmp_path / "net.onnx").path
    ending = verify(checkpoint, exported, "--data", data, "--backend", "onnxruntime", "--limit", 3, "--json")
    assert ending.status == 0, ending
    document = json.loads(ending.out)
    assert document["reference"] == {"name": "net.safetensors", "runs_on": "torch on cpu"}
    assert document["compared_on"] == f"3 of {PICTURES} pictures of {data}, split val, with truth"
    assert [p["name"] for p in document["pictures"]] == ["val_000000", "val_000001", "val_000003"]
    assert document["pixel_agreement"] >= 0.9999
    assert document["truth_miou"] == pytest.approx(document["reference_truth_miou"], abs=1e-3)
    assert "is run at 97x97, the candidate's input size, not at its own 65x73" in " ".join(ending.err.split())


def test_the_limits_of_another_precision(verify: Run, tiny_model: Path, other: Path) -> None:
    ending = verify(tiny_model, other, "--backend", "onnxruntime", "--limit", 1, "--precision", "int8")
    assert "Judged by the limits for int8" in ending.out
    assert "is not as good as tiny.onnx by the limits for int8: " in ending.err.splitlines()[-1]
    ending = verify(tiny_model, tiny_model, "--backend", "onnxruntime", "--limit", 1, "--precision", "int8", "--json")
    assert json.loads(ending.out)["thresholds"]["pixel_agreement"] == 0.99
    ending = verify(tiny_model, tiny_model, "--limit", 1, "--precision", "int4")
    assert ending.status == 1
    assert "error: unknown precision 'int4'" in ending.err


def test_what_cannot_be_compared_gets_one_line(
    tiny: Tiny, tiny_model: Path, lip: ModelMetadata, tmp_path: Path
) -> None:
    voc = save_checkpoint(tmp_path / "voc.safetensors", untrained(CE2PConfig.of("schp", "r18", 16, 21)), "voc", "x")
    usual = {"reference": tiny_model, "candidate": tiny_model, "limit": 1, "backend": "onnxruntime", "device": "cpu"}
    cases: list[tuple[dict[str, Any], type[Exception], str]] = [
        ({"reference": voc}, ModelFileError, "has 20 classes .lip., its reference voc.safet"),
        ({"reference": tmp_path / "no.onnx"}, ModelFileError, "no.onnx: no such file"),
        ({"candidate": tmp_path / "no.engine"}, CE2PRuntimeError, "no.engine"),
        ({"reference": tmp_path / "no.pth"}, CE2PError, "no.pth"),
        ({"stride": 8}, ConfigError, "--os 8: is for checkpoints"),
        ({"dataset": "cihp"}, ConfigError, "--dataset cihp: is for checkpoints"),
        ({"backend": "tensorflow"}, BackendError, "unknown backend"),
        ({"data": tmp_path / "nowhere"}, MediaError, "nowhere: no such file"),
    ]
    for bad, kind, message in cases:
        with pytest.raises(kind, match=message) as refusal:
            run(**{**usual, **bad})
        assert "\n" not in str(refusal.value), message


def test_torch_is_not_needed_where_both_are_exported(tiny_model: Path) -> None:
    blocked = "{'torch', 'torchvision', 'safetensors', 'onnx', 'onnxscript', 'skimage', 'ce2p_export'}"
    arguments = ["ce2p", "verify", str(tiny_model), str(tiny_model), "--backend", "onnxruntime", "--limit", "1"]
    code = (
        "import sys\n"
        "class Block:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.partition('.')[0] in {blocked}: raise ModuleNotFoundError(name, name=name)\n"
        "sys.meta_path.insert(0, Block())\n"
        f"sys.argv = {arguments!r}\n"
        "from ce2p.__main__ import main\nmain()"
    )
    environment = {"PYTHONPATH": ":".join(str(path) for path in (ROOT, ROOT / "export", ROOT / "runtime")), "PATH": ""}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr


def test_pictures_of_a_data_set_come_with_their_truth(data: Path, lip: ModelMetadata) -> None:
    pictures, note = choose_pictures(data, lip, 2)
    assert [picture.name for picture in pictures] == ["val_000000", "val_000002"]  # evenly spread over five
    assert note == f"2 of {PICTURES} pictures of {data}, split val, with truth"
    for picture in pictures:
        np.testing.assert_array_equal(picture.image, read_image(data / f"val_images/{picture.name}.jpg"))
        assert picture.truth is not None
        np.testing.assert_array_equal(picture.truth, read_labels(data / f"val_segmentations/{picture.name}.png"))
    assert len(choose_pictures(data, lip, 100)[0]) == PICTURES


def test_a_data_set_without_val_is_taken_from_train(lip: ModelMetadata, tmp_path: Path) -> None:
    write_lip_folder(tmp_path / "lip", train=2, val=0, size=(60, 50))
    (tmp_path / "lip/val_id.txt").unlink()
    pictures, note = choose_pictures(tmp_path / "lip", lip)
    assert len(pictures) == 2
    assert note.endswith("split train, with truth")


def test_a_folder_of_pictures_is_thinned_in_sorted_order(data: Path, lip: ModelMetadata, tmp_path: Path) -> None:
    for index in (10, 2, 1, 3):
        picture = np.full((20 + index, 30, 3), index, np.uint8)
        cv2.imwrite(str(tmp_path / f"f{index}.png"), picture)
    pictures, note = choose_pictures(tmp_path, lip, 2)
    assert [picture.name for picture in pictures] == ["f1.png", "f3.png"]
    assert note == f"2 of 4 pictures of {tmp_path}, without truth"
    assert all(picture.truth is None for picture in pictures)
    assert [int(picture.image[0, 0, 0]) for picture in choose_pictures(tmp_path, lip, 9)[0]] == [1, 2, 3, 10]
    # The folder inside a data set is pictures, and nothing else.
    assert choose_pictures(data / "val_images", lip, 1)[0][0].truth is None


def test_what_a_folder_of_pictures_holds_beside_them_is_said(lip: ModelMetadata, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.full((20, 30, 3), 9, np.uint8))
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "b.heic").write_bytes(b"\0\0\0\x18ftypheic")
    note = choose_pictures(tmp_path, lip, 2)[1]
    assert note.startswith(f"1 picture of {tmp_path}, without truth; ")
    assert "notes.txt" in note
    assert "b.heic" in note


def test_drawn_people_are_the_same_every_time_and_about_the_inputs_size(lip: ModelMetadata) -> None:
    first, again = choose_pictures(None, lip, 4)[0], choose_pictures(None, lip, 4)[0]
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.image, two.image)
        assert one.truth is not None
        assert two.truth is not None
        np.testing.assert_array_equal(one.truth, two.truth)
    assert [picture.image.shape[:2] for picture in first] == [(97, 97), (126, 87), (87, 116), (97, 97)]
    assert not np.array_equal(first[0].image, first[3].image)


def test_drawn_truth_is_of_the_networks_classes_or_not_there(lip: ModelMetadata) -> None:
    def like(dataset: str, names: tuple[str, ...]) -> ModelMetadata:
        return dataclasses.replace(lip, dataset=dataset, class_names=names, palette=((0, 0, 0),) * len(names))

    for dataset in ("cihp", "atr", "ppp", "voc"):
        (picture,) = choose_pictures(None, like(dataset, LABEL_SETS[dataset].names), 1)[0]
        assert picture.truth is not None, dataset
        values = np.unique(picture.truth)
        assert values[values != 255].max() < LABEL_SETS[dataset].num_classes
    assert choose_pictures(None, like("mhp", LABEL_SETS["mhp"].names), 1)[0][0].truth is None
    assert choose_pictures(None, like("custom", ("Background", "Cat")), 1)[0][0].truth is None


def test_pictures_that_cannot_be_used_are_named(data: Path, lip: ModelMetadata, tmp_path: Path) -> None:
    write_dataset(tmp_path / "voc", "voc", train=0, val=1, size=(60, 50))
    with pytest.raises(ConfigError, match=r"layout of data set voc \(21 classes\), the network was trained on lip"):
        choose_pictures(tmp_path / "voc", lip)
    with pytest.raises(ConfigError, match="0 pictures to compare on"):
        choose_pictures(None, lip, 0)
    whole = (data / "val_images/val_000001.jpg").read_bytes()
    broken = tmp_path / "pictures"
    broken.mkdir()
    (broken / "good.jpg").write_bytes(whole)
    (broken / "half.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(MediaError, match=r"half\.jpg: is cut short or damaged"):
        choose_pictures(broken, lip)
    write_lip_folder(tmp_path / "lip", train=0, val=2, size=(60, 50))
    (tmp_path / "lip/val_images/val_000001.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"val_000001\.jpg: is cut short"):
        choose_pictures(tmp_path / "lip", lip)


def test_a_damaged_picture_ends_the_command(verify: Run, tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    ending = verify(tiny_model, tiny_model, "--backend", "onnxruntime", "--data", tmp_path)
    assert ending.status == 1
    assert "empty.png: is empty" in ending.err.splitlines()[-1]
    assert GateError.__name__ not in ending.err


def test_a_file_that_ends_in_labels_is_as_good_as_its_logits(
    verify: Run, tiny_model: Path, data: Path, tmp_path: Path
) -> None:
    """Its labels are warped to the frame by nearest neighbour; so are the reference's then, and only there."""
    source = open_model("lip-r18-os16", family="schp", random=True)
    options = GraphOptions((97, 97), input_kind="uint8", output_kind="labels")
    labels = export_onnx(source, options, tmp_path / "labels.onnx").path
    ending = verify(tiny_model, labels, "--data", data, "--precision", "fp16")
    assert ending.status == 0, ending
