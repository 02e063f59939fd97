"""`ce2p export --precision ...` as a user types it: calibration, gate, worst picture, refusals."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest

from ce2p import __main__ as command
from ce2p.api.export import full_batches, limits_of
from ce2p.checkpoints import save_checkpoint
from ce2p.cli.arguments import gate_limits
from ce2p.errors import ConfigError
from ce2p.models import CE2P
from ce2p.synthetic import write_lip_folder
from ce2p_runtime.precisions import PRECISIONS

Run = Callable[..., tuple[int, str, str]]
LOOSE = [
    argument
    for limit in (
        "pixel_agreement=0.9",
        "worst_picture=0.8",
        "boundary_agreement=0.7",
        "class_iou=0.3",
        "miou_loss=1",
        "worst_class=0",
    )
    for argument in ("--gate", limit)
]
"""What 8 bits leave of the labels of random weights."""
NO_LIMITS = [argument.partition("=")[0] + "=0" if "=" in argument else argument for argument in LOOSE]
NO_LIMITS[NO_LIMITS.index("miou_loss=0")] = "miou_loss=1"
"""For what is not about the gate: a file that fails is searched, which takes longer than all the rest."""


@pytest.fixture
def export(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """`ce2p export ...` in this process, in an empty working folder; status, standard output, standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CE2P_CACHE", str(tmp_path / "cache"))

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["ce2p", "export", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ending:
            command.main()
        return (int(ending.value.code or 0), *capsys.readouterr())

    return run


@pytest.fixture
def checkpoint(tiny: Callable[..., CE2P], tmp_path: Path) -> Path:
    return save_checkpoint(tmp_path / "net.safetensors", tiny("schp"), "lip", "trained for a test")


@pytest.mark.parametrize(("allowance", "spared"), [(-10.0, True), (10.0, False)], ids=["groups spared", "none spared"])
def test_an_int8_file_from_a_data_set(
    export: Run, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, allowance: float, spared: bool
) -> None:
    # What converting a group costs depends on the processor; that it costs more or less than this does not.
    monkeypatch.setattr("ce2p_export.proposals.MAX_COST", allowance)
    write_lip_folder(tmp_path / "people", train=3, val=2, size=(110, 90))
    small = ("--imgsz", "97", "--calib-count", "2", "--gate-count", "2", "--backend", "onnxruntime")
    status, out, err = export(
        checkpoint, "--precision", "int8", "--calib", "people", *small, *LOOSE, "--json", "facts.json"
    )
    assert status == 0, err
    assert "gate: on 2 pictures of people, split val, with truth" in err
    assert "calibration: mse, on 2 of 3 pictures of people, split train, with truth" in err
    assert "agreement in the boundary band" in out
    assert ("kept in higher precision: pyramid.context, fusion.classifier" in out) is spared
    assert ("kept in higher precision" in out) is spared
    facts = json.loads(Path("facts.json").read_text())
    assert facts["precision"] == "int8"
    assert facts["extra"]["gate"]["passed_on"] == ["onnxruntime"]
    assert facts["path"].endswith("net_int8_97x97.onnx")
    assert cv2.imread(str(tmp_path / "net_int8_97x97_worst.png")) is not None


@pytest.mark.parametrize(
    ("arguments", "factorised"),
    [(("--calib", "people"), True), (("--calib", "people", "--no-low-rank"), False), ((), False)],
    ids=["own pictures", "own pictures, not wanted", "synthetic people"],
)
def test_own_pictures_allow_a_lower_rank(
    export: Run,
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    factorised: bool,
) -> None:
    monkeypatch.setattr("ce2p_export.precision.low_rank.ERROR", 1.0)  # few small pictures say little about others
    monkeypatch.setattr("ce2p_export.proposals.MAX_COST", 10.0)
    write_lip_folder(tmp_path / "people", train=8, val=1, size=(110, 90))
    small = ("--imgsz", "97", "--calib-count", "8", "--gate-count", "1", "--backend", "onnxruntime")
    status, out, err = export(checkpoint, "--precision", "int8", *arguments, *small, *NO_LIMITS)
    assert status == 0, err
    assert ("factorising the context convolution ..." in err) is factorised
    assert ("context convolution factorised: it reads" in out) is factorised
    assert ("synthetic people do not show what photographs need" in err) is (not arguments)


def test_a_file_that_is_not_as_good_is_not_written(export: Run, checkpoint: Path, tmp_path: Path) -> None:
    small = ("--imgsz", "65", "--calib-count", "1", "--gate-count", "1", "--backend", "onnxruntime", "--no-search")
    strict = ("--gate", "pixel_agreement=1", "--gate", "boundary_agreement=1")
    status, _, err = export(checkpoint, "--precision", "int8", *small, *strict)
    assert status == 1
    (line,) = [line for line in err.splitlines() if line.startswith("error: ")]
    assert "not written, its labels are not those of the trained network" in line
    assert "the layers that cost most: " in line
    assert "leave --no-search out" in line
    assert not list(tmp_path.glob("*.onnx"))
    assert (tmp_path / "net_int8_65x65_worst.png").exists()  # what it would have done


def test_a_switched_off_gate_is_said(export: Run, checkpoint: Path) -> None:
    status, out, err = export(checkpoint, "--imgsz", "65", "--gate", "off")
    assert status == 0, err
    assert "note: --gate off: nobody compares the labels" in err
    assert "Gate:" not in out


def test_random_weights_are_measured_and_decide_nothing(export: Run) -> None:
    small = ("--imgsz", "65", "--calib-count", "1", "--gate-count", "1")
    status, out, err = export("lip-r18-os16", "--family", "schp", "--random", "--precision", "int8", *small)
    assert status == 0, err
    assert "note: these weights are untrained: the gate's figures are kept, but mean nothing" in err
    assert "exported lip-r18-os16_int8_65x65.onnx" in out


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("--gate", "pixels=0.9"), "--gate pixels=0.9: expected off, or a limit from 0 to 1"),
        (("--gate", "pixel_agreement=99"), "--gate pixel_agreement=99: expected off"),
        (("--precision", "int8", "--calib", "nowhere"), "nowhere: no such file"),
        (("--precision", "int8", "--no-fold"), "leave --no-fold out"),
        (("--io", "float16"), "float16 inputs and outputs asked for, but the inside is fp32"),
    ],
)
def test_mistakes(export: Run, checkpoint: Path, arguments: tuple[str, ...], line: str) -> None:
    status, _, err = export(checkpoint, "--imgsz", "65", "--gate-count", "1", "--calib-count", "1", *arguments)
    assert status == 1
    (found,) = [text for text in err.splitlines() if text.startswith("error: ")]
    assert line in found


