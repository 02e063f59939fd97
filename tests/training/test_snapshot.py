"""Snapshots: whole or not there, the last two kept, never code."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ce2p.errors import CE2PError, CheckpointError
from ce2p.training.snapshot import KEPT, latest_snapshot, read_snapshot, write_snapshot


def state(value: float) -> dict[str, object]:
    return {"net": {"weight": torch.full((3,), value)}, "position": [1, 2], "best": value, "ema": None}


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    write_snapshot(tmp_path, 7, state(1.5))
    found = latest_snapshot(tmp_path)
    assert found is not None
    read = read_snapshot(found)
    assert read["net"]["weight"].tolist() == [1.5] * 3
    assert (read["position"], read["best"], read["ema"]) == ([1, 2], 1.5, None)


def test_the_last_two_are_kept_by_step_not_by_name_length(tmp_path: Path) -> None:
    for step in (9, 10, 100, 1000):
        write_snapshot(tmp_path, step, state(step))
    assert [read_snapshot(path)["best"] for path in sorted(tmp_path.iterdir())] == [100, 1000]
    assert KEPT == 2


def test_a_folder_without_snapshots_has_none(tmp_path: Path) -> None:
    assert latest_snapshot(tmp_path) is None
    (tmp_path / ".step-000000001.abc.pt").write_bytes(b"unfinished")
    assert latest_snapshot(tmp_path) is None


@pytest.mark.parametrize("kept_bytes", [0, 1, 300, -1])
def test_a_damaged_snapshot_is_named_with_the_cure(tmp_path: Path, kept_bytes: int) -> None:
    path = write_snapshot(tmp_path, 3, state(1))
    path.write_bytes(path.read_bytes()[:kept_bytes])
    with pytest.raises(CheckpointError, match=r"step-000000003\.pt: .*(damaged|truncated).*remove it to resume"):
        read_snapshot(path)


def test_a_snapshot_that_holds_code_is_refused(tmp_path: Path) -> None:
    class Harm:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path}/harmed",)

    torch.save({"net": Harm()}, tmp_path / "step-000000001.pt")
    with pytest.raises(CheckpointError, match=r"asks to run posix\.system"):
        read_snapshot(tmp_path / "step-000000001.pt")
    assert not (tmp_path / "harmed").exists()


def test_a_full_disk_costs_the_new_snapshot_only(tmp_path: Path) -> None:
    """A limit on file sizes stands in for the full disk: the same failed write, from the system itself."""
    write_snapshot(tmp_path, 1, state(1))
    before = (tmp_path / "step-000000001.pt").read_bytes()
    code = (
        "import resource, signal, sys, torch\n"
        "from pathlib import Path\n"
        "from ce2p.training.snapshot import write_snapshot\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "write_snapshot(Path(sys.argv[1]), 2, {'net': torch.zeros(1_000_000)})\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert "step-000000002.pt: cannot be written" in last
    assert "use --resume" in last
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000001.pt"]
    assert (tmp_path / "step-000000001.pt").read_bytes() == before


def test_a_kill_while_writing_leaves_what_was_there(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys, torch\n"
        "from pathlib import Path\n"
        "from ce2p.training import snapshot\n"
        "folder = Path(sys.argv[1])\n"
        "snapshot.write_snapshot(folder, 1, {'value': 1})\n"
        "def half(state, file):\n"
        "    file.write(b'half of it'); file.flush(); os.kill(os.getpid(), signal.SIGKILL)\n"
        "torch.save = half\n"
        "snapshot.write_snapshot(folder, 2, {'value': 2})\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL
    found = latest_snapshot(tmp_path)
    assert found is not None
    assert read_snapshot(found) == {"value": 1}


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CE2PError, match="cannot be written"):
        write_snapshot(tmp_path / "file" / "snapshots", 1, state(1))
