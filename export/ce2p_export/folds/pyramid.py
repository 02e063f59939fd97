"""Fold the pyramid: half of the network's largest convolution disappears.

The pyramid averages x5 into k×k bins, convolves the bins, upsamples them back and concatenates them with x5 for a 3x3
convolution. Pooling, bilinear upsampling and shifting are linear maps over positions, and each is a product of one map
per axis. Write, for scale s with k bins and one axis of length L,

    P_s  [L, k]    average pooling to k bins (uneven and overlapping bins are just other columns)
    U_s  [3k, L]   bilinear upsampling of k values to L, shifted by each tap of a 3-tap convolution, zeros from outside

With p_s = act(W_s · (P_sᵀ x5 P_s) + b_s), and the 3x3 weights split by input into B_x (over x5) and B_{s,u,v} (over the
upsampled p_s, horizontal tap u, vertical tap v), the convolution over the concatenation is

    conv3x3(x5; B_x) + bias + sum_s  U_s(vertical)ᵀ V_s U_s(horizontal),     V_s[(v,i),(u,j)] = B_{s,u,v} p_s[i,j]

because B acts on channels and U on positions, and the two commute. The U are constants of the feature size and
align_corners. All four scales share the last product: sum_s 3k = 36 columns against U stacked. So a 3x3 convolution
over 4·width full-size channels becomes a handful of products with 50 bins.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ce2p.models import CE2P
from ce2p.models.heads import PYRAMID_BINS, PyramidPooling
from ce2p.models.layers import PYRAMID_SLOPE, ConvNormAct

__all__ = ["FoldedPyramid", "fold_pyramid", "pooling_matrix", "shifted_upsampling_matrix"]


def pooling_matrix(length: int, bins: int) -> Tensor:
    """P_s: [length, bins] float64; columns are torch's adaptive average pooling windows along one axis."""
    return F.adaptive_avg_pool1d(torch.eye(length, dtype=torch.float64)[:, None], bins)[:, 0]


def shifted_upsampling_matrix(length: int, bins: int, align_corners: bool) -> Tensor:
    """U_s: [3·bins, length] float64; row t·bins + i is what each output position sees of bin i at tap t."""
    unit = torch.eye(bins, dtype=torch.float64)[:, None, None]  # as pictures of height 1
    weights = F.interpolate(unit, size=(1, length), mode="bilinear", align_corners=align_corners)[:, 0, 0]
    padded = F.pad(weights, (1, 1))  # a convolution's zero padding
    return torch.cat([padded[:, tap : tap + length] for tap in range(3)])


class FoldedPyramid(nn.Module):
    """Stands in for PyramidPooling at one fixed feature size."""

    def __init__(self, pyramid: PyramidPooling, height: int, width: int) -> None:
        super().__init__()
        bottleneck = pyramid.bottleneck.conv
        stages = [stage.conv for stage in cast(Iterable[ConvNormAct], pyramid.stages)]
        self.outputs, inputs = bottleneck.out_channels, stages[0].in_channels
        widths = [stage.out_channels for stage in stages]
        sizes = [inputs, *widths] if pyramid.input_first else [*widths, inputs]
        parts = list(bottleneck.weight.detach().split(sizes, dim=1))
        over_x5 = parts.pop(0 if pyramid.input_first else -1)

        self.conv = nn.Conv2d(inputs, self.outputs, 3, padding=1)
        self.conv.weight, self.conv.bias = nn.Parameter(over_x5.clone()), nn.Parameter(_bias(bottleneck).clone())
        self.stage_weights = nn.ParameterList(stage.weight.detach().flatten(1).clone() for stage in stages)
        self.stage_biases = nn.ParameterList(_bias(stage)[:, None].clone() for stage in stages)
        # [outputs·9, stage width], rows ordered (output, horizontal tap, vertical tap).
        self.tap_weights = nn.ParameterList(B.permute(0, 3, 2, 1).reshape(self.outputs * 9, -1) for B in parts)

        def stacked(length: int) -> Tensor:
            return torch.cat([pooling_matrix(length, bins) for bins in PYRAMID_BINS], dim=1).float()

        def spreading(length: int) -> list[Tensor]:
            return [shifted_upsampling_matrix(length, bins, pyramid.align_corners).float() for bins in PYRAMID_BINS]

        self.pool_columns = nn.Parameter(stacked(width))  # [w, 12]
        self.pool_rows = nn.Parameter(stacked(height))  # [h, 12]
        self.spread_rows = nn.ParameterList(spreading(height))  # [3k, h] each
        self.spread_columns = nn.Parameter(torch.cat(spreading(width)))  # [36, w]

    def forward(self, x5: Tensor) -> Tensor:
        """[N, inputs, h, w] -> [N, outputs, h, w], h and w as given when folding."""
        # Every scale's bins at once: [N, inputs, 12, 12] indexed (column bin, row bin), scales along the diagonal.
        pooled = (x5 @ self.pool_columns).transpose(2, 3) @ self.pool_rows
        seen, start = [], 0
        for i, k in enumerate(PYRAMID_BINS):
            bins = pooled[:, :, start : start + k, start : start + k].flatten(2)
            p = F.leaky_relu(self.stage_weights[i] @ bins + self.stage_biases[i], PYRAMID_SLOPE)
            taps = (self.tap_weights[i] @ p).unflatten(2, (k, k)).unflatten(1, (self.outputs, 3, 3))
            V = taps.transpose(3, 4).flatten(4, 5).flatten(2, 3)  # [N, outputs, (u, j), (v, i)]
            seen.append(V @ self.spread_rows[i])  # [N, outputs, 3k, h]
            start += k
        context = torch.cat(seen, dim=2).transpose(2, 3) @ self.spread_columns
        return F.leaky_relu(self.conv(x5) + context, PYRAMID_SLOPE)


def _bias(conv: nn.Conv2d) -> Tensor:
    """The bias that folding BatchNorm gave a convolution."""
    if conv.bias is None:
        raise RuntimeError("fold_pyramid needs a network whose BatchNorm is folded: a convolution has no bias")
    return conv.bias.detach()


def fold_pyramid(net: CE2P, height: int, width: int) -> int:
    """Replace `net.pyramid` in place for x5 of height × width; BatchNorm must be folded already. Returns 1."""
    if not isinstance(net.pyramid, PyramidPooling) or not isinstance(net.pyramid.bottleneck.norm, nn.Identity):
        raise RuntimeError("fold_pyramid needs a network with its pyramid in place and its BatchNorm folded")
    net.pyramid = FoldedPyramid(net.pyramid, height, width)
    return 1
