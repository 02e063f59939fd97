"""The order of a data set: the same steps for any number of processes and micro batches, from any position."""

from __future__ import annotations

from itertools import chain

import pytest

from ce2p.data.sampler import EpochSampler
from ce2p.errors import CE2PError, ConfigError, DataError

Key = tuple[int, int]


def steps(sampler: EpochSampler) -> list[list[Key]]:
    """The sampler's micro batches joined into steps."""
    batches = list(sampler)
    per_step = sampler.micro_batches
    return [[*chain(*batches[i : i + per_step])] for i in range(0, len(batches), per_step)]


def test_an_epoch_is_a_permutation_cut_into_whole_batches() -> None:
    sampler = EpochSampler(23, 4, micro_batch=4, seed=0)
    batches = list(sampler)
    assert [len(batch) for batch in batches] == [4] * 5
    assert len(sampler) == sampler.steps_per_epoch == 5
    keys = [key for batch in batches for key in batch]
    assert {epoch for epoch, _ in keys} == {0}
    indices = [index for _, index in keys]
    assert len(set(indices)) == 20
    assert set(indices) < set(range(23))
    assert indices != sorted(indices)


def test_epochs_and_seeds_differ_and_repeat() -> None:
    def epoch(seed: int, number: int) -> list[list[int]]:
        sampler = EpochSampler(16, 4, micro_batch=4, seed=seed)
        sampler.set_position(number)
        return [[index for _, index in batch] for batch in sampler]

    orders = {str(epoch(seed, number)) for seed in (0, 1) for number in (0, 1, 2)}
    assert len(orders) == 6
    assert epoch(1, 2) == epoch(1, 2)


def test_what_an_epoch_leaves_over_comes_in_another() -> None:
    sampler = EpochSampler(5, 4, micro_batch=4, seed=0)
    seen = set()
    for epoch in range(12):
        sampler.set_position(epoch)
        seen |= {index for batch in sampler for _, index in batch}
    assert seen == set(range(5))


@pytest.mark.parametrize(("world", "micro_batch"), [(1, 1), (1, 6), (2, 3), (2, 6), (3, 2), (4, 3), (6, 2)])
def test_the_processes_together_see_one_process_batches_in_order(world: int, micro_batch: int) -> None:
    whole = steps(EpochSampler(50, 12, micro_batch=12, seed=3))
    samplers = [EpochSampler(50, 12, micro_batch=micro_batch, seed=3, rank=r, world=world) for r in range(world)]
    assert all(len(batch) == micro_batch for sampler in samplers for batch in sampler)
    assert all(len(list(sampler)) == len(sampler) == 4 * 12 // world // micro_batch for sampler in samplers)
    shares = [steps(sampler) for sampler in samplers]
    assert [[*chain(*parts)] for parts in zip(*shares, strict=True)] == whole


@pytest.mark.parametrize("rank", [0, 1])
def test_a_position_continues_exactly_there(rank: int) -> None:
    sampler = EpochSampler(50, 12, micro_batch=2, seed=3, rank=rank, world=2)
    sampler.set_position(7)
    whole = list(sampler)
    sampler.set_position(7, 3)
    assert list(sampler) == whole[3 * 3 :]
    assert list(sampler) == whole[3 * 3 :]  # iterating does not move it
    sampler.set_position(7, 4)
    assert list(sampler) == []
    sampler.set_position(8)
    assert all(epoch == 8 for batch in sampler for epoch, _ in batch)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"length": 7}, DataError, "has 7 pictures, expected at least one batch of 8"),
        ({"length": 0}, DataError, "has 0 pictures"),
        ({"batch": 0}, ConfigError, "batch is 0"),
        ({"world": 3}, ConfigError, "batch is 8, expected a multiple of the number of processes, 3"),
        ({"micro_batch": 3}, ConfigError, "micro_batch is 3, expected a divisor of 8"),
        ({"world": 2, "micro_batch": 8}, ConfigError, "expected a divisor of 4 (batch 8 over 2 processes)"),
        ({"micro_batch": 0}, ConfigError, "micro_batch is 0"),
        ({"rank": 1}, ConfigError, "rank is 1, expected 0 to 0"),
    ],
)
def test_what_does_not_fit_is_refused(arguments: dict[str, int], error: type[CE2PError], words: str) -> None:
    chosen = {"length": 20, "batch": 8, "micro_batch": 4, "seed": 0} | arguments
    with pytest.raises(error) as caught:
        EpochSampler(chosen.pop("length"), chosen.pop("batch"), **chosen)
    assert words in str(caught.value)


@pytest.mark.parametrize(("epoch", "step"), [(-1, 0), (0, -1), (0, 6)])
def test_positions_outside_an_epoch_are_refused(epoch: int, step: int) -> None:
    with pytest.raises(ConfigError, match=f"position is epoch {epoch}, step {step}; expected .* from 0 to 5"):
        EpochSampler(20, 4, micro_batch=4, seed=0).set_position(epoch, step)
