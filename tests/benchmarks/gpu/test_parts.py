"""How the GPU check ends: what ran, what did not and why, whatever a part does."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from benchmarks import gpu_check
from benchmarks.gpu.parts import Part, SkippedError, attempt, markdown, run_part
from benchmarks.gpu.plan import PlannedPart


@pytest.fixture
def part_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module that `run_part` can run, to be written by the test."""
    root = Path(__file__).parents[3]
    paths = [tmp_path, root, root / "export", root / "runtime"]
    monkeypatch.setenv("PYTHONPATH", ":".join(map(str, paths)))
    return tmp_path / "some_part.py"


def test_a_part_brings_its_rows_back_from_its_process(part_module: Path) -> None:
    part_module.write_text(
        "from benchmarks.gpu.parts import part_main\n"
        "def work(part, options): part.rows.append({'kernel': 'k', 'ms': options.rounds / 2})\n"
        "part_main('Some part', work, rounds=3)\n"
    )
    part = run_part("Some part", "some_part", 60, ["--rounds", "5"])
    assert (part.status, part.rows) == ("ran", [{"kernel": "k", "ms": 2.5}])
    assert "| k | 2.5 |" in markdown([part])


def test_a_crash_costs_one_part_and_says_how_it_ended(part_module: Path) -> None:
    part_module.write_text("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n")
    part = run_part("Some part", "some_part", 60)
    assert part.status == "failed"
    assert "ended with -11" in part.note


def test_a_part_that_hangs_is_stopped(part_module: Path) -> None:
    part_module.write_text("import time\ntime.sleep(600)\n")
    part = run_part("Some part", "some_part", 1)
    assert (part.status, part.note) == ("failed", "stopped after 1 s")


@pytest.mark.parametrize(
    ("end", "note"),
    [
        ("subprocess.run(['sleep', '600'])", "stopped after 10 s; what it had is below"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "ended with -9: last words"),
    ],
)
def test_what_a_part_saved_survives_its_end(part_module: Path, end: str, note: str) -> None:
    part_module.write_text(
        "import os, signal, subprocess\n"
        "from benchmarks.gpu.parts import part_main\n"
        "def work(part, options):\n"
        "    part.rows.append({'kernel': 'k', 'ms': 1})\n"
        "    part.save()\n"
        "    print('last words', flush=True)\n"
        f"    {end}\n"
        "part_main('Some part', work)\n"
    )
    part = run_part("Some part", "some_part", 10)
    assert (part.status, part.note) == ("failed", note)
    assert part.rows == [{"kernel": "k", "ms": 1}]
    assert part.facts["said"][-1] == "last words"


def test_nothing_that_a_part_started_outlives_it(part_module: Path, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    part_module.write_text(
        "import subprocess, time\nfrom pathlib import Path\n"
        f"Path({str(pid)!r}).write_text(str(subprocess.Popen(['sleep', '600']).pid))\ntime.sleep(600)\n"
    )
    run_part("Some part", "some_part", 5)
    for _ in range(600):  # being killed takes a moment
        if not alive(int(pid.read_text())):
            return
        time.sleep(0.1)
    pytest.fail("it is still there")


def alive(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_part_without_time_left_is_skipped() -> None:
    assert run_part("Some part", "never_imported", 0.2).status == "skipped"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ImportError("No module named 'tensorrt'"), "skipped"),
        (SkippedError("no GPU"), "skipped"),
        (AssertionError("labels differ"), "wrong"),
        (RuntimeError("cuLaunchKernel: CUDA_ERROR_ILLEGAL_ADDRESS"), "failed"),
    ],
)
def test_what_a_part_raises_is_its_verdict(error: Exception, status: str) -> None:
    def work(part: Part) -> None:
        part.rows.append({"kernel": "measured before"})
        raise error

    part = attempt("Some part", work)
    assert part.status == status
    assert str(error) in part.note
    assert part.rows, "what was measured before is kept"


def test_a_sanitizer_that_complains_makes_the_part_wrong(part_module: Path, tmp_path: Path) -> None:
    part_module.write_text(
        "from benchmarks.gpu.parts import part_main\npart_main('Some part', lambda part, options: None)\n"
    )
    wrapper = tmp_path / "checker"
    wrapper.write_text('#!/bin/sh\n"$@"\necho "========= Invalid __global__ read: error"\nexit 9\n')
    wrapper.chmod(0o755)
    part = run_part("Some part", "some_part", 60, wrapper=[str(wrapper)])
    assert (part.status, part.note) == ("wrong", "Invalid __global__ read: error")


def test_without_a_gpu_it_ends_with_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_check, "graphics_card", lambda: None)
    monkeypatch.setattr("sys.argv", ["gpu_check", "--out", "unused"])
    with pytest.raises(SystemExit, match="no NVIDIA GPU found"):
        gpu_check.main()


def with_parts(monkeypatch: pytest.MonkeyPatch, out: Path, *parts: Part, stretches: str = "") -> None:
    """Run the check as if these were what its parts give, each within nine seconds."""
    planned = [
        Given(p.name, p.name, "", 1, 9, measures=p.name != "machine", stretches=p.name == stretches, gives=p)
        for p in parts
    ]
    monkeypatch.setattr(gpu_check, "graphics_card", lambda: "Some card, 580.1")
    monkeypatch.setattr(gpu_check, "plan_of", lambda *arguments, **options: planned)
    monkeypatch.setattr(sys, "argv", ["gpu_check", "--out", str(out)])
    gpu_check.main()


@dataclass(frozen=True)
class Given(PlannedPart):
    """A part whose outcome is known."""

    gives: Part = field(default_factory=lambda: Part(""))

    def run(self, seconds: float) -> Part:
        self.gives.facts["seconds"] = seconds
        return self.gives


def test_the_report_holds_every_part(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with_parts(monkeypatch, tmp_path, Part("one", rows=[{"a": 1}]), Part("two", "skipped", "not here"))
    document = json.loads((tmp_path / "gpu-check.json").read_text())
    assert [part["status"] for part in document["parts"]] == ["ran", "skipped"]
    assert document["machine"]["commit"]
    assert "Some card" in (tmp_path / "gpu-check.md").read_text()


def test_a_part_that_stretches_gets_what_others_left(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    one, two, three = Part("one"), Part("two"), Part("three")
    with_parts(monkeypatch, tmp_path, one, two, three, stretches="two")
    assert (one.facts["seconds"], three.facts["seconds"]) == (9, 9)
    assert 9 < two.facts["seconds"] <= gpu_check.BUDGET - 9


def test_a_wrong_part_is_reported_and_fails_the_check(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="broke or was wrong"):
        with_parts(monkeypatch, tmp_path, Part("one", "wrong", "labels differ"), Part("two"))
    assert len(json.loads((tmp_path / "gpu-check.json").read_text())["parts"]) == 2


def test_a_check_that_checked_nothing_is_no_success(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no part could run"):
        with_parts(
            monkeypatch,
            tmp_path,
            Part("one", "skipped", "no driver"),
            Part("two", "skipped", "no torch"),
            Part("machine", "ran"),
        )
    assert "no driver" in (tmp_path / "gpu-check.md").read_text()
