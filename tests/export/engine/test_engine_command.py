"""`ce2p export --format engine` as a user types it: up to the device, and, with its two answers given, whole."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from ce2p import __main__ as command
from ce2p.api import engine
from ce2p.checkpoints import save_checkpoint
from ce2p.models import CE2P
from ce2p_export import GraphOptions, export_onnx, open_model
from ce2p_export.tensorrt import exporter as exporter_module
from ce2p_runtime import HumanParser
from ce2p_runtime.model_files.engine_file import read_sidecar

INSPECTED = json.dumps(
    {
        "Layers": [
            {"Name": name, "LayerType": "gemm", "Inputs": [{"Datatype": kind}], "Outputs": [{"Datatype": kind}]}
            for name, kind in (("conv1", "Half"), ("up_b", "Float"))
        ]
    }
)
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def export(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """`export(...)` in this process, in an empty working folder; status, standard output, standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CE2P_CACHE", str(tmp_path / "cache"))

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["ce2p", "export", *map(str, arguments), "--format", "engine"])
        capsys.readouterr()
        try:
            command.main()
            status = 0
        except SystemExit as end:
            status = int(end.code or 0)
        return (status, *capsys.readouterr())

    return run


@pytest.fixture
def model(tiny_model: Path, tmp_path: Path) -> Path:
    path = tmp_path / "walk_fp32_97x97.onnx"
    path.write_bytes(tiny_model.read_bytes())
    return path


@pytest.fixture
def gpu(trt: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporter_module.versions, "device_architecture", lambda: "sm_90")
    monkeypatch.setattr(exporter_module.layers, "inspect_plan", lambda *_, **__: INSPECTED)


def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    class Driver(ModuleType):
        def cuInit(self, flags: int) -> None:  # noqa: N802
            raise RuntimeError("libcuda.so.1 not found")

    monkeypatch.setitem(sys.modules, "cuda.bindings.driver", Driver("cuda.bindings.driver"))


def error_line(ending: tuple[int, str, str]) -> str:
    status, _, err = ending
    assert status == 1, ending
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert "Traceback" not in err
    return lines[0]


def test_without_a_gpu_everything_up_to_it_is_done(
    trt: ModuleType, export: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    no_gpu(monkeypatch)
    ending = export("lip-r18-os16", "--random", "--family", "schp", "--imgsz", "65", "--no-plugins")
    assert "no NVIDIA driver on this machine (libcuda.so.1 not found)" in error_line(ending)
    # The ONNX file is whole and proven; of the engine nothing is there.
    assert [path.name for path in tmp_path.iterdir()] == ["lip-r18-os16_fp32_65x65.onnx"]


def test_an_engine_from_a_name(export: Run, gpu: None, tmp_path: Path) -> None:
    status, out, err = export(
        "lip-r18-os16", "--random", "--imgsz", "65", "--batch", "1,2", "--no-plugins", "-o", "made/x.engine"
    )
    assert status == 0, err
    assert sorted(path.suffix for path in (tmp_path / "made").glob("x.*") if path.suffix != ".ptx") == [
        ".engine",
        ".json",
        ".onnx",
    ]
    assert [profile.optimum for profile in read_sidecar(tmp_path / "made/x.engine").profiles] == [1, 2]
    assert "batch 1, 2; our kernels inside: none" in out
    assert "ce2p parse PICTURE_OR_VIDEO --model made/x.engine" in out
    assert "building x.engine: there is no engine yet" in err


def test_an_engine_from_a_file_and_again(export: Run, gpu: None, model: Path) -> None:
    status, out, err = export(model, "--no-plugins", "--opt-level", "2", "--json", "facts.json")
    assert status == 0, err
    facts = json.loads(Path("facts.json").read_text())
    assert facts["built"] == "there is no engine yet"
    assert facts["build"]["key"]["settings"]["optimization_level"] == 2
    _, out, err = export(model, "--no-plugins", "--opt-level", "2")
    assert "is up to date" in err
    assert "up to date, reused" in out
    _, out, err = export(model, "--no-plugins", "--workspace", "0.5")
    assert "the settings changed (optimization_level, workspace_gib)" in err
    _, out, err = export(model, "--no-plugins", "--workspace", "0.5", "--rebuild")
    assert "building" in err


def test_float32_layers_of_a_half_precision_engine_are_reported(export: Run, gpu: None) -> None:
    status, _, err = export("lip-r18-os16", "--random", "--imgsz", "65", "--precision", "fp16", "--no-plugins")
    assert status == 0, err
    assert "note: 1 of 2 layers of this fp16 engine are float32: up_b" in err
    assert Path("lip-r18-os16_fp16_65x65.onnx").exists()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("--batch", "4"), "holds batch 1, asked for 4; export it again with --batch 4"),
        (("--batch", "dynamic"), "an engine is built for stated sizes"),
        (("--batch", "one"), "expected a number"),
        (("--workspace", "0"), "expected GiB above 0"),
        (("--imgsz", "97"), "--imgsz: settled in an ONNX file already"),
        (("--family", "schp", "--os", "16"), "--os, --family: settled"),
        (("--precision", "fp16", "--no-search"), "--precision, --no-search: settled"),
        (("--data", "people"), "--data: only for judging labels, and an engine made from an ONNX file is not judged"),
    ],
)
def test_mistakes(export: Run, gpu: None, model: Path, arguments: tuple[str, ...], line: str) -> None:
    assert line in error_line(export(model, "--no-plugins", *arguments))


