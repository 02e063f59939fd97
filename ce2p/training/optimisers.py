"""The optimiser of a run, what it remembers of each parameter, and the learning rate of every step.

The rate is a pure function: nothing to save, nothing to restore. Sources: `poly` lr_poly in CE2P train.py and, with a
floor, PolyScheduler in sssegmentation (ssseg/modules/models/schedulers/); `self-correction` SGDRScheduler in SCHP
utils/warmup_scheduler.py; `one-cycle` torch.optim.lr_scheduler.OneCycleLR with cosines.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from .recipe import OneCycleSchedule, PolySchedule, SelfCorrectionConfig, SelfCorrectionSchedule, TrainConfig


def new_optimiser(config: TrainConfig, net: nn.Module) -> torch.optim.Optimizer:
    """One group for all parameters, as every public recipe of the family has it."""
    chosen = config.optimiser
    if chosen.name == "sgd":
        return torch.optim.SGD(net.parameters(), chosen.lr, chosen.momentum, weight_decay=chosen.weight_decay)
    return torch.optim.AdamW(net.parameters(), chosen.lr, weight_decay=chosen.weight_decay)


def check_memory(optimiser: torch.optim.Optimizer) -> None:
    """Raise ValueError where an optimiser remembers anything else than its kind does of each parameter."""
    names = {"step", "exp_avg", "exp_avg_sq"} if isinstance(optimiser, torch.optim.AdamW) else {"momentum_buffer"}
    for parameter, memory in optimiser.state.items():
        shapes = {name: torch.Size() if name == "step" else parameter.shape for name in names}
        if {name: value.shape for name, value in memory.items() if value.is_floating_point()} != shapes:
            raise ValueError("the optimiser's memory is of other layers")


def learning_rate(config: TrainConfig, step: int, steps_per_epoch: int) -> float:
    """The rate of optimiser step `step`, counted from 0 over the whole run.

    Raises ValueError for a step outside of the run.
    """
    steps = config.epochs * steps_per_epoch
    if not 0 <= step < steps:
        raise ValueError(f"step {step} of a run with {steps}")
    schedule = config.schedule
    if isinstance(schedule, PolySchedule):
        share = _poly(schedule, step / steps)
    elif isinstance(schedule, OneCycleSchedule):
        share = _one_cycle(schedule, step, steps)
    else:
        assert config.self_correction is not None  # noqa: S101  (TrainConfig has checked it)
        share = _self_correction(schedule, config.self_correction, step // steps_per_epoch)
    return config.optimiser.lr * share


def _poly(schedule: PolySchedule, progress: float) -> float:
    return schedule.floor + (1 - schedule.floor) * (1 - progress) ** schedule.power


def _self_correction(schedule: SelfCorrectionSchedule, cycles: SelfCorrectionConfig, epoch: int) -> float:
    floor = schedule.floor
    if epoch < schedule.warmup_epochs:
        return floor + (1 - floor) * epoch / schedule.warmup_epochs
    if epoch < cycles.start_epoch:
        return _cosine(1, floor, (epoch - schedule.warmup_epochs) / (cycles.start_epoch - schedule.warmup_epochs))
    return _cosine(schedule.restart, floor, (epoch - cycles.start_epoch) % cycles.cycle_epochs / cycles.cycle_epochs)


def _one_cycle(schedule: OneCycleSchedule, step: int, steps: int) -> float:
    peak = schedule.warmup * steps - 1  # torch's: the peak may lie between two steps
    if step < peak:
        return _cosine(schedule.start, 1, step / peak)
    return _cosine(1, schedule.end, (step - peak) / (steps - 1 - peak))


def _cosine(start: float, end: float, progress: float) -> float:
    """From `start` to `end` along half a cosine."""
    return end + (start - end) * (1 + math.cos(math.pi * progress)) / 2
