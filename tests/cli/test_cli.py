"""The commands as a user types them: what they print, what they leave, how they end."""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Callable
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest

from ce2p import __version__
from ce2p.checkpoints import save_checkpoint
from ce2p.cli.arguments import batch_size, image_size, normalised
from ce2p.cli.doctor import Finding, examine
from ce2p.errors import ConfigError
from ce2p.models import CE2P
from ce2p.synthetic import walking_sequence
from ce2p_runtime.base.text import install_hint
from ce2p_runtime.media.video import VideoReader, VideoWriter
from tests.cli.command import Run, error_line

Tiny = Callable[..., CE2P]


def test_arguments_a_parser_does_not_know() -> None:
    assert normalised(["export", "m", "--imgsz", "473", "353", "--json"]) == [
        "export",
        "m",
        "--imgsz",
        "473x353",
        "--json",
        "-",
    ]
    assert normalised(["--json", "--edge"]) == ["--json", "-", "--edge"]
    assert normalised(["--json", "f.json", "--imgsz", "97", "-o", "1"]) == [
        "--json",
        "f.json",
        "--imgsz",
        "97",
        "-o",
        "1",
    ]
    assert (image_size("473"), image_size("473x353")) == ((473, 473), (473, 353))
    assert [batch_size(text) for text in ("1", "8", "1,4,16", "dynamic")] == [1, 8, None, None]
    for wrong in ("big", "1x2x3", ""):
        with pytest.raises(ConfigError):
            image_size(wrong)
    for wrong in ("0", "-1", "some", "1,,2"):
        with pytest.raises(ConfigError):
            batch_size(wrong)


def test_export_inspect_parse_in_a_row(ce2p: Run, tiny: Tiny, picture: Path, tmp_path: Path) -> None:
    checkpoint = save_checkpoint(tmp_path / "mine.safetensors", tiny("schp"), "lip", "trained for this test")
    ending = ce2p("export", checkpoint, "--imgsz", "97", "81", "--edge", "--gate-count", "2")
    assert ending.status == 0, ending.err
    assert re.search(r"pyramid pooling +│ +1 ", ending.out)
    assert "Proof: onnxruntime" in ending.out
    assert "(worst)" in ending.out
    model = tmp_path / "mine_fp32_97x81.onnx"
    assert f"ce2p parse PICTURE_OR_VIDEO --model {model}" in ending.out

    facts = json.loads(ce2p("inspect", model, "--json").out)
    assert (facts["family"], facts["input_size"], facts["edge"]) == ("schp", [97, 81], True)
    assert facts["inputs"] == {"image": "FLOAT [1, 3, 97, 81]"}
    assert facts["weights"] == "trained for this test"
    assert facts["gflops"] == round(facts["folds"][-1]["flops_after"] / 1e9, 2)
    assert "GFLOP" in ce2p("inspect", model).out

    ending = ce2p("parse", picture, "--model", model, "-o", "out", "--save", "overlay,labels,masks")
    assert ending.status == 0, ending.err
    labels = cv2.imread(str(tmp_path / "out/person_labels.png"), cv2.IMREAD_COLOR)
    overlay = cv2.imread(str(tmp_path / "out/person_overlay.jpg"))
    assert labels is not None
    assert overlay is not None
    assert labels.shape == overlay.shape == (120, 100, 3)
    assert list((tmp_path / "out/person_masks").glob("person_*.png"))


def test_inspect_shows_a_checkpoint(ce2p: Run, tiny: Tiny, tmp_path: Path) -> None:
    checkpoint = save_checkpoint(
        tmp_path / "mine.safetensors", tiny("ssseg"), "lip", "untrained, seed 0", {"steps": 3}, untrained=True
    )
    facts = json.loads(ce2p("inspect", checkpoint, "--json").out)
    assert facts["kind"] == "checkpoint"
    assert (facts["family"], facts["backbone"], facts["num_classes"]) == ("ssseg", "r18", 20)
    assert facts["gflops_folded"] < facts["gflops"]
    assert facts["training"] == {"steps": 3}


