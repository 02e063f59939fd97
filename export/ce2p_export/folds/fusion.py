"""Split the fusion's merging convolution over its four inputs, each at its own resolution.

    W [p, e2, up(e3), up(e4)] + bias = (W_p p + W_2 e2 + bias) + up(W_3 e3) + up(W_4 e4)
                                     =            a            + up(b)      + up(c)

by the same commutation as in `decoder`. The concatenation of 256 + 768 channels at 1/4 resolution (58 MB at 473x473)
is never stored, and what follows, `classifier(act(a + up(b) + up(c)))`, is one pass over three inputs: the fused op
CE2PEdgeFusion.
"""

from __future__ import annotations

from torch import Tensor, nn

from ce2p.models import CE2P
from ce2p.models.heads import EdgeFeatures, Fusion
from ce2p.models.layers import upsample

from .decoder import split_by_input


class SplitFusion(nn.Module):
    """Stands in for Fusion."""

    def __init__(self, fusion: Fusion, edge_width: int) -> None:
        super().__init__()
        merge = fusion.merge.conv
        parsing = merge.in_channels - 3 * edge_width
        self.align_corners = fusion.align_corners
        self.over_parsing, self.over_e2, self.over_e3, self.over_e4 = split_by_input(
            merge, [parsing, edge_width, edge_width, edge_width], bias_at=0
        )
        self.act, self.refine, self.classifier = fusion.merge.act, fusion.refine, fusion.classifier

    def forward(self, parsing: Tensor, edge: EdgeFeatures) -> Tensor:
        """As Fusion.forward."""
        a = self.over_parsing(parsing) + self.over_e2(edge.e2)
        b, c = self.over_e3(edge.e3), self.over_e4(edge.e4)
        merged = self.act(a + upsample(b, a, self.align_corners) + upsample(c, a, self.align_corners))
        return self.classifier(self.refine(merged))


def split_fusion(net: CE2P) -> int:
    """Replace `net.fusion` in place; BatchNorm must be folded already. Returns 1."""
    if not isinstance(net.fusion, Fusion) or not isinstance(net.fusion.merge.norm, nn.Identity):
        raise RuntimeError("split_fusion needs a network with its fusion in place and its BatchNorm folded")
    net.fusion = SplitFusion(net.fusion, net.config.edge_width)
    return 1