def test_limits_replace_only_what_they_name() -> None:
    usual = PRECISIONS["int8"].labels
    changed = limits_of(gate_limits(["boundary_agreement=0.97"]), usual)
    assert changed == dataclasses.replace(usual, boundary_agreement=0.97)
    assert limits_of(gate_limits([]), usual) == usual
    assert limits_of(gate_limits(["off"]), usual) is None
    for wrong in (["off", "pixel_agreement=0.9"], ["pixel_agreement=2"], ["speed=1"]):
        with pytest.raises(ConfigError):
            gate_limits(wrong)
    for unknown in ({"speed": 1.0}, {"pixel_agreement": 2.0}):
        with pytest.raises(ConfigError, match="expected a limit from 0 to 1 for one of pixel_agreement, "):
            limits_of(unknown, usual)


@pytest.mark.parametrize("pictures", [1, 2, 3, 7, 32])
@pytest.mark.parametrize("size", [1, 2, 4, 16])
def test_calibration_batches_are_full_of_pictures(pictures: int, size: int) -> None:
    batches = full_batches(pictures, size)
    assert {len(batch) for batch in batches} == {size}
    places = [index for batch in batches for index in batch]
    assert places[:pictures] == list(range(pictures))
    if pictures > 1:
        assert all(index % 2 == place % 2 for place, index in enumerate(places))
