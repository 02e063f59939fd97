"""The optimiser of a run, and what it remembers of each parameter."""

from __future__ import annotations

import torch
from torch import nn

from .recipe import TrainConfig

__all__ = ["check_memory", "new_optimiser"]


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
