"""Checkpoints with seeded damage: a network or one line, no crash, no hang, no code run, less than 1 GiB of memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from ce2p.checkpoints import save_checkpoint
from tests.hostile.isolated import Outcome, run_isolated
from tests.hostile.mutations import mutations
from tests.hostile.reading_checkpoints import Trap, load, narrow_network, public_names, unacceptable

_ROOM = 2**33
"""Address space for a child beyond what it has: enough for an attack to show in the memory really used."""


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One whole file in each format, and of those that hold pickles one with a trap beside the tensors."""
    folder, net = tmp_path_factory.mktemp("intact"), narrow_network()
    save_checkpoint(folder / "own.safetensors", net, "custom", "untrained, seed 0", {"input_size": [33, 33]})
    state = public_names(net)
    trapped = {"state_dict": state, "optimizer": Trap(folder / "sprung")}
    for name, zipped in (("zip", True), ("legacy", False)):
        torch.save(state, folder / f"{name}.pth", _use_new_zipfile_serialization=zipped)
        torch.save(trapped, folder / f"{name}-trap.pth", _use_new_zipfile_serialization=zipped)
    return folder


def fuzzed(sources: list[Path], target: Path, seed: int, count: int) -> tuple[list[str], list[Outcome]]:
    """`count` damaged versions of the files in turn, each loaded by a child process."""
    streams = [mutations(source.read_bytes(), seed, count) for source in sources]
    names: list[str] = []

    def cases() -> Iterator[Path]:
        for number in range(count):
            drawn = [next(stream) for stream in streams]
            turn = number // 9 % len(sources)  # the kinds of damage come round every nine
            name, data = drawn[turn]
            names.append(f"{sources[turn].name}, {name}")
            target.write_bytes(data)
            yield target

    return names, run_isolated(load, cases(), memory=_ROOM)


@pytest.mark.parametrize(
    ("name", "sources"),
    [
        ("own.safetensors", ["own.safetensors"]),
        ("zip.pth", ["zip.pth", "zip-trap.pth"]),
        ("legacy.pth", ["legacy.pth", "legacy-trap.pth"]),
    ],
)
def test_damaged_checkpoints_are_a_network_or_one_line(
    intact: Path, tmp_path: Path, fuzz_seed: int, fuzz_count: int, name: str, sources: list[str]
) -> None:
    names, outcomes = fuzzed([intact / source for source in sources], tmp_path / name, fuzz_seed, fuzz_count)
    assert unacceptable(outcomes, names) == []
    assert max(outcome.peak for outcome in outcomes) < 2**30  # of the whole process, torch itself included
    assert not (intact / "sprung").exists()
    assert sum(outcome.kind == "refused" for outcome in outcomes) > fuzz_count / 4


def test_the_files_that_are_damaged_get_as_far_as_they_can_while_whole(intact: Path) -> None:
    own, zipped, legacy, *trapped = run_isolated(
        load,
        [intact / name for name in ("own.safetensors", "zip.pth", "legacy.pth", "zip-trap.pth", "legacy-trap.pth")],
    )
    assert (own.kind, own.value) == ("returned", "schp r18 os16, 3 classes")
    for outcome in (zipped, legacy):  # everything is read; only then are shapes compared
        assert "does not fit schp r18 os16 with 3 classes: " in outcome.value
    for outcome in trapped:
        assert "asks to run posix.mkdir" in outcome.value
    assert not (intact / "sprung").exists()
