"""Run folders that were cut, edited or swapped: one line that names the file and what to do, nothing believed."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ce2p.data.splits import Sample, open_split
from ce2p.errors import CE2PError, CheckpointError, ConfigError
from ce2p.labels import label_set
from ce2p.synthetic import write_lip_folder
from ce2p.training.building import build_network, build_trainer
from ce2p.training.distributed import Processes
from ce2p.training.logs import RunLogs
from ce2p.training.loop import Trainer
from ce2p.training.recipe import TrainConfig, resolve
from ce2p.training.run import RunFolder, TrainingRun
from ce2p.training.snapshot import latest_snapshot, read_snapshot, write_snapshot

LABELS = label_set("lip")
Damage = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> tuple[Sample, ...]:
    root = tmp_path_factory.mktemp("data") / "lip"
    write_lip_folder(root, train=4, val=1, size=(64, 64), seed=3)
    return open_split("lip", root, "train")


def configuration(*overrides: str) -> TrainConfig:
    return resolve("lip-r18-os16", "tiny", ["input_size=64", "batch=4", "epochs=2", "ema=0.9", *overrides])


def new_trainer(samples: tuple[Sample, ...]) -> Trainer:
    config = configuration()
    alone = Processes(torch.device("cpu"))
    pixels = torch.ones(20, dtype=torch.int64)
    return build_trainer(config, build_network(config, LABELS), LABELS, samples, alone, workers=0, class_pixels=pixels)


@pytest.fixture(scope="module")
def trained(samples: tuple[Sample, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run after one epoch, with an optimiser that remembers."""
    folder = RunFolder(tmp_path_factory.mktemp("run"))
    folder.begin(configuration(), samples, resume=False)
    trainer = new_trainer(samples)
    for parameter in trainer.net.parameters():
        parameter.grad = torch.ones_like(parameter)
    trainer.optimiser.step()
    write_snapshot(folder.snapshots, 1, trainer.state() | {"best": 0.25})
    return folder.path


@pytest.fixture
def folder(trained: Path, tmp_path: Path) -> RunFolder:
    """A copy of the run's small files; the snapshot is shared, so it is replaced and never written into."""
    for path in (trained / "config.yaml", trained / "data.json"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "snapshots").mkdir()
    newest = latest_snapshot(trained / "snapshots")
    assert newest is not None
    (tmp_path / "snapshots" / newest.name).symlink_to(newest)
    return RunFolder(tmp_path)


def one_line(error: CE2PError, path: Path) -> str:
    message = str(error)
    assert "\n" not in message
    assert message.startswith(f"{path}: "), message
    assert "weights_only" not in message
    return message


def test_the_run_these_tests_spoil_can_be_resumed(folder: RunFolder, samples: tuple[Sample, ...]) -> None:
    state = folder.begin(configuration(), samples, resume=True)
    assert state is not None
    run = TrainingRun(folder, new_trainer(samples), LABELS, "", None)
    run.restore(state)
    assert run.best == 0.25
    assert all(memory for memory in run.trainer.optimiser.state.values())


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"3",
        b"null",
        b"[" * 100_000,
        b"\xff\xfe\x00",
        b'{"pictures": 4}',
        b'{"pictures": "4", "sha256_of_names": ""}',
        b'{"pictures": [4], "sha256_of_names": ""}',
        b'{"pictures": 1' + b"0" * 5000 + b', "sha256_of_names": ""}',
        b" " * 2_000_000,
    ],
)
def test_a_garbled_data_json_is_one_line(folder: RunFolder, samples: tuple[Sample, ...], content: bytes) -> None:
    (folder.path / "data.json").write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        folder.begin(configuration(), samples, resume=True)
    one_line(caught.value, folder.path / "data.json")


@pytest.mark.parametrize("name", ["data.json", "config.yaml"])
@pytest.mark.parametrize("kind", ["missing", "pipe", "folder", "binary"])
def test_a_file_of_another_kind_is_one_line(
    folder: RunFolder, samples: tuple[Sample, ...], name: str, kind: str
) -> None:
    path = folder.path / name
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "binary":
        path.write_bytes(bytes(range(256)))
    with pytest.raises(ConfigError) as caught:
        folder.begin(configuration(), samples, resume=True)
    one_line(caught.value, folder.path if (name, kind) == ("config.yaml", "missing") else path)


def test_more_epochs_are_told_the_way(folder: RunFolder, samples: tuple[Sample, ...]) -> None:
    with pytest.raises(ConfigError) as caught:
        folder.begin(configuration("epochs=5"), samples, resume=True)
    message = one_line(caught.value, folder.config)
    assert "the run has 'epochs: 2', this command 'epochs: 5'" in message
    assert f"start another run with --init {folder.path / 'last.safetensors'}" in message


def deep_copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: deep_copy(entry) for key, entry in value.items()}
    return [deep_copy(entry) for entry in value] if isinstance(value, list) else value


