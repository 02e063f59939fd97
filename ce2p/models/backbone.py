"""The dilated ResNet underneath: stem, four stages, output stride 8 or 16."""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from .config import CE2PConfig
from .layers import ConvNormAct


class Features(NamedTuple):
    """The four stages' outputs. Channels are for a base width of 64 with bottleneck blocks."""

    x2: Tensor
    """[N, 256, H/4, W/4]"""
    x3: Tensor
    """[N, 512, H/8, W/8]"""
    x4: Tensor
    """[N, 1024, H/stride, W/stride]"""
    x5: Tensor
    """[N, 2048, H/stride, W/stride]"""


class ResidualBlock(nn.Module):
    """`relu(branch(x) + shortcut(x))`; the shortcut is a 1x1 convolution where the shape changes."""

    def __init__(self, branch: nn.Sequential, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.branch = branch
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.downsample = ConvNormAct(inputs, outputs, 1, stride=stride, slope=None)

    @property
    def last_norm(self) -> nn.Module:
        """The normalisation just before the addition."""
        last = self.branch[-1]
        assert isinstance(last, ConvNormAct)  # noqa: S101  (narrows the type: every branch is made of these)
        return last.norm

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.branch(x) + self.downsample(x))


class BasicBlock(ResidualBlock):
    """Two 3x3 convolutions (ResNet-18)."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int, dilation: int) -> None:
        branch = nn.Sequential(
            ConvNormAct(inputs, width, 3, stride=stride, dilation=dilation, slope=0),
            ConvNormAct(width, width, 3, dilation=dilation, slope=None),
        )
        super().__init__(branch, inputs, width, stride)


class Bottleneck(ResidualBlock):
    """1x1, 3x3, 1x1 convolutions; stride and dilation sit on the 3x3 (ResNet-50 and -101)."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int, dilation: int) -> None:
        outputs = width * self.expansion
        branch = nn.Sequential(
            ConvNormAct(inputs, width, 1, slope=0),
            ConvNormAct(width, width, 3, stride=stride, dilation=dilation, slope=0),
            ConvNormAct(width, outputs, 1, slope=None),
        )
        super().__init__(branch, inputs, outputs, stride)


_LAYOUTS: dict[str, tuple[type[BasicBlock] | type[Bottleneck], tuple[int, int, int, int]]] = {
    "r18": (BasicBlock, (2, 2, 2, 2)),
    "r50": (Bottleneck, (3, 4, 6, 3)),
    "r101": (Bottleneck, (3, 4, 23, 3)),
}
_STRIDES_DILATIONS = {16: ((1, 2, 2, 1), (1, 1, 1, 2)), 8: ((1, 2, 1, 1), (1, 1, 2, 4))}


class DilatedResNet(nn.Module):
    """ResNet whose last stages trade stride for dilation, so that x5 stays at 1/16 or 1/8 of the input."""

    def __init__(self, config: CE2PConfig) -> None:
        super().__init__()
        block, depths = _LAYOUTS[config.backbone]
        strides, dilations = _STRIDES_DILATIONS[config.output_stride]
        self.stem, channels = _stem(config)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=config.ceil_pool)
        stages, widths = [], []
        for i in range(4):
            first = dilations[i] // 2 if config.half_dilated_first_block and dilations[i] > 1 else dilations[i]
            width = config.base_width * 2**i
            blocks = [block(channels, width, strides[i], first)]
            channels = width * block.expansion
            blocks += [block(channels, width, 1, dilations[i]) for _ in range(depths[i] - 1)]
            stages.append(nn.Sequential(*blocks))
            widths.append(channels)
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.widths = tuple(widths)
        """Channels of x2, x3, x4, x5."""

    def forward(self, image: Tensor) -> Features:
        """[N, 3, H, W] normalised -> the four stages' outputs."""
        x2 = self.layer1(self.pool(self.stem(image)))
        x3 = self.layer2(x2)
        x4 = self.layer3(x3)
        return Features(x2, x3, x4, self.layer4(x4))


def _stem(config: CE2PConfig) -> tuple[nn.Sequential, int]:
    """The layers before max pooling (stride 2) and their output channels."""
    width = config.base_width
    if config.stem == "7x7":
        return nn.Sequential(ConvNormAct(3, width, 7, stride=2, slope=0)), width
    half, full = (width // 2, width) if config.stem == "deep-64" else (width, 2 * width)
    return nn.Sequential(
        ConvNormAct(3, half, 3, stride=2, slope=0),
        ConvNormAct(half, half, 3, slope=0),
        ConvNormAct(half, full, 3, slope=0),
    ), full
