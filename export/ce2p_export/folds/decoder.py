"""Split the decoder's merging convolution, so that its coarse half runs at the coarse resolution.

A 1x1 convolution mixes channels, bilinear upsampling mixes positions (with weights that sum to one): they commute.

    W [up(a), b] + bias = W_a up(a) + W_b b + bias = up(W_a a) + W_b b + bias

At output stride 16, W_a then runs on a sixteenth of the positions, and the concatenation is never stored.
"""

from __future__ import annotations

from torch import Tensor, nn

from ce2p.models import CE2P
from ce2p.models.heads import Decoder
from ce2p.models.layers import upsample


def split_by_input(conv: nn.Conv2d, channels: list[int], bias_at: int) -> list[nn.Conv2d]:
    """One 1x1 convolution over a concatenation -> one per part, whose outputs add up.

    The part numbered `bias_at` keeps the bias: the one at full resolution, where the sum is formed.
    """
    parts = []
    for i, weight in enumerate(conv.weight.detach().split(channels, dim=1)):
        part = nn.Conv2d(weight.shape[1], conv.out_channels, 1, bias=i == bias_at)
        part.weight = nn.Parameter(weight.clone())
        if i == bias_at and conv.bias is not None:
            part.bias = nn.Parameter(conv.bias.detach().clone())
        parts.append(part)
    return parts


class SplitDecoder(nn.Module):
    """Stands in for Decoder."""

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        merge, fine = decoder.merge.conv, decoder.shortcut.conv.out_channels
        self.align_corners = decoder.align_corners
        self.lateral, self.shortcut, self.refine = decoder.lateral, decoder.shortcut, decoder.refine
        self.coarse, self.fine = split_by_input(merge, [merge.in_channels - fine, fine], bias_at=1)
        self.act = decoder.merge.act

    def forward(self, context: Tensor, x2: Tensor) -> Tensor:
        """As Decoder.forward."""
        fine = self.fine(self.shortcut(x2))
        return self.refine(self.act(upsample(self.coarse(self.lateral(context)), fine, self.align_corners) + fine))


def split_decoder(net: CE2P) -> int:
    """Replace `net.decoder` in place; BatchNorm must be folded already. Returns 1."""
    if not isinstance(net.decoder, Decoder) or not isinstance(net.decoder.merge.norm, nn.Identity):
        raise RuntimeError("split_decoder needs a network with its decoder in place and its BatchNorm folded")
    net.decoder = SplitDecoder(net.decoder)
    return 1
