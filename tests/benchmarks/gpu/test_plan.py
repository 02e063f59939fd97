"""What the GPU check is going to do, before it does anything."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from benchmarks import gpu_check
from benchmarks.gpu import plan
from benchmarks.gpu.plan import PARTS, plan_of, plan_table

MODEL = "schp:lip-r101-os16:473"
WITHOUT_EXPORTS = ["machine", "kill", "checks", "times", "frames", "network", "memcheck", "racecheck", "training"]


def keys(
    monkeypatch: pytest.MonkeyPatch, *only: str, runtimes: tuple[str, ...] = (), rehearsal: bool = False
) -> list[str]:
    monkeypatch.setattr(plan, "gpu_runtimes", lambda: (list(runtimes), "not here"))
    return [part.key for part in plan_of(only, MODEL, Path("files"), Path("out"), rehearsal=rehearsal)]


def test_everything_that_is_done_by_default_fits_into_eight_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert keys(monkeypatch) == WITHOUT_EXPORTS
    assert sum(part.limit for part in PARTS if part.key in WITHOUT_EXPORTS) <= gpu_check.BUDGET < 480
    assert all(part.expected < part.limit for part in PARTS)


def test_files_are_exported_where_something_runs_them(monkeypatch: pytest.MonkeyPatch) -> None:
    with_exports = keys(monkeypatch, runtimes=("onnxruntime",))
    assert with_exports.index("exports") == with_exports.index("frames") - 1
    assert keys(monkeypatch, "exports") == ["exports"]
    assert keys(monkeypatch, rehearsal=True) == WITHOUT_EXPORTS


def test_chosen_parts_keep_their_order_of_worth(monkeypatch: pytest.MonkeyPatch) -> None:
    assert keys(monkeypatch, "training", "kill") == ["kill", "training"]


def test_every_part_is_a_program_and_takes_its_arguments(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for rehearsal in (False, True):
        for part in plan_of([p.key for p in PARTS], MODEL, tmp_path, tmp_path, rehearsal=rehearsal):
            assert callable(importlib.import_module(f"benchmarks.gpu.{part.module}").work)
            assert ("cpu" in part.arguments) == (
                rehearsal and part.key not in ("checks", "exports", "memcheck", "racecheck")
            )


def test_the_plan_is_printed_alone_and_needs_no_gpu(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu_check", "--out", str(tmp_path / "out"), "--plan"])
    gpu_check.main()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if line.startswith(tuple(WITHOUT_EXPORTS))][:2] == ["machine", "kill"]
    assert "all, one after the other" in lines[-1] or "more than the budget" in lines[-1]
    assert not (tmp_path / "out").exists()


def test_a_plan_beyond_its_budget_says_so() -> None:
    assert "more than the budget of 10 s" in plan_table(PARTS, 10)
    assert "budget" not in plan_table(PARTS, 10_000)


def test_an_unknown_part_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu_check", "--out", str(tmp_path), "--only", "three"])
    with pytest.raises(SystemExit, match="no part three; expected machine, kill"):
        gpu_check.main()


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks.gpu.runtimes import gpu_runtimes

    monkeypatch.setitem(sys.modules, "tensorrt", None)
    found, lacking = gpu_runtimes()
    assert "tensorrt" not in found
    assert "onnxruntime-gpu" in lacking or "naive" in found
    assert "pycuda" in lacking or "TensorRT" in lacking


def test_a_sanitizer_that_is_not_installed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *arguments, **options: None)
    memcheck = next(part for part in PARTS if part.key == "memcheck")
    assert memcheck.run(10).note == "compute-sanitizer is not installed; it comes with the CUDA toolkit"
