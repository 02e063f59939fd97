"""Candidates in processes of their own: what becomes of those that are right, wrong, missing, broken, or stuck."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from benchmarks.gpu.compare import compare
from benchmarks.gpu.network_runs import NetworkRun, from_backend, from_naive_onnx
from benchmarks.gpu.networks_on_disk import NetworkFiles, prepare
from benchmarks.gpu.parts import Part, SkippedError
from benchmarks.gpu.torch_runs import compiled_run, torch_run
from benchmarks.gpu.workers import Entry
from ce2p_export import export_plain

MODEL = "schp:lip-r18-os16:65"
PATIENCE = 400
"""Seconds that setting up may take on a busy machine."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> NetworkFiles:
    return prepare(tmp_path_factory.mktemp("network"), MODEL)


def made(files: NetworkFiles, factor: float = 1.0, breaks: str = "") -> NetworkRun:
    """The reference times `factor`, at once. `breaks`: what goes wrong when it is to run."""

    def step() -> None:
        if breaks == "dies":
            os.kill(os.getpid(), signal.SIGSEGV)
        if breaks == "raises":
            raise RuntimeError("an illegal memory access was encountered\nsecond line")

    return NetworkRun("made", "fp32", step, lambda: files.reference() * np.float32(factor), facts={"factor": factor})


def cannot(error: Exception) -> NetworkRun:
    raise error


def die() -> NetworkRun:
    os.kill(os.getpid(), signal.SIGSEGV)
    raise AssertionError


def hang() -> NetworkRun:
    time.sleep(10_000)
    raise AssertionError


def compared(files: NetworkFiles, *groups: list[Entry], seconds: float = PATIENCE) -> Part:
    part = Part("Networks")
    compare(part, groups, files, seconds, rounds=1)
    return part


def right(files: NetworkFiles) -> Entry:
    return Entry("right", 1, partial(made, files))


def test_right_ones_are_timed_and_wrong_ones_are_named(files: NetworkFiles) -> None:
    wrong = [Entry("wrong", 1, partial(made, files, 1.01)), Entry("nan", 1, partial(made, files, float("nan")))]
    part = compared(files, [right(files), *wrong])
    assert part.status == "wrong"
    assert [row["network"] for row in part.rows if "median ms" in row] == ["right"]
    assert {row["network"] for row in part.rows if row.get("note") == "wrong, not timed"} == {"wrong", "nan"}
    assert part.facts["candidates"] == {"right": {"factor": 1.0}}
    assert len(part.facts["samples"]["right x1"]) == 5


@pytest.mark.parametrize(
    ("make", "note", "status"),
    [
        (partial(cannot, SkippedError("TensorRT is not installed")), "TensorRT is not installed", "ran"),
        (partial(cannot, ImportError("No module named 'x'")), "No module named 'x'", "ran"),
        (partial(cannot, MemoryError("CUDA out of memory")), "CUDA out of memory", "ran"),
        (partial(cannot, RuntimeError("broken\nmore")), "broken", "failed"),
        (die, "its process ended with -11", "failed"),
    ],
)
def test_one_that_cannot_be_made_costs_a_row(
    files: NetworkFiles, make: Callable[[], NetworkRun], note: str, status: str
) -> None:
    part = compared(files, [right(files)], [Entry("other", 1, make)])
    assert part.status == status
    assert {row["network"]: row.get("note") for row in part.rows} == {"right": None, "other": note}


@pytest.mark.parametrize(
    ("breaks", "note"), [("dies", "its process ended with -11"), ("raises", "an illegal memory access was encountered")]
)
def test_one_that_breaks_while_it_is_timed_spares_the_others(files: NetworkFiles, breaks: str, note: str) -> None:
    part = compared(files, [right(files)], [Entry("other", 1, partial(made, files, breaks=breaks))])
    assert (part.status, part.note) == ("failed", f"other at batch 1: {note}")
    assert [row["network"] for row in part.rows if "median ms" in row] == ["right"]


def test_one_that_hangs_is_ended_and_the_rest_of_its_group_says_so(files: NetworkFiles) -> None:
    stuck = [Entry("stuck", 1, hang, takes_turns=True), Entry("behind it", 1, partial(made, files))]
    part = compared(files, [right(files)], stuck, seconds=20)
    notes = {row["network"]: row.get("note") for row in part.rows}
    assert notes == {"right": None, "stuck": "not ready after 20 s, and ended", "behind it": notes["stuck"]}


def test_nothing_that_runs_is_no_comparison(files: NetworkFiles) -> None:
    with pytest.raises(SkippedError, match="no candidate could run"):
        compared(files, [Entry("other", 1, partial(cannot, SkippedError("not here")))])


def test_pytorchs_ways_and_a_naive_export_agree_with_the_reference(files: NetworkFiles) -> None:
    naive = export_plain(files.net("trained"), files.folder / "naive.onnx", files.size, 2)
    makers = {
        "eager": partial(torch_run, "eager", files, "trained", 2, "fp32", device="cpu", graph=False, benchmark=True),
        "fused": partial(torch_run, "fused", files, "fused", 2, "fp32", device="cpu", graph=True, benchmark=False),
        "naive": partial(from_naive_onnx, "naive", naive, files, 2, "CPUExecutionProvider"),
    }
    compiled = Entry("compiled", 2, partial(compiled_run, "compiled", files, "folded", 2, "cpu"), takes_turns=True)
    part = compared(files, [Entry(name, 2, make) for name, make in makers.items()], [compiled])
    assert part.status == "ran", part.note
    assert [row["network"] for row in part.rows] == ["eager", "fused", "naive", "compiled"]
    assert all(row["relative L2"] < 1e-5 and row["images/s"] > 0 for row in part.rows)  # type: ignore[operator]
    assert "convolutions fused" in part.facts["candidates"]["fused"]["coverage"]


def test_a_backend_that_is_not_on_a_gpu_is_no_candidate(files: NetworkFiles, tiny_model: Path) -> None:
    with pytest.raises(SkippedError, match="onnxruntime runs on cpu here, not on a GPU"):
        from_backend("TensorRT", tiny_model, files, 1, "onnxruntime", device="cpu")


def test_networks_are_prepared_once(files: NetworkFiles) -> None:
    before = {path: path.stat().st_mtime_ns for path in files.folder.glob("*.pt")}
    assert prepare(files.folder, MODEL) == files
    assert {path: path.stat().st_mtime_ns for path in files.folder.glob("*.pt")} == before
    assert len(before) == 2
