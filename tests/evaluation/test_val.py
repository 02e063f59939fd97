"""`ce2p val`: checkpoints and exported files are scored by the same code, and mistakes get one line."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from ce2p.checkpoints import load_checkpoint, save_checkpoint
from ce2p.cli.announcements import show_announcements
from ce2p.cli.val import parse_scales, run
from ce2p.data.annotations import read_image, read_labels
from ce2p.data.splits import open_split
from ce2p.errors import CE2PError, ConfigError, DataError
from ce2p.evaluation.scores import ConfusionMatrix
from ce2p.evaluation.scoring import score
from ce2p.labels import label_set, read_label_set
from ce2p.models import CE2P, CE2PConfig, untrained
from ce2p.synthetic import write_dataset, write_lip_folder
from ce2p_export import GraphOptions, export_onnx, open_model
from ce2p_export.torch_backend import TorchBackend
from ce2p_runtime import BackendError, HumanParser
from ce2p_runtime.base.cache import CACHE_VARIABLE
from ce2p_runtime.errors import CE2PRuntimeError

Tiny = Callable[..., CE2P]
ROOT = Path(__file__).parent.parent.parent
SIZE = (65, 73)
PICTURES = 5


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "lip"
    write_lip_folder(folder, train=1, val=PICTURES, size=(96, 80))
    return folder


@pytest.fixture(scope="module")
def checkpoint(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained SCHP network, which says so, that was trained at SIZE."""
    path = tmp_path_factory.mktemp("checkpoint") / "tiny.safetensors"
    return save_checkpoint(
        path, tiny("schp"), "lip", "untrained (random, seed 0)", {"input_size": list(SIZE)}, untrained=True
    )


@pytest.fixture(scope="module")
def exported(checkpoint: Path) -> Path:
    options = GraphOptions(SIZE, None)
    return export_onnx(open_model(str(checkpoint)), options, checkpoint.with_suffix(".onnx")).path


def test_scores_are_those_of_a_loop_over_the_parser(exported: Path, data: Path) -> None:
    samples, labels = open_split("lip", data, "val"), label_set("lip")
    told: list[tuple[int, int]] = []
    with HumanParser(exported, backend="onnxruntime", device="cpu", batch=2) as parser:
        scores = score(parser, samples, labels, lambda step, done, total: told.append((done, total)))
        matrix, pictures = ConfusionMatrix(20), []
        for sample in samples:
            assert sample.labels is not None
            own = ConfusionMatrix(20)
            own.add(read_labels(sample.labels), parser(read_image(sample.image)).labels)
            matrix.counts += own.counts
            pictures.append((sample.name, own.mean_iou_present(), own.pixel_accuracy()))
    np.testing.assert_array_equal(scores.counts, matrix.counts)
    assert [(p.name, p.mean_iou, p.pixel_accuracy) for p in scores.pictures] == pictures
    assert told == [(done, PICTURES) for done in range(1, PICTURES + 1)]
    assert scores.pixels == PICTURES * 96 * 80
    assert "untrained" in scores.model


def test_a_checkpoint_and_its_export_give_the_same_labels(checkpoint: Path, exported: Path) -> None:
    loaded = load_checkpoint(checkpoint)
    frame = np.random.default_rng(0).integers(0, 256, (90, 77, 3), np.uint8)
    frame = cv2.GaussianBlur(frame, (0, 0), 5)
    with HumanParser(exported, backend="onnxruntime", device="cpu") as files:
        ours = HumanParser.on(TorchBackend.of(loaded), name="checkpoint")
        same = dataclasses.replace(files.metadata, extra={}, digest="")  # there is no file yet that it is of
        assert dataclasses.replace(ours.metadata, extra={}) == same
        assert ours.metadata.extra["backbone"] == "r18"
        assert (ours(frame).labels == files(frame).labels).mean() > 0.999


