"""Fold BatchNorm into the convolution before it.

    y = gamma * (W x - mean) / sqrt(var + eps) + beta
      = W' x + b'     with  W' = W * gamma / sqrt(var + eps)  (per output channel),
                            b' = beta - mean * gamma / sqrt(var + eps)

The products are formed in float64 and rounded once, so that folding adds one rounding per weight and no more.
"""

from __future__ import annotations

import copy

import torch
from torch import nn

from ce2p.models import CE2P
from ce2p.models.layers import ConvNormAct


def fold_batchnorm(net: CE2P) -> int:
    """Fold every BatchNorm of `net` in place; returns how many."""
    blocks = [m for m in net.modules() if isinstance(m, ConvNormAct) and isinstance(m.norm, nn.BatchNorm2d)]
    for block in blocks:
        block.conv = _folded(block.conv, block.norm)  # type: ignore[arg-type]
        block.norm = nn.Identity()
    left = [name for name, module in net.named_modules() if isinstance(module, nn.BatchNorm2d)]
    if left:
        raise RuntimeError(f"BatchNorm without a convolution to fold into: {', '.join(left)}")
    return len(blocks)


def _folded(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Conv2d:
    assert norm.running_mean is not None  # noqa: S101  (narrows the type: our norms always track statistics)
    assert norm.running_var is not None  # noqa: S101
    factor = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
    folded = copy.deepcopy(conv)
    folded.weight = nn.Parameter((conv.weight.double() * factor[:, None, None, None]).float())
    folded.bias = nn.Parameter((norm.bias.double() - norm.running_mean.double() * factor).float())
    return folded
