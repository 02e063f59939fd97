"""Facts about the machine, and signs that it was not ours alone; on made-up states and files."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from ce2p_runtime.measuring import machine, machine_state
from ce2p_runtime.measuring.machine_state import Clocks, MachineState, disturbances

QUIET = MachineState(Clocks(2000.0, 2500.0, 2600.0), (0.1, 0.2, 0.3), 1000.0, 100.0, 5.0, own=50.0)
LATER = dataclasses.replace(QUIET, total=1200.0, busy=260.0, own=205.0)
"""Of 200 seconds 160 were busy, 155 of them ours."""

STAT = "cpu  100 20 30 400 50 6 7 87 11 0\ncpu0 50 10 15 200 25 3 3 43 5 0\nintr 1\n"
CPUINFO = "processor : 0\ncpu MHz\t\t: 2000.5\nprocessor : 1\ncpu MHz\t\t: 3000.0\nprocessor : 2\ncpu MHz\t\t: 2500.0\n"


def test_a_quiet_machine_is_not_disturbed() -> None:
    assert disturbances(QUIET, LATER) == []


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ({"load": (1.7, 0.2, 0.1)}, {}, "load average was 1.7"),
        ({}, {"clocks": Clocks(1000.0, 2000.0, 2600.0)}, "from 2500 to 2000 MHz (-20%"),
        ({}, {"busy": 290.0}, "other processes took 18%"),
        ({}, {"steal": 25.0}, "hypervisor gave 10%"),
    ],
)
def test_each_disturbance_is_named(before: dict[str, object], after: dict[str, object], said: str) -> None:
    found = disturbances(dataclasses.replace(QUIET, **before), dataclasses.replace(LATER, **after))  # type: ignore[arg-type]
    assert len(found) == 1
    assert said in found[0]


def test_nothing_is_said_about_what_is_not_known() -> None:
    unknown = MachineState(None, None, None, None, None, own=0.0)
    assert disturbances(unknown, unknown) == []
    zeros = dataclasses.replace(unknown, total=0.0, busy=0.0, steal=0.0)  # as sandboxes have it
    assert disturbances(zeros, zeros) == []


def test_states_are_read_from_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"/proc/stat": STAT, "/proc/cpuinfo": CPUINFO}
    monkeypatch.setattr(machine_state, "_text", files.get)
    monkeypatch.setattr("os.sysconf", lambda name: 100)
    now = MachineState.now()
    assert now.clocks == Clocks(2000.5, 2500.0, 3000.0)
    # user 100, nice 20, system 30, irq 6, softirq 7; idle 400, iowait 50, steal 87: guests are part of user
    assert (now.total, now.busy, now.steal) == (7.0, 1.63, 0.87)
    json.dumps(now.to_dict())
    monkeypatch.setattr(machine_state, "_text", {}.get)
    elsewhere = MachineState.now()
    assert (elsewhere.clocks, elsewhere.total, elsewhere.busy, elsewhere.steal) == (None, None, None, None)


def test_the_machine_is_plain_types() -> None:
    facts = machine.machine()
    assert json.loads(json.dumps(facts)) == facts
    assert {"cpu", "cores", "memory_gib", "gpus", "governor", "kernel", "versions"} <= set(facts)


def test_gpus_are_what_nvidia_smi_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    line = "NVIDIA H100 80GB HBM3, 570.86.15, 81559, 345, 1980, 2619, 700.00"
    monkeypatch.setattr(machine, "_output_of", lambda *command: f"{line}\n{line}")
    found = machine.machine()["gpus"]
    assert len(found) == 2
    assert (found[0]["name"], found[0]["driver"], found[0]["max_sm_clock_mhz"]) == (
        "NVIDIA H100 80GB HBM3",
        "570.86.15",
        "1980",
    )
    monkeypatch.setattr(machine, "_output_of", lambda *command: None)
    assert machine.machine()["gpus"] == []


def git(folder: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_the_commit_is_that_of_our_own_checkout_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ours = tmp_path / "machine.py"
    ours.write_text("one")
    (tmp_path / ".gitignore").write_text("installed\n")
    git(tmp_path, "init")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "first")
    monkeypatch.setattr(machine, "__file__", str(ours))
    found = machine.source_commit()
    assert found is not None
    assert (len(found["commit"]), found["dirty"]) == (40, False)
    ours.write_text("two")
    changed = machine.source_commit()
    assert changed == {**found, "dirty": True}
    (tmp_path / "installed").mkdir()  # as a virtual environment inside somebody's repository
    monkeypatch.setattr(machine, "__file__", str(tmp_path / "installed/machine.py"))
    assert machine.source_commit() is None
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setattr(machine, "__file__", str(ours))
    assert machine.source_commit() is None