def test_random_models_export_by_name(ce2p: Run, tmp_path: Path) -> None:
    ending = ce2p(
        "export",
        "voc-r18-os8",
        "--random",
        "--imgsz",
        "65",
        "--json",
        "report.json",
        "--input",
        "uint8",
        "--batch",
        "1,4",
    )
    assert ending.status == 0, ending.err
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["weights"] == "untrained (random, seed 0)"
    assert report["dataset"] == "voc"
    assert report["extra"]["batch"] == "dynamic"
    assert (tmp_path / "voc-r18-os8_fp32_65x65.onnx").exists()


def test_half_precision_is_in_the_name_the_proof_and_the_facts(ce2p: Run, tmp_path: Path) -> None:
    name = "lip-r18-os16_fp16_97x97.onnx"
    small = ("--imgsz", "97", "--gate-count", "2")
    ending = ce2p("export", "lip-r18-os16", "--random", *small, "--precision", "fp16")
    assert ending.status == 0, ending.err
    assert [path.name for path in tmp_path.glob("*.onnx")] == [name]
    assert "noise (rounded)" in ending.out
    facts = json.loads(ce2p("inspect", name, "--json").out)
    assert facts["precision"] == "fp16"
    assert facts["parity"]["limits"] == {"relative_l2": 1e-2, "pixel_agreement": 0.98}
    assert facts["inputs"] == {"image": "FLOAT [1, 3, 97, 97]"}


def test_parsing_a_video_keeps_every_frame_and_time(ce2p: Run, tiny_model: Path, film: Path, tmp_path: Path) -> None:
    ending = ce2p("parse", film, "--model", tiny_model, "-o", "out", "--json", "summary.json")
    assert ending.status == 0, ending.err
    assert json.loads((tmp_path / "summary.json").read_text())["parsed"] == 30
    with VideoReader(tmp_path / "out/walk_overlay.mp4") as overlay, VideoReader(film) as original:
        assert [frame.time for frame in overlay] == [frame.time for frame in original]
    with VideoReader(tmp_path / "out/walk_labels.mkv", labels=True) as labels:
        maps = [frame.image for frame in labels]
    assert len(maps) == 30
    assert max(int(image.max()) for image in maps) < 20


