"""The search for layers to keep: few, deterministic, resumable, and never a file that is not good enough."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ce2p_export.search import Sensitivity, Trial, Trials, leave_one_out, search

GROUPS = [f"layer{i}" for i in range(12)]
HARM = {"layer3": 1.4, "layer7": 0.9, "layer8": 0.3, "layer1": 0.2}
"""What each group costs; the others cost nothing. Together 2.8 of an allowance of 1."""
Make = Callable[..., Trials]


class Network:
    """Harms that add up, unless told otherwise."""

    def __init__(self, harms: dict[str, float], offset: float = 0.0) -> None:
        self.harms, self.offset = harms, offset
        self.runs: list[frozenset[str]] = []

    def __call__(self, keep: frozenset[str]) -> Trial:
        self.runs.append(keep)
        harm = self.offset + sum(cost for group, cost in self.harms.items() if group not in keep)
        return Trial(harm, harm <= 1, {"pixel_agreement": 1 - harm / 100})


def found(result: Sensitivity | None) -> Sensitivity:
    assert result is not None
    return result


def trials(network: Network, folder: Path, key: int = 0) -> Trials:
    return Trials(network, {"network": key}, folder)


def test_nothing_is_kept_where_nothing_has_to_be(tmp_path: Path) -> None:
    network = Network({"layer3": 0.9})
    result = found(search(GROUPS, trials(network, tmp_path)))
    assert result.keep == ()
    assert result.final.passed
    assert network.runs == [frozenset()]


def test_the_fewest_groups_are_kept(tmp_path: Path) -> None:
    """2.8 must fall to 1: both of the costliest are needed, and enough."""
    result = found(search(GROUPS, trials(Network(HARM), tmp_path)))
    assert result.keep == ("layer3", "layer7")
    assert result.final.passed
    assert result.base.harm == pytest.approx(2.8)
    assert [entry.group for entry in result.groups[:4]] == ["layer3", "layer7", "layer8", "layer1"]
    assert [entry.relief for entry in result.groups[:4]] == pytest.approx([1.4, 0.9, 0.3, 0.2])


def test_a_group_that_turns_out_not_to_be_needed_is_given_up(tmp_path: Path) -> None:
    """layer0 relieves most by itself, but not enough; with layer2 and layer4 kept, it is not needed any more."""

    def overlapping(keep: frozenset[str]) -> Trial:
        harm = 2.2 - 0.3 * len(keep & {"layer2", "layer4"})
        harm -= 0.7 if {"layer2", "layer4"} <= keep else 0.4 if "layer0" in keep else 0.0
        return Trial(harm, harm <= 1, {})

    result = found(search(GROUPS, Trials(overlapping, {}, tmp_path)))
    assert [entry.group for entry in result.groups[:3]] == ["layer0", "layer2", "layer4"]
    assert result.keep == ("layer2", "layer4")


def test_what_always_stays_is_in_every_trial_and_not_in_the_answer(tmp_path: Path) -> None:
    network = Network(HARM)
    result = found(search(GROUPS, Trials(network, {}, tmp_path, always=["layer7", "classifier"])))
    assert result.keep == ("layer3",)
    assert all({"layer7", "classifier"} <= keep for keep in network.runs)


def test_where_keeping_all_but_one_is_not_enough_nothing_is_found(tmp_path: Path) -> None:
    assert search(GROUPS, trials(Network(HARM, offset=1.5), tmp_path)) is None


def test_two_searches_agree_and_the_second_runs_nothing(tmp_path: Path) -> None:
    first, second = Network(HARM), Network(HARM)
    one, two = search(GROUPS, trials(first, tmp_path)), search(GROUPS, trials(second, tmp_path))
    assert one == two
    assert len(first.runs) > len(GROUPS)
    assert second.runs == []


def test_an_interrupted_search_goes_on(tmp_path: Path) -> None:
    whole = Network(HARM)
    expected = search(GROUPS, trials(whole, tmp_path / "whole"))

    class DyingError(Exception):
        pass

    class Mortal(Network):
        def __call__(self, keep: frozenset[str]) -> Trial:
            if len(self.runs) == 5:
                raise DyingError
            return super().__call__(keep)

    with pytest.raises(DyingError):
        search(GROUPS, trials(Mortal(HARM), tmp_path / "cut"))
    resumed = Network(HARM)
    assert search(GROUPS, trials(resumed, tmp_path / "cut")) == expected
    assert len(resumed.runs) == len(whole.runs) - 5


def test_another_key_remembers_nothing(tmp_path: Path) -> None:
    search(GROUPS, trials(Network(HARM), tmp_path, key=1))
    other = Network({})
    assert found(search(GROUPS, trials(other, tmp_path, key=2))).keep == ()
    assert other.runs == [frozenset()]


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"": {"harm": "x"}}'])
def test_a_damaged_memory_is_run_anew(tmp_path: Path, damage: bytes) -> None:
    search(GROUPS, trials(Network(HARM), tmp_path))
    (file,) = tmp_path.iterdir()
    file.write_bytes(damage)
    assert found(search(GROUPS, trials(Network(HARM), tmp_path))).keep == ("layer3", "layer7")


def test_a_memory_that_cannot_be_written_costs_nothing_else(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert found(search(GROUPS, Trials(Network(HARM), {}, blocked))).keep == ("layer3", "layer7")


def test_leave_one_out_ranks_ties_in_the_order_of_the_network(tmp_path: Path) -> None:
    made = trials(Network({"layer5": 2.0}), tmp_path)
    harms = leave_one_out(GROUPS, made, made(()))
    assert [entry.group for entry in harms] == ["layer5", *(g for g in GROUPS if g != "layer5")]


def test_progress_counts_up_to_what_it_announces(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    search(GROUPS, trials(Network(HARM), tmp_path), lambda *entry: told.append(entry))
    for phase in {entry[0] for entry in told}:
        counts = [(done, total) for name, done, total in told if name == phase]
        assert all(done <= total for done, total in counts)
        assert [done for done, _ in counts] == sorted(done for done, _ in counts)
