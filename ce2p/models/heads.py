"""The heads of CE2P: pyramid pooling (context), edge perceiving, decoder, fusion. Figure 2 of the paper.

Every head works at the resolution its inputs come in; upsampling happens where branches meet.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import CE2PConfig
from .layers import PYRAMID_SLOPE, ConvNormAct, upsample

PYRAMID_BINS = (1, 2, 3, 6)
"""Bins per side of the four pooling scales."""


class PyramidPooling(nn.Module):
    """Context at four scales: average k×k bins, 1x1 convolution, upsample, concatenate with x5, 3x3 convolution."""

    def __init__(self, config: CE2PConfig, inputs: int) -> None:
        super().__init__()
        width = config.pyramid_width
        self.align_corners = config.align_corners
        self.input_first = config.pyramid_input_first
        self.stages = nn.ModuleList(ConvNormAct(inputs, width, 1, slope=PYRAMID_SLOPE) for _ in PYRAMID_BINS)
        self.bottleneck = ConvNormAct(inputs + len(PYRAMID_BINS) * width, width, 3, slope=PYRAMID_SLOPE)

    def forward(self, x5: Tensor) -> Tensor:
        """[N, inputs, h, w] -> [N, pyramid_width, h, w]."""
        priors = [
            upsample(stage(F.adaptive_avg_pool2d(x5, bins)), x5, self.align_corners)
            for stage, bins in zip(self.stages, PYRAMID_BINS, strict=True)
        ]
        return self.bottleneck(torch.cat([x5, *priors] if self.input_first else [*priors, x5], dim=1))


class EdgeFeatures(NamedTuple):
    """Edge branch features, each [N, edge_width, ., .] at its own stage's resolution."""

    e2: Tensor
    e3: Tensor
    e4: Tensor


class EdgeHead(nn.Module):
    """One 1x1 convolution per stage; the features serve the edge classifier and the fusion."""

    def __init__(self, config: CE2PConfig, inputs: tuple[int, int, int]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            ConvNormAct(channels, config.edge_width, 1, slope=config.head_slope) for channels in inputs
        )

    def forward(self, x2: Tensor, x3: Tensor, x4: Tensor) -> EdgeFeatures:
        return EdgeFeatures(*(branch(x) for branch, x in zip(self.branches, (x2, x3, x4), strict=True)))


class EdgeClassifier(nn.Module):
    """Edge logits: one 3x3 convolution shared by the three branches, upsampled, mixed by a 1x1 convolution."""

    def __init__(self, config: CE2PConfig) -> None:
        super().__init__()
        self.align_corners = config.align_corners
        self.shared = nn.Conv2d(config.edge_width, 2, 3, padding=1)
        self.mix = nn.Conv2d(6, 2, 1)

    def forward(self, features: EdgeFeatures) -> Tensor:
        """-> [N, 2, H/4, W/4]; class 1 = edge. The shared convolution runs before upsampling, as published."""
        first, *others = (self.shared(feature) for feature in features)
        return self.mix(torch.cat([first, *(upsample(x, first, self.align_corners) for x in others)], dim=1))


class Decoder(nn.Module):
    """Parsing features at 1/4 resolution: upsampled context beside a narrow shortcut from x2."""

    def __init__(self, config: CE2PConfig, x2_channels: int) -> None:
        super().__init__()
        width, slope = config.decoder_width, config.head_slope
        self.align_corners = config.align_corners
        self.lateral: nn.Module = (
            ConvNormAct(config.pyramid_width, width, 1, slope=slope) if config.lateral else nn.Identity()
        )
        context = width if config.lateral else config.pyramid_width
        self.shortcut = ConvNormAct(x2_channels, config.shortcut_width, 1, slope=slope)
        self.merge = ConvNormAct(context + config.shortcut_width, width, 1, slope=slope)
        self.refine = ConvNormAct(width, width, 1, slope=slope)

    def forward(self, context: Tensor, x2: Tensor) -> Tensor:
        """context [N, pyramid_width, h, w], x2 [N, ., H/4, W/4] -> [N, decoder_width, H/4, W/4]."""
        fine = self.shortcut(x2)
        coarse = upsample(self.lateral(context), fine, self.align_corners)
        return self.refine(self.merge(torch.cat([coarse, fine], dim=1)))


class Fusion(nn.Module):
    """The final parsing: parsing and edge features together, one or two convolutions, classifier."""

    def __init__(self, config: CE2PConfig) -> None:
        super().__init__()
        width, slope = config.decoder_width, config.head_slope
        self.align_corners = config.align_corners
        self.merge = ConvNormAct(width + 3 * config.edge_width, width, 1, slope=slope)
        self.refine: nn.Module = (
            ConvNormAct(width, width, 1, slope=slope) if config.fusion_layers == 2 else nn.Identity()
        )
        self.dropout = nn.Dropout2d(config.dropout)
        self.classifier = nn.Conv2d(width, config.num_classes, 1)

    def forward(self, parsing: Tensor, edge: EdgeFeatures) -> Tensor:
        """parsing [N, decoder_width, H/4, W/4] with the edge features -> logits [N, C, H/4, W/4]."""
        e2, *coarser = edge
        merged = self.merge(torch.cat([parsing, e2, *(upsample(e, e2, self.align_corners) for e in coarser)], dim=1))
        return self.classifier(self.dropout(self.refine(merged)))
