"""The whole network, wired from its parts."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from .backbone import DilatedResNet, ResidualBlock
from .config import CE2PConfig
from .heads import Decoder, EdgeClassifier, EdgeHead, Fusion, PyramidPooling


class CE2POutputs(NamedTuple):
    """Logits at 1/4 resolution. A head that was dropped for deployment gives None."""

    parsing: Tensor
    """[N, C, H/4, W/4] from the fusion: the result."""
    stage1: Tensor | None
    """[N, C, H/4, W/4] from the decoder alone: a training signal."""
    edge: Tensor | None
    """[N, 2, H/4, W/4]; class 1 = edge between two labels."""


class CE2P(nn.Module):
    """Context Embedding with Edge Perceiving (Ruan et al., AAAI 2019) and its descendants, by configuration.

    Folding replaces parts (`pyramid`, `decoder`, `fusion`) by faster ones with the same inputs and outputs, so this
    wiring serves training and deployment alike.
    """

    def __init__(self, config: CE2PConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = DilatedResNet(config)
        c2, c3, c4, c5 = self.backbone.widths
        self.pyramid: nn.Module = PyramidPooling(config, c5)
        self.decoder: nn.Module = Decoder(config, c2)
        self.edge = EdgeHead(config, (c2, c3, c4))
        self.fusion: nn.Module = Fusion(config)
        self.stage1_classifier: nn.Module | None = nn.Conv2d(config.decoder_width, config.num_classes, 1)
        self.edge_classifier: nn.Module | None = EdgeClassifier(config)

    def forward(self, image: Tensor) -> CE2POutputs:
        """image: float [N, 3, H, W], normalised as the family does (see `ce2p.families`)."""
        x2, x3, x4, x5 = self.backbone(image)
        parsing_features = self.decoder(self.pyramid(x5), x2)
        edge_features = self.edge(x2, x3, x4)
        return CE2POutputs(
            parsing=self.fusion(parsing_features, edge_features),
            stage1=self.stage1_classifier(parsing_features) if self.stage1_classifier is not None else None,
            edge=self.edge_classifier(edge_features) if self.edge_classifier is not None else None,
        )


def untrained(config: CE2PConfig, seed: int = 0) -> CE2P:
    """A network with random weights, in eval mode, for measuring and testing: its labels mean nothing.

    BatchNorm gets random affine parameters and the statistics of one batch of noise, and each residual branch ends
    in a small gamma, as in trained ResNets. Plain initialisation would make the network chaotic: over 33 blocks it
    amplifies float32 rounding to 1e-4 of the logits (measured against float64), and no comparison of two correct
    implementations could be told from a wrong one.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = CE2P(config)
        for module in net.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
        last_norms = {block.last_norm for block in net.modules() if isinstance(block, ResidualBlock)}
        norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
        with torch.no_grad():
            for norm in norms:
                low, high = (0.02, 0.2) if norm in last_norms else (0.5, 1.5)
                norm.weight.copy_(torch.empty(norm.num_features).uniform_(low, high, generator=generator))
                norm.bias.copy_(torch.empty(norm.num_features).normal_(0, 0.2, generator=generator))
                norm.momentum = None  # cumulative average: exactly the statistics of the one batch below
            net.train()
            net(torch.randn(8, 3, 65, 65, generator=generator))
    for norm in norms:
        norm.momentum = 0.1
    return net.eval()