def spoilt(state: dict[str, Any], draw: random.Random) -> str:
    """Replace, remove or add one entry somewhere in the state; what was done, in words."""
    node, path = state, "state"
    while True:
        key = draw.choice(list(node))
        path += f"[{key!r}]"
        if isinstance(node[key], dict) and node[key] and draw.random() < 0.7:
            node = node[key]
            continue
        odd = [
            None,
            3,
            -1,
            1e9,
            "x",
            [],
            {},
            [1, 2, 3],
            torch.zeros(3),
            torch.zeros(2, 2, dtype=torch.complex64),
            torch.eye(3).to_sparse(),
            torch.zeros(3, device="meta"),
            torch.tensor(float("nan")),
        ]
        kind = draw.choice(["replaced", "removed", "added"])
        if kind == "removed":
            del node[key]
        else:
            node[key if kind == "replaced" else "more"] = draw.choice(odd)
        return f"{path} {kind}"


def test_a_snapshot_with_other_contents_is_refused_or_equal_in_kind(
    folder: RunFolder, samples: tuple[Sample, ...], trained: Path, fuzz_seed: int
) -> None:
    newest = latest_snapshot(trained / "snapshots")
    assert newest is not None
    whole, refused = read_snapshot(newest), 0
    trainer = new_trainer(samples)
    for number in range(400):
        state = deep_copy(whole)
        what = spoilt(state, random.Random(f"{fuzz_seed}:{number}"))  # noqa: S311  (repeatable, not secret)
        refusal = None
        try:
            TrainingRun(folder, trainer, LABELS, "", None).restore(state)
            trainer.optimiser.step()  # whatever was accepted can be trained with
        except CheckpointError as error:
            refusal = error
        if refusal is not None:
            assert "is no snapshot of this run" in one_line(refusal, folder.snapshots / newest.name), what
            refused += 1
    assert refused > number / 2


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda state: state.pop("net"), "lacks, or should not have, 'net'"),
        (lambda state: state.update(position=[10**9, 0]), "2 epochs of 1 steps"),
        (lambda state: state.update(position=[0, -1]), "2 epochs of 1 steps"),
        (lambda state: state.update(best="high"), "best of the snapshot is one str, expected one float"),
        (lambda state: state.update(ema=None), "ema of the snapshot"),
        (lambda state: state["optimiser"]["state"][0].update(exp_avg=torch.zeros(7)), "of other layers"),
        (lambda state: state["optimiser"]["state"][0].pop("exp_avg"), "of other layers"),
        (lambda state: state["net"].update({"fusion.classifier.bias": torch.zeros(3)}), "fusion.classifier.bias"),
    ],
)
def test_what_does_not_fit_is_named(
    folder: RunFolder, samples: tuple[Sample, ...], trained: Path, damage: Damage, words: str
) -> None:
    newest = latest_snapshot(trained / "snapshots")
    assert newest is not None
    state = deep_copy(read_snapshot(newest))
    damage(state)
    with pytest.raises(CheckpointError) as caught:
        TrainingRun(folder, new_trainer(samples), LABELS, "", None).restore(state)
    assert words in one_line(caught.value, folder.snapshots / newest.name)


def test_a_flipped_bit_in_a_snapshot_is_noticed(trained: Path, tmp_path: Path, fuzz_seed: int) -> None:
    newest = latest_snapshot(trained / "snapshots")
    assert newest is not None
    whole, draw = newest.read_bytes(), random.Random(fuzz_seed)  # noqa: S311  (repeatable, not secret)
    path = tmp_path / "step-000000001.pt"
    for _ in range(8):
        # Within the tensors, which are nearly all of the file: padding and archive names carry nothing.
        place = draw.randrange(len(whole) // 10, len(whole) * 9 // 10)
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << draw.randrange(8)]) + whole[place + 1 :])
        with pytest.raises(CheckpointError) as caught:
            read_snapshot(path)
        assert "remove it to resume from the one before it" in one_line(caught.value, path)


def test_a_snapshot_that_is_no_file_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "step-000000001.pt"
    os.mkfifo(path)
    with pytest.raises(CheckpointError, match="is no file, expected a snapshot"):
        read_snapshot(path)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"epoch,loss\n1,2\n", b'step,loss\n1,"\n' + b"x" * 200_000])
def test_a_log_of_something_else_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "losses.csv").write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        RunLogs(tmp_path, 5)
    assert "move it away" in one_line(caught.value, tmp_path / "losses.csv")
    assert (tmp_path / "losses.csv").read_bytes() == content


@pytest.mark.parametrize("text", ["[" * 1500, "a: " * 9, "when: 2026-99-99", "x: !!python/object:os.system {}"])
def test_a_configuration_that_is_none_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        resolve(str(tmp_path / "config.yaml"), None, [])
    one_line(caught.value, tmp_path / "config.yaml")
