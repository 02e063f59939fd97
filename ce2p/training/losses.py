"""CE2P's training loss (CE2P utils/criterion.py): cross entropy of both parsings, and of the edge, weighted."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..models.network import CE2POutputs
from .edges import IGNORE, edge_labels

__all__ = ["ce2p_loss"]


def ce2p_loss(outputs: CE2POutputs, labels: Tensor, align_corners: bool, class_weights: Tensor | None = None) -> Tensor:
    """Scalar loss. labels: int64 [N, H, W], 255 ignored; every prediction is upsampled to that size first.

    The edge's two classes are weighted by each other's share of the batch, so that the few edge pixels count as much as
    the many others: w_edge = N_other / N, w_other = N_edge / N. `class_weights` [C] is ours; None: as published.
    """
    if outputs.stage1 is None or outputs.edge is None:
        raise ValueError("training needs all three outputs; this network has dropped heads")

    def full(logits: Tensor) -> Tensor:
        return F.interpolate(logits, size=labels.shape[1:], mode="bilinear", align_corners=align_corners)

    edges = edge_labels(labels)
    share = edges.float().mean()
    parsing = F.cross_entropy(full(outputs.parsing), labels, class_weights, ignore_index=IGNORE)
    stage1 = F.cross_entropy(full(outputs.stage1), labels, class_weights, ignore_index=IGNORE)
    # A batch without edges (or with nothing else) would weigh all it has by 0, and 0/0 is no loss.
    balance = torch.stack([share, 1 - share]).clamp(min=1e-6)
    edge = F.cross_entropy(full(outputs.edge), edges, weight=balance)
    return parsing + stage1 + edge
