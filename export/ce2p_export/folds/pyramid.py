"""Fold the pyramid: half of the network's largest convolution disappears.

The pyramid averages x5 into k×k bins, convolves the bins, upsamples them back and concatenates them with x5 for a 3x3
convolution. Pooling, bilinear upsampling and shifting are linear maps over positions, and each is a product of one map
per axis. Write, for scale s with k bins and one axis of length L,

    P_s  [L, k]    average pooling to k bins (uneven and overlapping bins are just other columns)
    U_s  [3k, L]   bilinear upsampling of k values to L, shifted by each tap of a 3-tap convolution, zeros from outside

With p_s = act(W_s · (P_sᵀ x5 P_s) + b_s), and the 3x3 weights split by input into B_x (over x5) and B_{s,v,u} (over the
upsampled p_s, vertical tap v, horizontal tap u), the convolution over the concatenation is

    conv3x3(x5; B_x) + bias + sum_s  U_s(vertical)ᵀ V_s U_s(horizontal),     V_s[(v,i),(u,j)] = B_{s,v,u} p_s[i,j]

because B acts on channels and U on positions, and the two commute. The U are constants of the feature size and
align_corners. So a 3x3 convolution over 4·width full-size channels becomes two 1x1 convolutions over 50 bins and a
product with constants that spreads 9 taps of 50 bins over all positions.

Spreading is one product [outputs, 450] · [450, h·w] where h·w is small. It has nine times the arithmetic of one product
per axis, but those are made of transposes and slivers: with it and the convolutions, the folded pyramid at 30×30 went
from 9 to 3 ms in int8 (OpenVINO, 2 cores). Its constant grows with h·w, so larger features are spread axis by axis.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ce2p.models import CE2P
from ce2p.models.heads import PYRAMID_BINS, PyramidPooling
from ce2p.models.layers import PYRAMID_SLOPE, ConvNormAct


def pooling_matrix(length: int, bins: int) -> Tensor:
    """P_s: [length, bins] float64; columns are torch's adaptive average pooling windows along one axis."""
    return F.adaptive_avg_pool1d(torch.eye(length, dtype=torch.float64)[:, None], bins)[:, 0]


def shifted_upsampling_matrix(length: int, bins: int, align_corners: bool) -> Tensor:
    """U_s: [3·bins, length] float64; row t·bins + i is what each output position sees of bin i at tap t."""
    unit = torch.eye(bins, dtype=torch.float64)[:, None, None]  # as pictures of height 1
    weights = F.interpolate(unit, size=(1, length), mode="bilinear", align_corners=align_corners)[:, 0, 0]
    padded = F.pad(weights, (1, 1))  # a convolution's zero padding
    return torch.cat([padded[:, tap : tap + length] for tap in range(3)])


DENSE_POSITIONS = 1024
"""The most positions that are spread over in one product: those of 512x512 at output stride 16."""


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
        self.pool = BinPooling(height, width)
        self.stages = nn.ModuleList(stages)
        self.taps = nn.ModuleList(_tap_convolution(part) for part in parts)
        spread = DenseSpreading if height * width <= DENSE_POSITIONS else SpreadingByAxis
        self.spread = spread(height, width, pyramid.align_corners)

    def forward(self, x5: Tensor) -> Tensor:
        """[N, inputs, h, w] -> [N, outputs, h, w], h and w as given when folding."""
        seen = []
        for stage, taps, bins in zip(self.stages, self.taps, self.pool(x5), strict=True):
            seen.append(taps(F.leaky_relu(stage(bins), PYRAMID_SLOPE)).unflatten(1, (self.outputs, 9)))
        return F.leaky_relu(self.conv(x5) + self.spread(seen), PYRAMID_SLOPE)


def _tap_convolution(weight: Tensor) -> nn.Conv2d:
    """The 3x3 weights [outputs, width, 3, 3] as a 1x1 convolution to outputs·9 channels, ordered (output, v, u)."""
    conv = nn.Conv2d(weight.shape[1], weight.shape[0] * 9, 1, bias=False)
    conv.weight = nn.Parameter(weight.permute(0, 2, 3, 1).reshape(-1, weight.shape[1], 1, 1))
    return conv


class BinPooling(nn.Module):
    """Average pooling to every scale's bins: [N, C, h, w] -> one [N, C, k, k] for each."""

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.finest = PYRAMID_BINS[-1]
        self.window = (height // self.finest, width // self.finest)
        self.even = height % self.finest == 0 and width % self.finest == 0
        if not self.even:

            def maps(length: int) -> nn.Parameter:
                return nn.Parameter(torch.cat([pooling_matrix(length, k) for k in PYRAMID_BINS], dim=1).float())

            self.rows, self.columns = maps(height), maps(width)  # [h, 12], [w, 12]

    def forward(self, x: Tensor) -> list[Tensor]:
        """See the class."""
        if self.even:  # the coarser bins are whole numbers of the finest
            fine = F.avg_pool2d(x, self.window)
            return [F.avg_pool2d(fine, self.finest // k) if k < self.finest else fine for k in PYRAMID_BINS]
        # Every scale at once, [N, C, 12, 12]; each scale's own bins lie on the diagonal.
        pooled = ((x @ self.columns).transpose(2, 3) @ self.rows).transpose(2, 3)
        ends = itertools.accumulate(PYRAMID_BINS)
        return [pooled[:, :, end - k : end, end - k : end] for k, end in zip(PYRAMID_BINS, ends, strict=True)]


class DenseSpreading(nn.Module):
    """Each scale's [N, outputs, 9, k, k] -> their sum over all positions [N, outputs, h, w], in one product."""

    def __init__(self, height: int, width: int, align_corners: bool) -> None:
        super().__init__()
        self.size = (height, width)
        maps = []
        for k in PYRAMID_BINS:
            rows = shifted_upsampling_matrix(height, k, align_corners).view(3, 1, k, 1, height, 1)
            columns = shifted_upsampling_matrix(width, k, align_corners).view(1, 3, 1, k, 1, width)
            maps.append((rows * columns).reshape(9 * k * k, height * width))  # rows ordered (v, u, i, j)
        self.matrix = nn.Parameter(torch.cat(maps).float())  # [450, h·w]

    def forward(self, seen: list[Tensor]) -> Tensor:
        """See the class."""
        return (torch.cat([taps.flatten(2) for taps in seen], dim=2) @ self.matrix).unflatten(2, self.size)


class SpreadingByAxis(nn.Module):
    """As DenseSpreading, rows before columns: all scales share the last product, 36 columns."""

    def __init__(self, height: int, width: int, align_corners: bool) -> None:
        super().__init__()

        def maps(length: int) -> list[Tensor]:
            return [shifted_upsampling_matrix(length, bins, align_corners).float() for bins in PYRAMID_BINS]

        self.rows = nn.ParameterList(maps(height))  # [3k, h] each
        self.columns = nn.Parameter(torch.cat(maps(width)))  # [36, w]

    def forward(self, seen: list[Tensor]) -> Tensor:
        """See DenseSpreading."""
        spread = []
        for taps, rows in zip(seen, self.rows, strict=True):
            # [N, outputs, v, u, i, j] -> [N, outputs, (u, j), (v, i)]
            both = taps.unflatten(2, (3, 3)).permute(0, 1, 3, 5, 2, 4).flatten(4).flatten(2, 3)
            spread.append(both @ rows)  # [N, outputs, 3k, h]
        return torch.cat(spread, dim=2).transpose(2, 3) @ self.columns


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
