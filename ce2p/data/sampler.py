"""Which pictures make up which step: the order of a data set, the same for any number of processes and micro batches.

Epoch `e` is the permutation that `numpy.random.default_rng([seed, e])` gives; its step `s` is the s-th run of `batch`
pictures in it, and what is left over at the end waits for another epoch. Process r takes the r-th share of every step
and goes through it in micro batches. So a run resumes with three numbers (seed, epoch, step), and the same step holds
the same pictures on one process or on eight.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

from ..errors import ConfigError, DataError

Key = tuple[int, int]
"""(epoch, index): what `ParsingDataset` makes a sample from."""


class EpochSampler(Sampler[list[Key]]):
    """A batch sampler: iterating gives this process's micro batches from the current position to the epoch's end."""

    def __init__(self, length: int, batch: int, *, micro_batch: int, seed: int, rank: int = 0, world: int = 1) -> None:
        """Steps of `batch` pictures from a data set of `length`, over `world` processes, `micro_batch` at a time.

        Raises ConfigError when the batch cannot be shared out evenly, DataError when the data set has no full batch.
        """
        if batch < 1 or world < 1 or batch % world:
            raise ConfigError(f"batch is {batch}, expected a multiple of the number of processes, {world}")
        self.share = batch // world
        """Pictures of this process in each step."""
        if micro_batch < 1 or self.share % micro_batch:
            raise ConfigError(
                f"micro_batch is {micro_batch}, expected a divisor of {self.share}"
                + (f" (batch {batch} over {world} processes)" if world > 1 else " (batch)")
            )
        if not 0 <= rank < world:
            raise ConfigError(f"rank is {rank}, expected 0 to {world - 1}")
        if length < batch:
            raise DataError(f"the data set has {length} pictures, expected at least one batch of {batch}; lower batch")
        self.length, self.batch, self.micro_batch = length, batch, micro_batch
        self.seed, self.rank, self.world = seed, rank, world
        self._epoch, self._step = 0, 0

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps in one epoch."""
        return self.length // self.batch

    @property
    def micro_batches(self) -> int:
        """Micro batches of this process in one step."""
        return self.share // self.micro_batch

    def set_position(self, epoch: int, step: int = 0) -> None:
        """The next iteration starts with step `step` of epoch `epoch`, both counted from 0.

        To be called before every iteration: iterating does not move the position, because a loader asks for batches
        ahead of those that have been trained on. `step` may be `steps_per_epoch`: nothing is left. Raises ConfigError.
        """
        if epoch < 0 or not 0 <= step <= self.steps_per_epoch:
            raise ConfigError(
                f"position is epoch {epoch}, step {step}; expected an epoch from 0 and a step from 0 to "
                f"{self.steps_per_epoch}; is this another data set or batch than the run began with?"
            )
        self._epoch, self._step = epoch, step

    def __iter__(self) -> Iterator[list[Key]]:
        epoch = self._epoch
        order = np.random.default_rng([self.seed, epoch]).permutation(self.length)
        for step in range(self._step, self.steps_per_epoch):
            start = step * self.batch + self.rank * self.share
            for first in range(start, start + self.share, self.micro_batch):
                yield [(epoch, int(index)) for index in order[first : first + self.micro_batch]]

    def __len__(self) -> int:
        """Micro batches of this process in a whole epoch."""
        return self.steps_per_epoch * self.micro_batches