def test_a_model_of_somebody_else(export: Run, gpu: None, tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(b"\x08\x0a")
    assert "holds no graph" in error_line(export("x.onnx"))
    assert "no such file" in error_line(export("none.onnx"))


def test_tensorrt_is_missing(export: Run, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    assert error_line(export(model)).startswith("error: TensorRT is not installed; pip install")


@pytest.fixture
def checkpoint(tiny: Callable[..., CE2P], tmp_path: Path) -> Path:
    return save_checkpoint(tmp_path / "net.safetensors", tiny("schp"), "lip", "trained for a test")


def engine_computes_as(monkeypatch: pytest.MonkeyPatch, model: Path) -> None:
    """Stand in for running the plan: its labels are those of an ONNX file."""
    monkeypatch.setattr(engine, "HumanParser", lambda path: HumanParser(model, backend="onnxruntime", device="cpu"))


def test_an_engine_that_labels_otherwise_is_not_left_behind(
    export: Run, gpu: None, checkpoint: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = (checkpoint, "--imgsz", "97", "--no-plugins", "--gate-count", "2", "-o", "x.engine")
    engine_computes_as(monkeypatch, tiny_model)
    status, out, err = export(*arguments)
    assert status == 0, err
    assert "pixel agreement" in out
    other = open_model("lip-r18-os16", family="schp", random=True, seed=1)
    engine_computes_as(monkeypatch, export_onnx(other, GraphOptions((97, 97)), tmp_path / "other.onnx").path)
    assert "is not as good as net.safetensors" in error_line(export(*arguments, "--rebuild"))
    assert not list(tmp_path.glob("x.engine*"))
    assert (tmp_path / "x_worst.png").exists()


def test_the_onnx_file_of_an_engine_is_made_anew_over_one_of_the_same_checkpoint_only(
    export: Run, gpu: None, checkpoint: Path, tiny_model: Path, tmp_path: Path
) -> None:
    arguments = (checkpoint, "--imgsz", "65", "--no-plugins", "--gate", "off", "-o", "x.engine")
    assert export(*arguments)[0] == 0
    status, out, err = export(*arguments)
    assert status == 0, err
    assert "up to date, reused" in out
    (tmp_path / "x.onnx").write_bytes(tiny_model.read_bytes())
    assert "x.onnx: exists" in error_line(export(*arguments))
    assert (tmp_path / "x.onnx").read_bytes() == tiny_model.read_bytes()


def test_an_engine_that_nobody_judged_says_so(export: Run, gpu: None, checkpoint: Path, tmp_path: Path) -> None:
    arguments = (checkpoint, "--imgsz", "65", "--no-plugins", "-o", "x.engine")
    status, _, err = export(*arguments, "--gate-count", "1")
    assert status == 0, err
    assert "note: the engine's labels were not judged, since it does not run here" in err
    _, _, err = export(*arguments, "--gate", "off", "--overwrite")
    assert "not judged (--gate off)" in err
