"""The GPU programs themselves, run on the CPU: kernels through the real cuda-bindings on a stand-in for the driver,
networks and frames on CPU backends. What they measure here means nothing; that they measure the right thing does."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.gpu import frames, network, training
from benchmarks.gpu.candidates import Candidate, from_backend, from_naive_onnx, from_torch
from benchmarks.gpu.parts import Part, SkippedError
from ce2p.models import CE2P
from ce2p.synthetic import write_dataset
from ce2p.training.recipe import resolve
from ce2p_export import deploy, export_plain
from ce2p_runtime import HumanParser

Tiny = Callable[..., CE2P]
ROOT = Path(__file__).parents[2]
SIZE = (97, 97)


def on_the_stand_in(module: str, tmp_path: Path, *arguments: str) -> dict[str, Any]:
    """Run a part with the stand-in driver; returns its JSON."""
    pytest.importorskip("cuda.bindings.driver", reason="cuda-bindings is not installed")
    result = tmp_path / "part.json"
    command = [sys.executable, "-m", "tests.cuda_on_cpu.with_driver", module, "--json", str(result), *arguments]
    path = ":".join(map(str, (ROOT, ROOT / "export", ROOT / "runtime")))
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": path}
    )
    assert result.exists(), done.stderr[-2000:]
    part: dict[str, Any] = json.loads(result.read_text())
    assert part["status"] == "ran", part["note"]
    return part


def test_the_kernel_checks_pass_through_the_real_bindings(tmp_path: Path) -> None:
    part = on_the_stand_in("benchmarks.gpu.kernel_checks", tmp_path, "--cases", "3", "--seed", "11")
    assert [row["cases"] for row in part["rows"]] == [3, 3, 3]
    assert part["facts"]["architecture"] == 90


def test_the_kernel_times_stand_beside_their_floors(tmp_path: Path) -> None:
    part = on_the_stand_in("benchmarks.gpu.kernel_times", tmp_path, "--rounds", "1", "--scale", "tiny")
    kernels = {row["kernel"].split()[0] for row in part["rows"]}
    assert {"edge_fusion", "warp_normalize", "label_map"} <= kernels
    assert all(row["median ms"] > 0 and row["floor ms"] > 0 for row in part["rows"] if "floor ms" in row)
    assert part["facts"]["bytes"] > 0


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((1, 3, *SIZE), np.float32)


def reference(net: CE2P, image: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return net(torch.from_numpy(image)).parsing.numpy()


def test_candidates_are_compared_before_they_are_timed(tiny: Tiny, image: np.ndarray, tmp_path: Path) -> None:
    net = tiny("schp")
    naive = export_plain(net, tmp_path / "naive.onnx", SIZE)
    makers = {
        "trained": lambda: from_torch("trained", net, image, "fp32", graph=False, device="cpu"),
        "folded": lambda: from_torch("folded", deploy(net, SIZE).net, image, "fp32", graph=False, device="cpu"),
        "naive": lambda: from_naive_onnx("naive", naive, image, "CPUExecutionProvider"),
    }
    part = Part("Network")
    network.measure(part, iter(makers.items()), reference(net, image), 1, rounds=2, rest=0)
    assert part.status == "ran"
    assert [row["network"] for row in part.rows] == ["trained", "folded", "naive"]
    assert all(row["relative L2"] < 1e-5 and row["median ms"] > 0 for row in part.rows)
    assert all(float(row["same labels"].rstrip("%")) > 99.9 for row in part.rows)


def test_a_wrong_candidate_is_named_and_not_timed(tiny: Tiny, image: np.ndarray) -> None:
    net = tiny("schp")
    right = from_torch("right", net, image, "fp32", graph=False, device="cpu")
    wrong = Candidate("wrong", "fp32", right.step, lambda: right.logits() * 1.01)
    nan = Candidate("nan", "fp32", right.step, lambda: right.logits() * np.nan)
    part = Part("Network")
    makers = {c.name: (lambda c=c: c) for c in (right, wrong, nan)}
    network.measure(part, iter(makers.items()), reference(net, image), 1, rounds=1, rest=0)
    assert part.status == "wrong"
    assert {row["network"] for row in part.rows if "median ms" in row} == {"right"}
    assert {row["network"] for row in part.rows if row.get("note") == "wrong, not timed"} == {"wrong", "nan"}


def test_a_candidate_that_cannot_run_is_listed_with_the_reason(image: np.ndarray, tiny_model: Path) -> None:
    part = Part("Network")
    makers = {"TensorRT": lambda: from_backend("TensorRT", tiny_model, image, "onnxruntime", "cpu")}
    with pytest.raises(SkippedError, match="no candidate"):
        network.measure(part, iter(makers.items()), np.zeros(1), 1, rounds=1)
    assert part.rows == [{"network": "TensorRT", "batch": 1, "note": "onnxruntime runs on cpu here, not on a GPU"}]


def test_a_candidate_that_breaks_fails_the_part_and_spares_the_others(tiny: Tiny, image: np.ndarray) -> None:
    def broken() -> Candidate:
        raise RuntimeError("an illegal memory access was encountered")

    net = tiny("schp")
    part = Part("Network")
    makers = {"ours": broken, "PyTorch": lambda: from_torch("PyTorch", net, image, "fp32", graph=False, device="cpu")}
    network.measure(part, iter(makers.items()), reference(net, image), 1, rounds=1, rest=0)
    assert (part.status, part.note) == ("failed", "ours at batch 1: an illegal memory access was encountered")
    assert [row["network"] for row in part.rows if "median ms" in row] == ["PyTorch"]


def test_without_a_gpu_network_and_frames_are_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    for module in (network, frames):
        with pytest.raises(SkippedError, match="no CUDA GPU"):
            module.work(Part("p"), argparse.Namespace(export_only=0))


def test_files_are_exported_once_and_without_a_gpu(tmp_path: Path) -> None:
    options = argparse.Namespace(
        model="schp:lip-r18-os16:65", batches="1", files=str(tmp_path), export_only=1, budget=9
    )
    part = Part("Network")
    network.work(part, options)
    files = {str(row["file"]): (tmp_path / str(row["file"])).stat().st_mtime_ns for row in part.rows}
    assert len(files) == 3
    network.work(part, options)
    assert files == {name: (tmp_path / name).stat().st_mtime_ns for name in files}


def test_frames_are_held_against_the_usual_way(tiny: Tiny, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "FRAME", (135, 240))
    monkeypatch.setattr(frames, "STREAM_FRAMES", 4)
    part = Part("Frames")
    with HumanParser(tiny_model, backend="onnxruntime", device="cpu") as parser:
        usual = frames.usual_way(tiny("schp"), parser, "cpu")
        frames.compare(part, usual, {"ours": parser}, rounds=2)
        rows = {row["frame"]: row for row in part.rows}
        assert rows["ours"]["stream frames/s"] > 0
        assert float(rows["ours"]["same labels"].rstrip("%")) >= 99.9
        with pytest.raises(AssertionError, match="ours"):
            frames.compare(Part("Frames"), lambda frame: usual(frame[::-1].copy()), {"ours": parser}, rounds=1)


@pytest.mark.skipif(torch.cuda.is_available(), reason="here they can open")
def test_what_cannot_open_becomes_a_row(tmp_path: Path) -> None:
    part = Part("Frames")
    parsers = frames.open_parsers(part, "schp", "lip-r18-os16", 97, tmp_path)
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
