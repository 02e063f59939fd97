"""A run that is killed again and again ends in the weights of one that was left alone, bit by bit.

Each life of a run is a process of its own, killed with SIGKILL at a moment that only the clock decides: while it reads,
trains, validates or writes.
"""

from __future__ import annotations

import csv
import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import ce2p
from ce2p.errors import CheckpointError, ConfigError
from ce2p.synthetic import write_lip_folder

KILLS = 10
# Not fork: autograd's threads do not survive it, and other tests have started them. A server that has imported
# everything and started nothing forks lives that cost no imports; but a loader's workers end at once in such a life.
SPAWN = multiprocessing.get_context("spawn")
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["ce2p.api.train"])
Options = dict[str, Any]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "lip"
    write_lip_folder(root, train=16, val=2, size=(64, 64), seed=3)
    return root


def request(data: Path, output: Path, *overrides: str, **changes: object) -> Options:
    """`ce2p.train`'s options for a short run on the CPU that saves after every step."""
    plain = {"model": "lip-r18-os16", "recipe": "tiny", "device": "cpu", "workers": 0, "validate_every": 1}
    values = ("input_size=64", "batch=4", "epochs=6", *overrides)
    return {**plain, "data": data, "overrides": values, "output": output, "snapshot_minutes": 0.0, **changes}


def live(wanted: Options) -> None:
    torch.set_num_threads(1)
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
        ce2p.train(**wanted)


def life(wanted: Options, *, snapshots: int | None = None, seconds: float = 0) -> int:
    """Run it in a process; with `snapshots`, kill it `seconds` after it has written that many. Its exit status."""
    process = (SPAWN if wanted["workers"] else SERVER).Process(target=live, args=(wanted,))
    process.start()
    assert process.pid is not None
    seen, last = 0, newest(wanted["output"])
    while snapshots is not None and process.is_alive():
        if seen >= snapshots:
            process.join(seconds)
            os.kill(process.pid, signal.SIGKILL)
            break
        if newest(wanted["output"]) != last:
            seen, last = seen + 1, newest(wanted["output"])
        time.sleep(0.002)
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def newest(folder: Path) -> str:
    """Name of the newest snapshot."""
    return max((path.name for path in (folder / "snapshots").glob("step-*")), default="")


def steps_logged(folder: Path) -> list[int]:
    with (folder / "losses.csv").open(newline="") as file:
        return [int(row["step"]) for row in csv.DictReader(file)]


def same_tensors(first: Path, second: Path) -> bool:
    one, other = load_file(first), load_file(second)
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


# With all the state there can be: a moving average, a self-correction teacher, and a worker that prepares ahead.
EVERYTHING = ("ema=0.9", "self_correction.start_epoch=2", "self_correction.cycle_epochs=2", "precision=bf16")


@pytest.mark.parametrize(("kills", "overrides", "workers"), [(KILLS, (), 0), (1, EVERYTHING, 1)])
def test_kills_change_nothing(data: Path, tmp_path: Path, kills: int, overrides: tuple[str, ...], workers: int) -> None:
    calm, killed = tmp_path / "calm", tmp_path / "killed"
    assert life(request(data, calm, *overrides, workers=workers)) == 0
    draw = np.random.default_rng(kills)
    for _ in range(kills):
        wanted = request(data, killed, *overrides, workers=workers, resume=(killed / "config.yaml").exists())
        status = life(wanted, snapshots=int(draw.integers(0, 3)), seconds=float(draw.uniform(0, 0.5)))
        assert status == -signal.SIGKILL
    wanted = request(data, killed, *overrides, workers=workers, resume=(killed / "config.yaml").exists())
    assert life(wanted) == 0
    assert same_tensors(calm / "last.safetensors", killed / "last.safetensors")
    # assert same_tensors(calm / "best.safetensors", killed / "best.safetensors")
    assert steps_logged(killed) == steps_logged(calm) == [4, 8, 12, 16, 20, 24]
    assert not [*killed.rglob(".*.safetensors"), *killed.rglob(".step-*")]


def test_resuming_needs_the_same_run(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert life(request(data, folder, "epochs=1")) == 0
    with pytest.raises(ConfigError, match="holds a run already; --resume goes on"):
        ce2p.train(**request(data, folder, "epochs=1"))
    with pytest.raises(ConfigError, match=r"config\.yaml: the run has 'epochs: 1', this command 'epochs: 2'"):
        ce2p.train(**request(data, folder, "epochs=2", resume=True))
    names = (data / "train_id.txt").read_text().split()
    fewer = tmp_path / "fewer"
    fewer.mkdir()
    for entry in data.iterdir():
        (fewer / entry.name).symlink_to(entry)
    (fewer / "train_id.txt").unlink()
    (fewer / "train_id.txt").write_text("\n".join(names[:8]))
    with pytest.raises(ConfigError, match="trained on 16 pictures, --data has 8"):
        ce2p.train(**request(fewer, folder, "epochs=1", resume=True))
    with pytest.raises(ConfigError, match="no run to resume"):
        ce2p.train(**request(data, tmp_path / "nothing", resume=True))
    newest = sorted((folder / "snapshots").iterdir())[-1]
    newest.write_bytes(newest.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="remove it to resume from the one before it"):
        ce2p.train(**request(data, folder, "epochs=1", resume=True))
