"""`import ce2p`: what the commands do, as functions, with the files, figures and refusals of the commands."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import ce2p
from ce2p import __main__ as command
from ce2p.checkpoints import save_checkpoint
from ce2p.errors import ConfigError, DataError
from ce2p.models import CE2P
from ce2p.synthetic import write_lip_folder
from ce2p_runtime import HumanParser, MediaError

LOOSE = {
    "pixel_agreement": 0.9,
    "worst_picture": 0.8,
    "boundary_agreement": 0.7,
    "class_iou": 0.3,
    "miou_loss": 1.0,
    "worst_class": 0.0,
}
"""What 8 bits leave of the labels of random weights."""


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "people"
    write_lip_folder(folder, train=2, val=2, size=(110, 90))
    return folder


@pytest.fixture(scope="module")
def checkpoint(tiny: Callable[..., CE2P], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_checkpoint(
        tmp_path_factory.mktemp("net") / "net.safetensors", tiny("schp"), "lip", "trained for a test"
    )


def test_the_import_is_light_and_offers_every_name() -> None:
    code = (
        "import sys, ce2p\n"
        "heavy = {'torch', 'numpy', 'cv2', 'onnx', 'onnxruntime', 'openvino', 'typer'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "assert set(dir(ce2p)) >= {'load', 'build', 'export', 'build_engine', 'verify', 'score', 'benchmark'}\n"
        "import ce2p_runtime\n"
        "assert ce2p.open is ce2p_runtime.HumanParser\n"
        "assert 'torch' not in sys.modules\n"
        "from ce2p import *\n"
        "assert open.__module__ in ('io', '_io')  # a star import leaves Python's own\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert all(callable(getattr(ce2p, name)) for name in ce2p.__all__ if name != "__version__")
    with pytest.raises(AttributeError, match="has no attribute 'exprot'"):
        ce2p.exprot  # noqa: B018


def test_three_lines_of_python_give_the_file_of_the_command(
    checkpoint: Path, people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("ce2p_export.proposals.MAX_COST", 10.0)  # nothing is spared, whatever the processor
    steps = []
    caplog.set_level(logging.INFO, "ce2p")
    net = ce2p.load(checkpoint)
    made = ce2p.export(
        net,
        tmp_path / "python.onnx",
        precision="int8",
        calib=people,
        imgsz=65,
        calib_count=2,
        gate_count=2,
        gate=LOOSE,
        backends=["onnxruntime"],
        progress=lambda step, done, total: steps.append(step),
    )
    assert "gate: on 2 pictures of people, split val, with truth" in caplog.text.replace(str(people), "people")
    assert {"folding", "tracing", "calibrating", "judging labels"} <= set(steps)
    assert (made.path, made.proof, made.gate is not None and made.gate.passed) == (tmp_path / "python.onnx", None, True)
    assert made.folds
    assert made.kept == ()
    options = ["--imgsz", "65", "--calib-count", "2", "--gate-count", "2", "--backend", "onnxruntime"]
    limits = [part for name, limit in LOOSE.items() for part in ("--gate", f"{name}={limit}")]
    arguments = [str(checkpoint), "--precision", "int8", "--calib", str(people), "-o", str(tmp_path / "command.onnx")]
    monkeypatch.setattr("sys.argv", ["ce2p", "export", *arguments, *options, *limits])
    with pytest.raises(SystemExit) as ending:
        command.main()
    assert not ending.value.code
    assert (tmp_path / "command.onnx").read_bytes() == made.path.read_bytes()


def test_a_network_is_verified_scored_and_timed(checkpoint: Path, people: Path, tmp_path: Path) -> None:
    net = ce2p.load(checkpoint)
    made = ce2p.export(net, tmp_path / "net.onnx", imgsz=65, gate=False)
    assert made.proof is not None
    assert made.proof.failure is None
    verified = ce2p.verify(net, made.path, data=people, limit=1, backend="onnxruntime", device="cpu")
    assert verified.passed
    assert verified.compared_on == f"1 of 2 pictures of {people}, split val, with truth"
    assert verified.report.reference == "net"
    stranger = ce2p.build("lip-r18-os16", family="schp", seed=1)
    assert not ce2p.verify(stranger, made.path, limit=1, backend="onnxruntime", device="cpu").passed
    of_file = ce2p.score(made.path, people, backend="onnxruntime", device="cpu", worst=tmp_path / "worst.jpg")
    of_network = ce2p.score(net, people, imgsz=(65, 65), device="cpu")
    assert 0 <= of_file.miou <= 1
    assert of_file.pixel_accuracy == pytest.approx(of_network.pixel_accuracy, abs=0.001)
    assert (tmp_path / "worst.jpg").exists()
    timed = ce2p.benchmark(
        [made.path], backends=["onnxruntime"], size=(60, 50), rounds=1, warmup=0, throughput=False, gate=False
    )
    report = timed.save(tmp_path / "report")
    assert report.read_text().startswith("#")
    assert {"benchmark.json", "benchmark.csv"} <= {path.name for path in report.parent.iterdir()}
    with pytest.raises(MediaError, match="exists"):
        timed.save(tmp_path / "report")
    parsed = ce2p.parse(people / "val_images", made.path, tmp_path / "parsed", save=["labels"], backend="onnxruntime")
    parsed.require()
    assert (parsed.parsed, parsed.expected, parsed.problems, parsed.interrupted) == (2, 2, (), False)
    assert {entry["labels"] for entry in parsed.results} == {str(path) for path in (tmp_path / "parsed").iterdir()}
    with pytest.raises(MediaError, match="exists, 2 of 2 results in all"):
        ce2p.parse(people / "val_images", made.path, tmp_path / "parsed", save=["labels"], backend="onnxruntime")
    with ce2p.open(made.path, backend="onnxruntime", device="cpu") as parser:
        assert isinstance(parser, HumanParser)
    with ce2p.open_people(made.path, backend="onnxruntime", device="cpu") as several:
        assert several.descriptions() == [f"global: net.onnx: {parser.metadata.summary}; onnxruntime on cpu"]


def test_people_are_drawn_checked_and_trained_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "ce2p")
    told: list[tuple[str, int, int]] = []
    scored: list[tuple[int, float, bool]] = []
    data = tmp_path / "people"
    ce2p.draw_data(data, train=4, val=1, size=(64, 64), progress=lambda *step: told.append(step))
    checked = ce2p.check_data(data, progress=lambda *step: told.append(step))
    assert (checked.problems, list(checked.splits)) == ((), ["train", "val"])
    checked.require()
    trained = ce2p.train(
        "lip-r18-os16",
        data,
        recipe="tiny",
        overrides=("input_size=64", "batch=4", "epochs=1", "loss.class_weights=true"),
        output=tmp_path / "run",
        device="cpu",
        validate_every=1,
        progress=lambda *step: told.append(step),
        on_step=lambda report: told.append(("training", report.step, report.total_steps)),
        on_scores=lambda epoch, scores, best: scored.append((epoch, scores["mean_iou"], best)),
    )
    assert {("drawing people", 5, 5), ("checking train", 4, 4), ("counting classes", 4, 4), ("training", 1, 1)} <= {
        *told
    }
    assert scored == [(0, trained.best_miou, True)]
    assert (trained.best, trained.epochs, trained.leads) == (tmp_path / "run/best.safetensors", 1, True)
    assert trained.last.exists()
    assert "starting from random weights" in caplog.text
    (data / "train_images/train_000000.jpg").unlink()
    with pytest.raises(DataError, match=r"train_000000\.jpg: no such file"):
        ce2p.check_data(data, splits=["train"]).require()


def test_an_untrained_network_says_so_and_judges_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    net = ce2p.build("lip-r18-os16", family="schp", seed=3)
    caplog.set_level(logging.INFO, "ce2p")
    made = ce2p.export(net, tmp_path / "random.onnx", imgsz=65, gate_count=1)
    assert made.metadata.untrained
    assert "these weights are untrained" in caplog.text


def test_what_the_command_refuses_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="names a network but no weights"):
        ce2p.load("lip-r18-os16")
    with pytest.raises(ConfigError, match="gate speed=1: expected a limit from 0 to 1 for one of pixel_agreement"):
        ce2p.export(checkpoint, tmp_path / "x.onnx", gate={"speed": 1})
    (tmp_path / "mine.onnx").write_bytes(b"mine")
    for overwrite in (False, "same model"):
        with pytest.raises(MediaError, match=r"mine\.onnx: exists"):
            ce2p.export(checkpoint, tmp_path / "mine.onnx", overwrite=overwrite)
    assert (tmp_path / "mine.onnx").read_bytes() == b"mine"
