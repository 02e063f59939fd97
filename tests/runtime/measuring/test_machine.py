"""Facts about the machine and the checkout."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from ce2p_runtime.measuring import machine


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
