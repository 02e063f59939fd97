"""Edge labels from parsing labels, as CE2P and SCHP generate them (dataset/target_generation.py: generate_edge)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["edge_labels"]

IGNORE = 255


def edge_labels(labels: Tensor) -> Tensor:
    """Labels [N, H, W] (255 = ignore) -> int64 [N, H, W], 1 along borders between two labels, 3 pixels wide.

    A pixel is marked when its label differs from the one above it, to its right, below right or below left (in each
    pair the published code marks one fixed side), and neither is ignored. A 3x3 square then dilates the marks.
    """
    edge = torch.zeros_like(labels, dtype=torch.bool)

    def differ(a: Tensor, b: Tensor) -> Tensor:
        return (a != b) & (a != IGNORE) & (b != IGNORE)

    edge[:, 1:] |= differ(labels[:, 1:], labels[:, :-1])  # against the pixel above: the lower one is marked
    edge[:, :, :-1] |= differ(labels[:, :, :-1], labels[:, :, 1:])  # against the right: the left one
    edge[:, :-1, :-1] |= differ(labels[:, :-1, :-1], labels[:, 1:, 1:])  # against below right: the upper left one
    edge[:, :-1, 1:] |= differ(labels[:, :-1, 1:], labels[:, 1:, :-1])  # against below left: the upper right one
    return F.max_pool2d(edge[:, None].float(), 3, stride=1, padding=1)[:, 0].long()
