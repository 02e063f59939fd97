"""Files that a backend does not run, or that are not there: said beforehand, and no reason to lose everything else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ce2p.api import benchmark as front_door
from ce2p.api.export import export
from ce2p.api.pictures import choose_pictures
from ce2p.checkpoints import save_checkpoint
from ce2p.models import CE2PConfig, untrained
from ce2p_export import GraphOptions
from tests.cli.command import Run, error_line

QUICK = ("--size", "60x50", "--rounds", 1, "--warmup", 0, "--no-throughput", "--threads", 1)


@pytest.fixture(autouse=True)
def _few_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front_door, "choose_pictures", lambda data, metadata: choose_pictures(data, metadata, 1))


@pytest.fixture(scope="module")
def bf16(exported: Callable[..., Path]) -> Path:
    """The network of `tiny_model` in bfloat16, which ONNX Runtime does not run on the CPU."""
    return exported(GraphOptions((97, 97), precision="bf16"))


@pytest.fixture(scope="module")
def int8(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same network in int8, on the fewest synthetic pictures."""
    path = tmp_path_factory.mktemp("int8") / "tiny_int8.onnx"
    network = {"family": "schp", "random": True, "imgsz": 97}
    return export("lip-r18-os16", path, **network, precision="int8", gate=False, calib_count=1).path  # type: ignore[arg-type]


def test_a_benchmark_measures_what_runs_and_says_what_does_not(
    ce2p: Run, tiny_model: Path, bf16: Path, int8: Path, tmp_path: Path
) -> None:
    """One file that a backend does not run, between two that run everywhere."""
    ending = ce2p("benchmark", tiny_model, bf16, int8, *QUICK, "-o", "out", "--json", "result.json")
    assert ending.status == 0, ending.err  # every file was measured somewhere
    document = json.loads((tmp_path / "result.json").read_text())
    assert [row["name"] for row in document["candidates"]] == [
        "tiny.onnx onnxruntime",
        "tiny.onnx openvino",
        "tiny_bf16.onnx openvino",
        "tiny_int8.onnx onnxruntime",
        "tiny_int8.onnx openvino",
    ]
    (reason,) = document["skipped"].values()
    assert list(document["skipped"]) == ["tiny_bf16.onnx onnxruntime"]
    assert "bfloat16" in reason
    assert "export it again" not in reason
    assert "Not measured" in ending.out
    assert f"not measured: tiny_bf16.onnx onnxruntime: {reason}" in (tmp_path / "out/benchmark.md").read_text()


def test_a_file_alone_that_onnxruntime_does_not_run_is_its_own_reference(ce2p: Run, bf16: Path) -> None:
    ending = ce2p("benchmark", bf16, *QUICK, "--json")
    assert ending.status == 0, ending.err
    document = json.loads(ending.out)
    assert document["settings"]["gate"]["reference"] == "tiny_bf16.onnx (openvino on cpu)"


@pytest.mark.parametrize(("content", "said"), [(None, "no such file"), (b"\x08\x0a\x12\x04rest", "bad.onnx: ")])
def test_a_missing_or_broken_file_costs_the_others_nothing_but_is_status_1(
    ce2p: Run, tiny_model: Path, tmp_path: Path, content: bytes | None, said: str
) -> None:
    if content is not None:
        (tmp_path / "bad.onnx").write_bytes(content)
    ending = ce2p("benchmark", "bad.onnx", tiny_model, *QUICK, "--backends", "onnxruntime", "--json", "result.json")
    assert said in error_line(ending)
    assert "Latency" in ending.out
    document = json.loads((tmp_path / "result.json").read_text())
    assert [row["name"] for row in document["candidates"]] == ["tiny.onnx onnxruntime"]
    assert list(document["skipped"]) == ["bad.onnx onnxruntime"]


def test_a_named_backend_that_runs_nothing_is_status_1_after_the_others(
    ce2p: Run, tiny_model: Path, bf16: Path, tmp_path: Path
) -> None:
    ending = ce2p("benchmark", bf16, *QUICK, "--no-gate", "--backends", "openvino,onnxruntime", "--json", "r.json")
    assert "bfloat16" in error_line(ending)
    assert len(json.loads((tmp_path / "r.json").read_text())["candidates"]) == 1
    both = ce2p("benchmark", bf16, tiny_model, *QUICK, "--no-gate", "--backends", "openvino, onnxruntime")
    assert both.status == 0, both.err  # each was measured, if not in every pair


def test_mistakes_are_found_before_anything_is_measured(
    ce2p: Run, tiny_model: Path, bf16: Path, tmp_path: Path
) -> None:
    (tmp_path / "old.json").write_text("{}")
    cases: list[tuple[tuple[object, ...], str]] = [
        (("--backends", "onnxruntime,caffe"), "--backends: unknown backend 'caffe'; expected some of auto, onnxr"),
        (("--backends", ", "), "--backends names no backend"),
        (("--reference", bf16), "tiny_bf16.onnx: cannot be what others are compared with: "),
        (("--reference", "none.pth"), "none.pth: no such file"),
        (("--data", "nowhere"), "nowhere: no such file"),
        (("--json", "old.json"), "old.json: exists, and the JSON result would replace it"),
        (("--json", tiny_model), "expected a name ending in .json"),
        (("-o", "old.json"), "old.json: is a file, expected a folder"),
    ]
    for arguments, said in cases:
        ending = ce2p("benchmark", tiny_model, *arguments)
        assert said in error_line(ending)
        assert "not measured" not in ending.err
        assert "Latency" not in ending.out