def test_a_video_cut_in_the_middle_is_kept_counted_and_an_error(
    ce2p: Run, tiny_model: Path, film: Path, tmp_path: Path
) -> None:
    with VideoWriter(tmp_path / "long.mkv", 25, (96, 80)) as writer:
        for index, (frame, _) in enumerate(walking_sequence(1, 60, (96, 80))):
            writer.write(frame, index, Fraction(1, 25))
    whole = (tmp_path / "long.mkv").read_bytes()
    (tmp_path / "cut.mkv").write_bytes(whole[: len(whole) // 2])
    ending = ce2p("parse", "cut.mkv", "--model", tiny_model, "-o", "out", "--json", "summary.json")
    line = error_line(ending)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert 0 < summary["parsed"] < 60
    assert f"{summary['parsed']} parsed and kept in out/" in line
    assert summary["problems"]
    with VideoReader(tmp_path / "out/cut_overlay.mp4") as overlay:
        assert len(list(overlay)) == summary["parsed"]


def test_one_bad_picture_among_good_ones_is_an_error_after_the_others(
    ce2p: Run, tiny_model: Path, picture: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "mixed"
    folder.mkdir()
    (folder / "good.jpg").write_bytes(picture.read_bytes())
    (folder / "bad.jpg").write_bytes(b"<!DOCTYPE html><html></html>")
    line = error_line(ce2p("parse", folder, "--model", tiny_model, "-o", "out"))
    assert "bad.jpg" in line
    assert "HTML page" in line
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"good_labels.png", "good_overlay.jpg"}


def test_bad_input_gets_one_line_status_1_and_leaves_no_file(
    ce2p: Run, tiny_model: Path, tiny: Tiny, picture: Path, tmp_path: Path
) -> None:
    checkpoint = save_checkpoint(tmp_path / "mine.safetensors", tiny("schp"), "lip", "test")
    (tmp_path / "cut.safetensors").write_bytes(checkpoint.read_bytes()[:100_000])
    (tmp_path / "page.pth").write_text("<!DOCTYPE html><html><body>Google Drive - Virus scan warning</body></html>")
    (tmp_path / "pointer.pth").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 267000000\n")
    foreign = onnx.load(str(tiny_model))
    del foreign.metadata_props[:]
    onnx.save(foreign, str(tmp_path / "foreign.onnx"))
    (tmp_path / "text.jpg").write_text("this is no picture")
    (tmp_path / "empty").mkdir()
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    cases: list[tuple[tuple[object, ...], str]] = [
        (("export", "cut.safetensors"), "truncated"),
        (("export", "page.pth"), "HTML page"),
        (("export", "pointer.pth"), "git lfs pull"),
        (
            ("export", checkpoint, "--dataset", "atr"),
            "trained on the classes of Look into Person, --dataset atr asked for",
        ),
        (("export", checkpoint, "--imgsz", "16"), "too small"),
        (("export", checkpoint, "-o", "empty"), "folder"),
        (("export", "lip-r101-os16"), "--random"),
        (("inspect", "nothing.pth"), "no such file"),
        (("inspect", "foreign.onnx"), "without ce2p metadata"),
        (("parse", picture, "--model", "foreign.onnx"), "without ce2p metadata"),
        (("parse", picture, "--model", checkpoint), "ce2p export"),
        (("parse", "text.jpg", "--model", tiny_model), "text"),
        (("parse", "empty", "--model", tiny_model), "no pictures"),
        (("parse", "nowhere/*.jpg", "--model", tiny_model), "nothing matches"),
        (("parse", picture, "--model", tiny_model, "--save", "hologram"), "hologram"),
        (("parse", picture, "--model", tiny_model, "--backend", "caffe"), "unknown backend"),
        (("demo", "-o", "."), "not empty"),
    ]
    for arguments, fact in cases:
        line = error_line(ce2p(*arguments))
        assert fact in line, line
        assert {path for path in tmp_path.rglob("*") if path.is_file()} == before, arguments


@pytest.mark.parametrize(
    "arguments", [["fly"], ["export"], ["export", "m", "--precision", "fp8"], ["parse", "x.jpg"]], ids=str
)
def test_wrong_arguments_end_with_status_2(ce2p: Run, arguments: list[str]) -> None:
    assert ce2p(*arguments).status == 2


def test_a_missing_package_is_named_with_its_cure(ce2p: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> None:
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr("ce2p.cli.doctor.run", missing)
    assert install_hint("export") in error_line(ce2p("doctor"))


def test_the_version_names_what_results_depend_on(ce2p: Run) -> None:
    ending = ce2p("--version")
    assert ending.status == 0, ending.err
    first, backends, libraries = ending.out.splitlines()
    assert first.startswith(f"ce2p {__version__}, Python {platform.python_version()}")
    assert f"onnxruntime {version('onnxruntime')}, openvino {version('openvino')}" in backends
    assert f"numpy {version('numpy')}" in libraries


@pytest.mark.parametrize("threads", ["0", "-4", "many"])
@pytest.mark.parametrize(
    "command", [("verify", "a", "b"), ("val", "a", "--data", "d"), ("benchmark", "a"), ("people", "a", "--global", "g")]
)
def test_threads_that_make_no_sense_are_wrong_arguments(ce2p: Run, command: tuple[str, ...], threads: str) -> None:
    ending = ce2p(*command, "--threads", threads)
    assert ending.status == 2
    assert "--threads" in ending.err


def test_doctor_finds_what_this_environment_has(ce2p: Run) -> None:
    findings = {finding.subject: finding for finding in examine()}
    assert findings["backend onnxruntime"].status == "ok"
    assert findings["backend openvino"].status == "ok"
    assert "CPU" in findings["backend openvino"].found
    assert "ONNX Runtime" in findings["telemetry of the backends"].found
    ending = ce2p("doctor")
    assert ending.status == 0, ending.err
    assert "can parse with: onnxruntime, openvino" in ending.out


def test_doctor_calls_two_onnxruntimes_a_conflict(ce2p: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from ce2p_runtime.measuring import machine

    real = machine.version
    monkeypatch.setattr(machine, "version", lambda name: "1.31.1" if name.startswith("onnxruntime") else real(name))
    assert "overwrite each other" in error_line(ce2p("doctor"))


def test_doctor_without_any_backend_says_what_to_install(ce2p: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ce2p.cli.doctor.examine", lambda: [Finding("backend onnxruntime", "missing", "")])
    assert 'pip install ".[cpu]"' in error_line(ce2p("doctor"))


def test_the_demo_runs_from_nothing_to_pictures(ce2p: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The whole demo with one training step: everything but what the network learns."""
    from ce2p.cli import demo

    monkeypatch.setattr(demo, "TRAIN_PICTURES", 8)
    monkeypatch.setattr(demo, "VAL_PICTURES", 6)
    monkeypatch.setattr(demo, "VIDEO_FRAMES", 6)
    monkeypatch.setattr(demo, "TIMING_ROUNDS", 2)
    ending = ce2p("demo", "-o", "demo", "--epochs", "1")
    assert ending.status == 0, ending.err
    made = {path.name for path in (tmp_path / "demo").iterdir()}
    assert {"walk_overlay.mp4", "walk_labels.mkv", "input_truth_prediction.png", "astronaut_overlay.jpg"} <= made
    assert "trained 1 of 1 epochs on 8 pictures" in ending.out
    assert "against naive" in ending.out
    assert ending.out.splitlines()[-1].startswith("look at demo/")
    sheet = cv2.imread(str(tmp_path / "demo/input_truth_prediction.png"))
    assert sheet is not None
    assert np.ptp(sheet) > 100


def test_inspect_reads_an_engine_by_its_sidecar(ce2p: Run, tiny_model: Path, tmp_path: Path) -> None:
    from ce2p_export.tensorrt.preparation import load_onnx, metadata_of
    from ce2p_runtime.base.files import file_sha256
    from ce2p_runtime.model_files.engine_file import EngineSidecar, Profile, sidecar_path

    engine = tmp_path / "x.engine"
    engine.write_bytes(b"a plan")
    metadata = metadata_of(load_onnx(tiny_model), tiny_model)
    sidecar = EngineSidecar(
        plan_sha256=file_sha256(engine),
        onnx_sha256=file_sha256(tiny_model),
        tensorrt="11.4.0.106",
        architecture="sm_90",
        hardware_compatibility="none",
        version_compatible=False,
        precision="fp32",
        profiles=(Profile(1, 1, 1), Profile(4, 4, 4)),
        plugins=("CE2PEdgeFusion",),
        kernels={},
        metadata=metadata,
    )
    sidecar_path(engine).write_text(sidecar.to_json())
    facts = json.loads(ce2p("inspect", engine, "--json").out)
    assert (facts["kind"], facts["whole"], facts["profiles"]) == ("TensorRT engine", "yes", [1, 4])
    assert (facts["family"], facts["tensorrt"], facts["input_size"]) == ("schp", "11.4.0.106", [97, 97])
    engine.write_bytes(b"another plan")
    assert "no: another file" in ce2p("inspect", engine).out
    engine.unlink()
    assert "no such file" in error_line(ce2p("inspect", engine))
