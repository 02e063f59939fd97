"""The two building blocks every part of the network shares."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

PYRAMID_SLOPE = 0.01
"""Negative slope of the pyramid's leaky ReLUs, the same in every family (InPlaceABN's default)."""


def activation(slope: float | None) -> nn.Module:
    """None: no activation; 0: ReLU; otherwise a leaky ReLU with that negative slope."""
    if slope is None:
        return nn.Identity()
    return nn.ReLU() if slope == 0 else nn.LeakyReLU(slope)


class ConvNormAct(nn.Module):
    """Convolution (no bias), BatchNorm, activation; "same" padding. Folding turns `norm` into an identity."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, *, stride: int = 1, dilation: int = 1, slope: float | None
    ) -> None:
        super().__init__()
        padding = dilation * (kernel // 2)
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation=dilation, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(outputs)
        self.act = activation(slope)

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, H, W] -> [N, outputs, ceil(H/stride), ceil(W/stride)]."""
        return self.act(self.norm(self.conv(x)))


def upsample(x: Tensor, like: Tensor, align_corners: bool) -> Tensor:
    """Bilinear interpolation of [N, C, h, w] to the height and width of `like`."""
    return F.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=align_corners)