def test_verify_says_what_does_not_run_before_it_opens_anything(
    ce2p: Run, tiny_model: Path, bf16: Path, tmp_path: Path
) -> None:
    missing = tmp_path / "none.pth"
    (tmp_path / "out").mkdir()
    (tmp_path / "out/worst.png").write_bytes(b"mine")
    cases: list[tuple[tuple[object, ...], str]] = [
        ((tiny_model, bf16, "--backend", "onnxruntime"), "bfloat16"),
        ((bf16, tiny_model), "tiny_bf16.onnx: cannot be what others are compared with: "),
        ((missing, tiny_model), "none.pth: no such file"),
        ((tiny_model, tiny_model, "--data", "nowhere"), "nowhere: no such file"),
        ((tiny_model, tiny_model, "-o", "out"), "worst.png: exists, and the report would replace it"),
        ((tiny_model, tiny_model, "--json", tiny_model), "expected a name ending in .json"),
    ]
    for arguments, said in cases:
        ending = ce2p("verify", *arguments)
        assert said in error_line(ending)
        assert "candidate:" not in ending.err
    assert (tmp_path / "out/worst.png").read_bytes() == b"mine"


def test_bfloat16_is_verified_where_it_runs(ce2p: Run, tiny_model: Path, bf16: Path) -> None:
    ending = ce2p("verify", tiny_model, bf16, "--limit", 1, "--json", "gate.json")
    assert "runs_on" in json.loads(Path("gate.json").read_text())["candidate"]
    assert "openvino on cpu" in ending.out


def test_export_says_what_does_not_run_before_it_starts(ce2p: Run, tmp_path: Path) -> None:
    checkpoint = save_checkpoint(
        tmp_path / "n.safetensors", untrained(CE2PConfig.of("schp", "r18", 16, 20)), "lip", "x"
    )
    (tmp_path / "mine_worst.png").write_bytes(b"mine")
    (tmp_path / "there.onnx").write_bytes(b"there")
    cases: list[tuple[tuple[object, ...], str]] = [
        (("--precision", "bf16", "--backend", "onnxruntime"), "--precision bf16: "),
        (("--gate", "off", "--gate", "class_iou=0.9"), "--gate off: switches the gate off, so class_iou=0.9 has no"),
        (("--backend", "foo"), "--backend: unknown backend 'foo'; expected some of onnxruntime, openvino"),
        (("--backend", "auto"), "--backend: unknown backend 'auto'"),
        (("--data", "nowhere"), "nowhere: no such file"),
        (("--precision", "int8", "--calib", "nowhere"), "nowhere: no such file"),
        (("--imgsz", "16"), "too small; at least 33"),
        (("--imgsz", "100000"), "too large; at most 4096"),
        (("-o", "."), "is a folder"),
        (("-o", "there.onnx"), "there.onnx: exists, and the exported file would replace it"),
        (("-o", "mine.onnx", "--precision", "fp16"), "mine_worst.png: exists, and its worst picture would replace it"),
        (("-o", checkpoint), "n.safetensors: expected a name ending in .onnx"),
        (("--json", "n.safetensors"), "n.safetensors: expected a name ending in .json"),
        (("-o", "/proc/x.onnx"), "cannot be written here"),
    ]
    before = sorted(tmp_path.iterdir())
    for arguments, said in cases:
        ending = ce2p("export", checkpoint, *arguments)
        assert said in error_line(ending), arguments
        assert not ending.out, arguments
        assert "n.safetensors: " not in ending.err.replace(error_line(ending), ""), arguments  # not even loaded
    assert sorted(tmp_path.iterdir()) == before


def test_the_default_name_of_an_export_is_not_replaced_either(ce2p: Run, tmp_path: Path) -> None:
    (tmp_path / "lip-r18-os16_fp32_65x65.onnx").write_bytes(b"there")
    ending = ce2p("export", "lip-r18-os16", "--random", "--imgsz", "65")
    assert "lip-r18-os16_fp32_65x65.onnx: exists" in error_line(ending)
    assert (tmp_path / "lip-r18-os16_fp32_65x65.onnx").read_bytes() == b"there"


def test_an_engine_without_tensorrt_is_refused_before_the_onnx_export(
    ce2p: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tensorrt", None)
    ending = ce2p("export", "lip-r18-os16", "--random", "--imgsz", "65", "--format", "engine")
    assert "TensorRT is not installed" in error_line(ending)
    assert not list(tmp_path.glob("*.onnx"))


@pytest.mark.parametrize("precision", [("bf16",), ("fp16", "--io", "float16")], ids=" ".join)
def test_roundings_are_judged_where_the_files_own_precision_is_not_run(ce2p: Run, precision: tuple[str, ...]) -> None:
    """What stands for a GPU is a float32 model, whatever backends think of the file itself."""
    small = ("--imgsz", "65", "--gate-count", "1", "--precision", *precision)
    ending = ce2p("export", "lip-r18-os16", "--random", "--family", "schp", *small, "--json", "facts.json")
    assert ending.status == 0, ending.err
    gate = json.loads(Path("facts.json").read_text())["extra"]["gate_not_judged"]
    assert "rounded" in gate["figures"]
    assert "every rounding put in" in ending.out + ending.err
    assert ("onnxruntime" in gate["refused"]) is (precision[0] == "bf16")
