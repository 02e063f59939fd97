"""Floating-point operations of a network, counted by torch's own counter (2 per multiply-add).

Convolutions and matrix products are counted; additions, pooling and interpolation are not (under 1 % here).
"""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def count_flops(net: nn.Module, height: int, width: int) -> int:
    """FLOPs of one forward pass on [1, 3, height, width]. Runs on meta tensors: no memory, no arithmetic."""
    shadow = copy.deepcopy(net).to("meta").eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        shadow(torch.empty(1, 3, height, width, device="meta"))
    return int(counter.get_total_flops())


def count_parameters(net: nn.Module) -> int:
    """Trained values, buffers (BatchNorm statistics) not included."""
    return sum(parameter.numel() for parameter in net.parameters())
