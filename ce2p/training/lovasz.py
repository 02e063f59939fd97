"""Lovász-Softmax: a convex surrogate of the Jaccard loss (Berman, Triki and Blaschko, CVPR 2018, sections 2 and 3).

For one class, let m be the pixels' errors (1 - p on the class's own pixels, p elsewhere) and Δ(S) the Jaccard loss
1 - IoU of a prediction that is wrong on exactly the pixels of S. The loss is the Lovász extension of Δ: with the errors
sorted in falling order, Σ m_i (Δ of the first i pixels - Δ of the first i-1).
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..labels import IGNORE

__all__ = ["lovasz_softmax"]


def lovasz_softmax(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Mean of the loss over the classes present in `labels`, all pictures taken as one set of pixels.

    probabilities: float32 [N, C, H, W]; labels: int64 [N, H, W], 255 ignored. Scalar; 0 where no pixel counts.
    """
    counted = labels != IGNORE
    found = labels[counted]
    columns = probabilities.movedim(1, -1)[counted]  # [P, C]
    present = torch.unique(found)
    if not len(present):
        return probabilities.sum() * 0  # stays connected, so that every process has a gradient to share
    losses = [_class_loss(columns[:, label], found == label) for label in present.tolist()]
    return torch.stack(losses).mean()


def _class_loss(probability: Tensor, inside: Tensor) -> Tensor:
    """One class. probability: [P]; inside: bool [P], the class's own pixels, at least one of them."""
    member = inside.to(probability.dtype)
    errors, order = torch.sort((member - probability).abs(), descending=True)
    return torch.dot(errors, _steps(member[order]))


def _steps(member: Tensor) -> Tensor:
    """Growth of the Jaccard loss as pixels become wrong one after the other: [P], not negative, sums to 1.

    member: [P], 1 for the class's own pixels and 0 for all others.

    With I pixels right and a union of U, a wrong pixel of the class takes one from I: Δ grows by 1/U. Any other wrong
    pixel adds one to the union: Δ grows by I/(U-1) - I/U = I/(U(U-1)), U being the new union. Written so, nothing
    cancels, where differences of Δ itself would in float32.
    """
    total = member.sum()
    intersection = total - member.cumsum(0)
    union = total + (1 - member).cumsum(0)
    return torch.where(member > 0, 1, intersection / (union - 1).clamp(min=1)) / union
