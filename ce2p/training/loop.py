"""The training loop: a step, an epoch, a run.

What a step computes is a function of the configuration, the data and its own number: samples are drawn from
(seed, epoch, index), dropout from (seed, step, process, micro batch). A run that was killed therefore goes on from its
last snapshot to the same weights, bit by bit on deterministic hardware.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ..data.dataset import ParsingLoader
from ..data.sampler import EpochSampler
from ..errors import CE2PError
from ..families import preprocessing_for
from ..models import CE2P
from .batches import to_network_input
from .distributed import Processes
from .losses import Criterion
from .memory import peak_memory
from .optimisers import check_memory, learning_rate, new_optimiser
from .recipe import TrainConfig
from .self_correction import Teacher

LOG_EVERY = 10
"""Optimiser steps between two looks at the losses: each look waits for the GPU."""


@dataclass(frozen=True)
class Position:
    """Where a run is: `step` optimiser steps of epoch `epoch` are done."""

    epoch: int
    step: int


@dataclass(frozen=True)
class StepReport:
    """The mean over the steps since the last report."""

    epoch: int
    step: int
    """Optimiser steps since the run began, the last of these included."""
    total_steps: int
    learning_rate: float
    losses: dict[str, float]
    pictures_per_second: float
    """Over all processes."""
    waiting: float
    """Share of the time that was spent waiting for data."""
    epochs: int
    """Of the whole run."""
    device: torch.device
    peak_memory: int
    """Bytes (`memory.peak_memory`)."""


class Observer(Protocol):
    """What happens around the loop: logs, scores, snapshots."""

    def stepped(self, report: StepReport) -> None:
        """Every LOG_EVERY steps and at the end of an epoch."""

    def moved(self, position: Position) -> None:
        """After every optimiser step; the place to save."""

    def epoch_ended(self, epoch: int) -> None:
        """After the epoch's last step, self-correction included."""


