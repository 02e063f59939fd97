"""The parts of the GPU check, rehearsed on the CPU: kernels through the real cuda-bindings on a stand-in driver,
networks and frames on CPU backends. What they measure here means nothing; that they measure the right thing does."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from benchmarks.gpu import description, exports, frames, kill_test, network, runtime_frames, training
from benchmarks.gpu.network_runs import NetworkRun
from benchmarks.gpu.networks_on_disk import NetworkFiles
from benchmarks.gpu.parts import Part, SkippedError
from benchmarks.gpu.peak_rates import product_rates
from benchmarks.gpu.plan import REHEARSED_MODEL, plan_of
from benchmarks.gpu.summary import COMPILED_FOLDED, FRAME_ROW
from benchmarks.gpu.workers import Entry
from ce2p.models import CE2P
from ce2p.synthetic import write_dataset
from ce2p.training.recipe import resolve
from ce2p_runtime import HumanParser

Tiny = Callable[..., CE2P]
ROOT = Path(__file__).parents[3]


def rehearsed(key: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Part:
    """A part as `--rehearse` runs it."""
    pytest.importorskip("cuda.bindings.driver", reason="cuda-bindings is not installed")
    monkeypatch.setenv("PYTHONPATH", ":".join(map(str, (ROOT, ROOT / "export", ROOT / "runtime"))))
    monkeypatch.chdir(ROOT)
    (planned,) = plan_of([key], REHEARSED_MODEL, folder, folder, rehearsal=True)
    part = planned.run(planned.limit)
    assert part.status == "ran", (part.note, part.facts.get("said"))
    return part


def test_the_machine_is_described(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part = rehearsed("machine", tmp_path, monkeypatch)
    said = {str(row["what"]): str(row["value"]) for row in part.rows}
    assert "stand-in for a GPU" in said["device"]
    assert "sm_90" in said["device"]
    assert "GB/s" in said["copy"]
    assert set(part.facts["products"]) == {"fp32", "tf32", "fp16", "fp8"}


def test_the_kernel_checks_pass_through_the_real_bindings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part = rehearsed("checks", tmp_path, monkeypatch)
    assert [row["cases"] for row in part.rows] == [1, 1, 1]
    assert part.facts["architecture"] == 90
    assert part.facts["compiled by"]


def test_the_kernel_times_stand_beside_floors_and_predictions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part = rehearsed("times", tmp_path, monkeypatch)
    kernels = {str(row["kernel"]).split()[0] for row in part.rows}
    assert {"edge_fusion", "warp_normalize", "label_map", "torch"} <= kernels
    assert all(row["median ms"] > 0 and row["floor ms"] > 0 for row in part.rows if "floor ms" in row)  # type: ignore[operator]
    fusions = [row for row in part.rows if str(row["kernel"]).startswith("edge_fusion")]
    assert {row["batch"] for row in fusions} == {1, 2}
    assert {"any sizes" in str(row["kernel"]) for row in fusions} == {True, False}
    assert all(row["predicted ms"] > 0 for row in fusions)  # type: ignore[operator]


def test_whole_frames_have_the_baseline_ofs_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part = rehearsed("frames", tmp_path, monkeypatch)
    rows = {row["frame"]: row for row in part.rows}
    kernels = [row for row in part.rows if "same labels" in row]
    assert len(kernels) == 3
    assert all(float(str(row["same labels"]).rstrip("%")) > 99.9 and row["GPU ms"] > 0 for row in kernels)  # type: ignore[operator]
    assert rows[FRAME_ROW]["p99 ms"] >= rows[FRAME_ROW]["p50 ms"]  # type: ignore[operator]
    assert rows["the runtime's own backends"]["note"] == "they run on a GPU only"


def test_the_kill_test_runs_all_four_ways(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part = rehearsed("kill", tmp_path, monkeypatch)
    names = {kill_test.candidate_name(kind, on) for kind in ("folded", "fused") for on in (True, False)}
    assert {(row["network"], row["batch"]) for row in part.rows} == {
        (name, batch) for name in names for batch in (1, 2)
    }
    assert all(row["median ms"] > 0 and row["relative L2"] < 1e-5 for row in part.rows)  # type: ignore[operator]
    assert "of 45 convolutions fused" in part.note


def options(folder: Path, **changes: Any) -> argparse.Namespace:
    """Of the part `network`, on the CPU."""
    plain = {"model": "schp:lip-r18-os16:65", "waves": "1;2", "rounds": 1, "seconds": 400.0, "least": 1.0}
    return argparse.Namespace(**{**plain, "files": str(folder), "device": "cpu", **changes})


def at_once(files: NetworkFiles, seconds: float = 0.0) -> NetworkRun:
    """A network that needs no arithmetic."""
    return NetworkRun("at once", "fp32", lambda: time.sleep(seconds), files.reference)


def quick_groups(files: NetworkFiles, batches: list[int], device: str) -> list[list[Entry]]:
    names = {network.OURS: 0.001, COMPILED_FOLDED: 0.02}
    return [[Entry(name, b, partial(at_once, files, seconds)) for name, seconds in names.items() for b in batches]]


def test_networks_are_measured_wave_by_wave_beside_the_compiled_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network, "groups_of", quick_groups)
    part = Part("Networks")
    network.work(part, options(tmp_path))
    timed = [row for row in part.rows if "median ms" in row]
    assert [(row["network"], row["batch"]) for row in timed] == [
        (name, batch) for batch in (1, 2) for name in (network.OURS, COMPILED_FOLDED)
    ]
    assert all(row["of compiled, folded"] == 1.0 for row in timed if row["network"] == COMPILED_FOLDED)
    assert [row["note"] for row in part.rows if "note" in row] == ["exported files are measured on a GPU only"] * 2


def test_a_wave_without_time_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "groups_of", quick_groups)
    part = Part("Networks")
    with pytest.raises(SkippedError, match="no candidate could run"):
        network.work(part, options(tmp_path, seconds=0.5))
    assert part.note == "no time was left for batches 1; no time was left for batches 2"


def test_every_way_of_pytorch_and_torch_compile_is_there(tmp_path: Path) -> None:
    groups = network.groups_of(NetworkFiles(tmp_path, "schp:lip-r18-os16:65"), [1, 16], "cuda")
    names = {entry.name for group in groups for entry in group}
    assert names == {
        "PyTorch fp32",
        "PyTorch fp16",
        "PyTorch fp16 graph",
        "PyTorch fp16 graph, folded",
        network.OURS,
        COMPILED_FOLDED,
        "torch.compile fp16, unfolded",
    }
    assert all(len(group) == 1 for group in groups if group[0].takes_turns), "a compiler that hangs takes nobody along"


@pytest.mark.parametrize("module", [network, frames, kill_test, training])
def test_without_a_gpu_a_part_is_skipped(module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(SkippedError, match="no CUDA GPU"):
        module.work(Part("p"), argparse.Namespace(device="cuda", seconds=9.0))


def test_a_product_that_cannot_be_measured_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: object, **__: object) -> None:
        raise RuntimeError("no fp8 on this architecture\nsecond line")

    monkeypatch.setattr(torch, "_scaled_mm", refuses)
    rates = product_rates("cpu", 32)
    assert rates["fp8"] == "no fp8 on this architecture"
    assert isinstance(rates["tf32"], float)


def test_device_properties_are_written_where_cudnns_package_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # cuDNN needs a device to describe: what is tried here is what is done with its answer.
    properties = SimpleNamespace(serialize=lambda: [1, 2, 255])
    monkeypatch.setitem(sys.modules, "cudnn", SimpleNamespace(create_device_properties=lambda device: properties))
    assert description.dump_device_properties(str(tmp_path)) == "3 bytes in device-properties.bin"
    assert (tmp_path / description.DEVICE_PROPERTIES).read_bytes() == bytes([1, 2, 255])
    monkeypatch.setitem(sys.modules, "cudnn", SimpleNamespace())
    assert description.dump_device_properties(str(tmp_path)).startswith("not written: ")


def test_without_cudnns_package_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cudnn", None)
    assert description.dump_device_properties("") == ("not written: the package nvidia-cudnn-frontend is not installed")


def test_files_are_exported_once_and_only_where_something_runs_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = argparse.Namespace(model="schp:lip-r18-os16:65", batches="1", files=str(tmp_path), anyway=0)
    monkeypatch.setattr(exports, "gpu_runtimes", lambda: ([], "no TensorRT"))
    with pytest.raises(SkippedError, match="nothing here runs exported files on a GPU: no TensorRT"):
        exports.work(Part("Exports"), asked)
    asked.anyway = 1
    part = Part("Exports")
    exports.work(part, asked)
    made = [str(row["file"]) for row in part.rows if "note" not in row]
    before = {name: (tmp_path / name).stat().st_mtime_ns for name in made}
    assert len(before) >= 3
    exports.work(part, asked)
    assert before == {name: (tmp_path / name).stat().st_mtime_ns for name in made}


def test_frames_are_held_against_the_baseline_of(tiny: Tiny, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime_frames, "FRAME", (135, 240))
    monkeypatch.setattr(runtime_frames, "STREAM_FRAMES", 4)
    part = Part("Frames")
    with HumanParser(tiny_model, backend="onnxruntime", device="cpu") as parser:
        baseline = runtime_frames.baseline_of(tiny("schp"), parser.metadata, "cpu")
        runtime_frames.time_parsers(part, baseline, {"ours": parser}, rounds=2)
        rows = {row["frame"]: row for row in part.rows}
        assert rows["ours"]["stream frames/s"] > 0  # type: ignore[operator]
        assert float(str(rows["ours"]["same labels"]).rstrip("%")) >= 99.9
        with pytest.raises(AssertionError, match="ours"):
            runtime_frames.time_parsers(
                Part("Frames"), lambda frame: baseline(frame[::-1].copy()), {"ours": parser}, rounds=1
            )


@pytest.mark.skipif(torch.cuda.is_available(), reason="here they can open")
def test_what_cannot_open_becomes_a_row(tmp_path: Path) -> None:
    part = Part("Frames")
    every = ["onnxruntime", "tensorrt-rtx", "tensorrt"]
    parsers = runtime_frames.open_parsers(part, NetworkFiles(tmp_path, "schp:lip-r18-os16:65"), every)
    assert not parsers, "no GPU backend can open here"
    assert len(part.rows) == 9
    assert all(row["note"] for row in part.rows)


def test_training_is_timed_and_scored(tmp_path: Path) -> None:
    write_dataset(tmp_path / "lip", "lip", train=8, val=2, size=(64, 64), seed=1)
    part = Part("Training")
    config = resolve("lip-r18-os16", "ssseg", ["input_size=64", "batch=4", "epochs=2"])
    training.train(part, tmp_path / "lip", config, torch.device("cpu"), workers=1, seconds=1000)
    row = part.rows[-1]
    assert row["training"] == "lip-r18-os16, ssseg, fp32, batch 4"
    assert row["steps"] == 4
    assert row["pictures/s"] > 0  # type: ignore[operator]
    assert 0 <= row["waiting for data %"] < 100  # type: ignore[operator]
    assert 0 < row["mIoU, classes present"] < 1  # type: ignore[operator]


def test_training_without_scores_measures_the_rate(tmp_path: Path) -> None:
    write_dataset(tmp_path / "lip", "lip", train=4, val=1, size=(64, 64), seed=1)
    part = Part("Training")
    config = resolve("lip-r18-os16", "ssseg", ["input_size=64", "batch=2", "epochs=1"])
    training.train(part, tmp_path / "lip", config, torch.device("cpu"), workers=1, seconds=1000, scored=False)
    (row,) = part.rows
    assert row["pictures/s"] > 0  # type: ignore[operator]
    assert not any("mIoU" in key for key in row)
