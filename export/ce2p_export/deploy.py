"""The deploy network: a copy of the trained one with the exact folds applied, for one fixed input size."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch

from ce2p.flops import count_flops
from ce2p.models import CE2P

from .folds import drop_heads, fold_batchnorm, fold_pyramid, split_decoder, split_fusion


@dataclass(frozen=True)
class FoldReport:
    """What one fold did."""

    name: str
    count: int
    """How many places it changed."""
    flops_before: int
    flops_after: int


@dataclass(frozen=True)
class Deployed:
    """A folded network and the account of how it came about."""

    net: CE2P
    size: tuple[int, int]
    folds: tuple[FoldReport, ...]

    @property
    def flops_before(self) -> int:
        return self.folds[0].flops_before

    @property
    def flops_after(self) -> int:
        return self.folds[-1].flops_after


def deploy(trained: CE2P, size: tuple[int, int], *, keep_edge: bool = False) -> Deployed:
    """Fold a copy of `trained` for inputs of `size` = (height, width); `trained` itself stays as it is.

    The result computes the same function (float32 relative L2 below 1e-5, see tests/export/test_folds.py), with
    `stage1` None, and `edge` None unless `keep_edge`.
    """
    net = copy.deepcopy(trained).eval().requires_grad_(False)
    feature_height, feature_width = _feature_size(net, size)
    passes: tuple[tuple[str, Callable[[], int]], ...] = (
        ("drop unused heads", lambda: drop_heads(net, keep_edge)),
        ("BatchNorm into convolutions", lambda: fold_batchnorm(net)),
        ("pyramid pooling", lambda: fold_pyramid(net, feature_height, feature_width)),
        ("split decoder", lambda: split_decoder(net)),
        ("split fusion", lambda: split_fusion(net)),
    )
    reports = []
    before = count_flops(net, *size)
    for name, apply in passes:
        count = apply()
        after = count_flops(net, *size)
        reports.append(FoldReport(name, count, before, after))
        before = after
    return Deployed(net.requires_grad_(False), size, tuple(reports))


def _feature_size(net: CE2P, size: tuple[int, int]) -> tuple[int, int]:
    """Height and width of x5, asked of the backbone itself (on meta tensors) rather than computed a second way."""
    backbone = copy.deepcopy(net.backbone).to("meta")
    height, width = backbone(torch.empty(1, 3, *size, device="meta")).x5.shape[2:]
    return height, width