@dataclass
class Trainer:
    """A network in training, with everything that changes on the way."""

    config: TrainConfig
    net: CE2P
    loader: ParsingLoader
    sampler: EpochSampler
    criterion: Criterion
    processes: Processes
    compiled: bool = False
    position: Position = Position(0, 0)
    optimiser: torch.optim.Optimizer = field(init=False)
    scaler: torch.amp.GradScaler = field(init=False)
    ema: AveragedModel | None = field(init=False, default=None)
    """Exponential moving average of weights and statistics."""
    teacher: Teacher | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        config, device = self.config, self.processes.device
        self.net.to(device).to(memory_format=torch.channels_last).train()
        self.optimiser = new_optimiser(config, self.net)
        self.scaler = torch.amp.GradScaler(device.type, enabled=config.precision == "fp16")
        if config.ema is not None:
            self.ema = AveragedModel(self.net, multi_avg_fn=get_ema_multi_avg_fn(config.ema), use_buffers=True)
        if config.self_correction is not None:
            self.teacher = Teacher(self.net)
        if self.compiled:
            self.net.compile()
        self._parallel = self.processes.wrap(self.net)
        self._normalisation = preprocessing_for(config.family).normalisation

    @property
    def steps_per_epoch(self) -> int:
        return self.sampler.steps_per_epoch

    @property
    def steps_done(self) -> int:
        return self.position.epoch * self.steps_per_epoch + self.position.step

    def fit(self, observer: Observer) -> None:
        """Train from `position` to the end. Raises CE2PError when the loss stops being a number."""
        for epoch in range(self.position.epoch, self.config.epochs):
            self._train_epoch(epoch, observer)
            self._correct(epoch)
            self.position = Position(epoch + 1, 0)
            observer.epoch_ended(epoch)
            observer.moved(self.position)

    def deployable(self) -> CE2P:
        """The network one would use now: the self-correction teacher once there is one, else the average, if kept."""
        if self.teacher is not None and self.teacher.cycle > 0:
            return self.teacher.net
        return cast(CE2P, self.ema.module) if self.ema is not None else self.net

    def _train_epoch(self, epoch: int, observer: Observer) -> None:
        self.net.train()
        first = self.position.step if self.position.epoch == epoch else 0
        self.sampler.set_position(epoch, first)
        micro_batches = _Timed(iter(self.loader))
        window = _Window()
        for step in range(first, self.steps_per_epoch):
            rate = learning_rate(self.config, epoch * self.steps_per_epoch + step, self.steps_per_epoch)
            window.add(self._step(micro_batches, rate))
            self.position = Position(epoch, step + 1)
            if (step + 1) % LOG_EVERY == 0 or step + 1 == self.steps_per_epoch:
                observer.stepped(self._report(window, rate, micro_batches.take_waited()))
                window = _Window()
            if step + 1 < self.steps_per_epoch:  # the last one is told once the epoch has ended
                observer.moved(self.position)

    def _step(self, micro_batches: Iterator[dict[str, Tensor]], rate: float) -> dict[str, Tensor]:
        """One optimiser step over all its micro batches; the mean of their losses, still on the device."""
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.zero_grad(set_to_none=True)
        count = self.sampler.micro_batches
        sums: dict[str, Tensor] = {}
        for number in range(count):
            batch = next(micro_batches)
            # Not before the batch: a loader that starts draws from the same generator.
            _seed(self.config.seed, self.steps_done, self.processes.rank, number)
            for name, value in self._backward(batch, count, synchronise=number + 1 == count).items():
                sums[name] = sums.get(name, 0) + value / count
        if self.config.clip_norm is not None:
            self.scaler.unscale_(self.optimiser)
            nn.utils.clip_grad_norm_(self.net.parameters(), self.config.clip_norm)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        if self.ema is not None:
            self.ema.update_parameters(self.net)
        return sums

    def _backward(self, batch: dict[str, Tensor], count: int, *, synchronise: bool) -> dict[str, Tensor]:
        """Forward and backward of one micro batch; its losses."""
        device = self.processes.device
        image, labels, edges = (batch[name].to(device, non_blocking=True) for name in ("image", "labels", "edges"))
        inputs = to_network_input(image, self._normalisation)
        if isinstance(self._parallel, nn.parallel.DistributedDataParallel):
            self._parallel.require_backward_grad_sync = synchronise
        with self._autocast():
            outputs = self._parallel(inputs)
            guide = self.teacher.outputs(inputs) if self.teacher is not None and self.teacher.cycle > 0 else None
        cycle = self.teacher.cycle if self.teacher is not None else 0
        terms = self.criterion(outputs, labels.long(), edges.long(), guide, cycle)
        self.scaler.scale(terms.total / count).backward()
        return {"loss": terms.total.detach(), **{name: value.detach() for name, value in terms.items()}}

    def _autocast(self) -> torch.autocast:
        dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(self.config.precision)
        return torch.autocast(self.processes.device.type, dtype, enabled=dtype is not None)

    def _report(self, window: _Window, rate: float, waited: float) -> StepReport:
        losses = window.means()
        seconds = time.perf_counter() - window.started
        if not all(math.isfinite(value) for value in losses.values()):
            bad = ", ".join(f"{name} {value}" for name, value in losses.items() if not math.isfinite(value))
            raise CE2PError(
                f"training diverged: {bad} within the {window.steps} steps up to step {self.steps_done}; "
                "lower optimiser.lr (earlier snapshots are kept)"
            )
        return StepReport(
            epoch=self.position.epoch,
            step=self.steps_done,
            total_steps=self.config.epochs * self.steps_per_epoch,
            learning_rate=rate,
            losses=losses,
            pictures_per_second=window.steps * self.config.batch / seconds,
            waiting=waited / seconds,
            epochs=self.config.epochs,
            device=self.processes.device,
            peak_memory=peak_memory(self.processes.device),
        )

    def _correct(self, epoch: int) -> None:
        """The end of a self-correction cycle (SCHP train.py): the teacher takes in the network."""
        schedule = self.config.self_correction
        if self.teacher is None or schedule is None or not schedule.ends_cycle(epoch):
            return
        self.teacher.update(self.net)
        self.sampler.set_position(epoch, 0)
        device = self.processes.device
        inputs = (to_network_input(batch["image"].to(device), self._normalisation) for batch in self.loader)
        self.teacher.estimate_statistics(inputs, self.processes.reduce_sum)

    def check_finite(self) -> None:
        """Raise CE2PError when a weight is no number any more: the losses are looked at only every LOG_EVERY steps."""
        for name, parameter in self.net.named_parameters():
            if not torch.isfinite(parameter).all():
                raise CE2PError(
                    f"training diverged: {name} holds NaN or infinity at step {self.steps_done}; lower optimiser.lr "
                    "(earlier snapshots are kept)"
                )

    def state(self) -> dict[str, Any]:
        """All that changes in training, for a snapshot."""
        return {
            "position": [self.position.epoch, self.position.step],
            "net": self.net.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "scaler": self.scaler.state_dict(),
            "ema": self.ema.state_dict() if self.ema is not None else None,
            "teacher": self.teacher.state_dict() if self.teacher is not None else None,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to what `state` returned, in a trainer of the same configuration. Raises ValueError elsewhere."""
        position = Position(*state["position"])
        if position.epoch not in range(self.config.epochs + 1) or position.step not in range(self.steps_per_epoch + 1):
            raise ValueError(f"{position} in {self.config.epochs} epochs of {self.steps_per_epoch} steps")
        self.net.load_state_dict(state["net"])
        # How it steps is the configuration's to say; what it remembers is the state's.
        groups = self.optimiser.state_dict()["param_groups"]
        self.optimiser.load_state_dict({"state": state["optimiser"]["state"], "param_groups": groups})
        check_memory(self.optimiser)
        self.scaler.load_state_dict(state["scaler"])
        for average, kept in ((self.ema, state["ema"]), (self.teacher, state["teacher"])):
            if average is not None:
                average.load_state_dict(kept)
        self.position = position


class _Timed(Iterator[dict[str, Tensor]]):
    """An iterator that knows how long others waited for it."""

    def __init__(self, batches: Iterator[dict[str, Tensor]]) -> None:
        self._batches, self._waited = batches, 0.0

    def __next__(self) -> dict[str, Tensor]:
        started = time.perf_counter()
        batch = next(self._batches)
        self._waited += time.perf_counter() - started
        return batch

    def take_waited(self) -> float:
        """Seconds since the last call."""
        waited, self._waited = self._waited, 0.0
        return waited


class _Window:
    """Losses of the steps between two reports, left on the device until they are asked for."""

    def __init__(self) -> None:
        self.started, self.steps = time.perf_counter(), 0
        self._sums: dict[str, Tensor] = {}

    def add(self, losses: dict[str, Tensor]) -> None:
        self.steps += 1
        self._sums = {name: self._sums.get(name, 0) + value for name, value in losses.items()}

    def means(self) -> dict[str, float]:
        return {name: float(value) / self.steps for name, value in self._sums.items()}


def _seed(*numbers: int) -> None:
    """Make what torch draws from here on a function of these numbers."""
    torch.manual_seed(int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0]))