def test_a_network_in_training_is_scored_in_eval_mode_and_left_as_it_was(tiny: Tiny) -> None:
    net = TorchBackend(tiny("schp"), label_set("lip"), SIZE)  # in eval mode, as made
    batch = np.random.default_rng(0).standard_normal((2, 3, *SIZE), np.float32)
    expected = net.run(batch)[0]
    copied = CE2P(tiny("schp").config)
    copied.load_state_dict(tiny("schp").state_dict())
    copied.train()
    copied.backbone.eval()  # a part that training froze
    modes = [module.training for module in copied.modules()]
    before = {name: value.clone() for name, value in copied.state_dict().items()}
    found = TorchBackend(copied, label_set("lip"), SIZE).run(batch)[0]
    np.testing.assert_array_equal(found, expected)
    assert [module.training for module in copied.modules()] == modes
    for name, value in copied.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_the_torch_backend_takes_any_size_and_refuses_devices_that_are_not_there(tiny: Tiny) -> None:
    backend = TorchBackend(tiny("ssseg"), label_set("lip"), SIZE, channels_last=True)
    assert (backend.device, backend.batch, backend.any_size) == ("cpu", None, True)
    for height, width in ((33, 65), (97, 81)):
        (logits,) = backend.run(np.zeros((1, 3, height, width), np.float32))
        assert logits.shape == (1, 20, (height + 3) // 4, (width + 3) // 4)
        assert logits.dtype == np.float32
    backend.close()
    with pytest.raises(BackendError, match="closed"):
        backend.run(np.zeros((1, 3, 65, 65), np.float32))
    for device, message in (("cuda:77", "sees"), ("tpu", "unknown"), ("meta", "unknown")):
        with pytest.raises(BackendError, match=message):
            TorchBackend(tiny("ssseg"), label_set("lip"), SIZE, device)


def test_the_command_reports_in_every_form(
    checkpoint: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    show_announcements()
    options = {"flip": True, "scales": (0.75, 1.0), "threads": 1}
    run(checkpoint, data, output=tmp_path / "out", **options)
    printed = capsys.readouterr()
    assert "Left-arm" in printed.out
    assert "mIoU, classes present" in printed.out
    assert "No figure is published for this row." in printed.out
    assert "the mirrored picture and scales 0.75, 1" in printed.err
    assert "untrained" in printed.err
    document = json.loads((tmp_path / "out/scores.json").read_text())
    assert document["pictures"] == PICTURES
    assert "5 pictures of Look into Person, split val" in document["model"]
    assert "| Background |" in (tmp_path / "out/scores.md").read_text()
    picture = cv2.imread(str(tmp_path / "out/worst.jpg"))
    assert picture.shape[0] > 3 * 384  # five rows in two columns
    run(checkpoint, data, limit=2, json="-", **options)
    limited = json.loads(capsys.readouterr().out)
    assert limited["pictures"] == 2
    assert "the first 2 of 5 pictures" in limited["model"]


def test_flipping_and_scales_change_the_scores_and_scale_one_does_not(
    checkpoint: Path, data: Path, tmp_path: Path
) -> None:
    counted = []
    for number, (flip, scales) in enumerate(((False, (1.0,)), (True, (1.0,)), (True, (0.75, 1.25)))):
        target = tmp_path / f"{number}.json"
        run(checkpoint, data, flip=flip, scales=scales, json=str(target))
        counted.append(json.loads(target.read_text())["pixel_accuracy"])
    assert len(set(counted)) == 3


def test_a_named_row_is_compared_with_its_published_figure(
    exported: Path, data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tiny network passes for one of a published row."""
    from ce2p_runtime.backends import onnxruntime

    real = onnxruntime.checked_metadata

    def as_ssseg(path: Path) -> object:
        metadata = real(path)
        return dataclasses.replace(metadata, family="ssseg", extra={**metadata.extra, "backbone": "r101"})

    monkeypatch.setattr(onnxruntime, "checked_metadata", as_ssseg)
    run(exported, data, backend="onnxruntime", device="cpu", limit=1, json="-")
    document = json.loads(capsys.readouterr().out)
    assert document["published"][0]["value"] == 54.02
    assert document["difference"] == pytest.approx(100 * document["mean_iou"] - 54.02)


def test_exported_files_are_scored_where_torch_cannot_be_imported(exported: Path, data: Path, tmp_path: Path) -> None:
    blocked = "{'torch', 'torchvision', 'safetensors', 'onnx', 'onnxscript', 'skimage', 'ce2p_export', 'pydantic'}"
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "class Block:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.partition('.')[0] in {blocked}: raise ModuleNotFoundError(name, name=name)\n"
        "sys.meta_path.insert(0, Block())\n"
        "from ce2p.cli.val import run\n"
        f"run(Path({str(exported)!r}), Path({str(data)!r}), flip=True, limit=2, device='cpu',\n"
        f"    output=Path({str(tmp_path)!r}))\n"
    )
    environment = {
        "PYTHONPATH": ":".join(str(path) for path in (ROOT, ROOT / "export", ROOT / "runtime")),
        "PATH": "",
        CACHE_VARIABLE: os.environ[CACHE_VARIABLE],
    }
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "scores.json").read_text())["pictures"] == 2


def test_classes_of_ones_own_come_from_the_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "mine"
    write_dataset(data, "custom", train=0, val=2, size=(96, 80))
    labels = read_label_set(data)
    net = untrained(CE2PConfig.of("schp", "r18", 16, labels.num_classes))
    path = save_checkpoint(tmp_path / "net.safetensors", net, labels, "trained", {"input_size": list(SIZE)})
    run(path, data, json="-")
    document = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in document["classes"]] == list(labels.names)
    assert document["published"] == []
    names = (data / "classes.txt").read_text().splitlines()
    (data / "classes.txt").write_text("\n".join([names[0], "Kilt", *names[2:]]))
    with pytest.raises(ConfigError, match=f"its class 1 is {names[1]} .custom., that of mine is Kilt"):
        run(path, data)


def test_mistakes_get_one_line(checkpoint: Path, exported: Path, data: Path, tmp_path: Path) -> None:
    voc = tmp_path / "voc"
    cases: list[tuple[dict[str, Any], type[Exception], str]] = [
        ({"model": None, "data": data}, ConfigError, "expected a MODEL"),
        ({"model": exported, "data": data, "strict": True}, ConfigError, "add --instances"),
        ({"model": exported, "data": data, "dataset": "voc"}, ConfigError, "has 20 classes .lip., PASCAL VOC has 21"),
        ({"model": exported, "data": data, "dataset": "cihp"}, ConfigError, "class 10 is Jumpsuits .* is Torso-skin"),
        ({"model": checkpoint, "data": data, "dataset": "voc"}, CE2PError, "--dataset voc asked for"),
        (
            {"model": exported, "data": data, "imgsz": (97, 97)},
            ConfigError,
            "takes 65x73 inputs, --imgsz 97x97 asked for",
        ),
        ({"model": exported, "data": data, "stride": 8}, ConfigError, "--os 8: is for checkpoints"),
        ({"model": exported, "data": data, "scales": (0.5, 1.0)}, BackendError, "takes 65x73 inputs only"),
        (
            {"model": checkpoint, "data": data, "backend": "openvino"},
            ConfigError,
            "runs in PyTorch, --backend openvino",
        ),
        ({"model": checkpoint, "data": data, "split": "test"}, DataError, "test_id.txt"),
        ({"model": checkpoint, "data": tmp_path / "nowhere"}, DataError, "nowhere"),
        ({"model": tmp_path / "no.pth", "data": data}, CE2PError, "no.pth"),
        ({"model": exported, "data": data, "instances": tmp_path}, ConfigError, "leave MODEL out"),
        (
            {"model": None, "data": data, "instances": tmp_path},
            ConfigError,
            "scored on the layout of cihp, this is lip",
        ),
        ({"model": None, "data": voc, "instances": tmp_path}, DataError, "voc: no such folder"),
    ]
    for asked, kind, message in cases:
        on_cpu = {} if asked.get("instances") else {"device": "cpu"}
        with pytest.raises(kind, match=message) as refusal:
            run(**asked, **on_cpu)
        assert isinstance(refusal.value, (CE2PError, CE2PRuntimeError))
        assert "\n" not in str(refusal.value), message


def test_bad_annotations_are_named(exported: Path, tmp_path: Path) -> None:
    data = tmp_path / "lip"
    write_lip_folder(data, train=0, val=2, size=(96, 80))
    annotation = open_split("lip", data, "val")[1].labels
    assert annotation is not None
    for values, message in (
        (np.full((96, 80), 20, np.uint8), "holds label 20 in 7680 pixels, expected 0 to 19 or 255"),
        (np.zeros((96, 81), np.uint8), r"is 96x81 \(height x width\), its picture .* is 96x80, expected the same size"),
    ):
        cv2.imwrite(str(annotation), values)
        with pytest.raises(DataError, match=message) as refusal:
            run(exported, data, device="cpu")
        assert str(annotation) in str(refusal.value)


def test_scales_are_read_from_text() -> None:
    assert parse_scales("0.75,1,1.25") == (0.75, 1.0, 1.25)
    assert parse_scales("1") == (1.0,)
    for text in ("", "a", "1,", "0,1", "1,1", "nan", "20"):
        with pytest.raises(ConfigError, match="--scales"):
            parse_scales(text)
