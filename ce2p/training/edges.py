"""Edges between labels: as labels, as CE2P and SCHP generate them, and softly, from class probabilities.

Source: dataset/target_generation.py (generate_edge) of CE2P, which SCHP and sssegmentation repeat.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..labels import IGNORE

_ALL, _FIRST, _LAST = slice(None), slice(None, -1), slice(1, None)
_PAIRS = (
    ((..., _LAST, _ALL), (..., _FIRST, _ALL)),  # against the pixel above: the lower one is marked
    ((..., _ALL, _FIRST), (..., _ALL, _LAST)),  # against the right: the left one
    ((..., _FIRST, _FIRST), (..., _LAST, _LAST)),  # against below right: the upper left one
    ((..., _FIRST, _LAST), (..., _LAST, _FIRST)),  # against below left: the upper right one
)
"""Rows and columns of the marked pixel and of its neighbour."""


def edge_labels(labels: Tensor) -> Tensor:
    """Labels [N, H, W] (255 = ignore) -> int64 [N, H, W], 1 along borders between two labels, 3 pixels wide.

    A pixel is marked when its label differs from the one above it, to its right, below right or below left (in each
    pair the published code marks one fixed side), and neither is ignored. A 3x3 square then dilates the marks.
    """
    edge = torch.zeros_like(labels, dtype=torch.bool)
    for marked, other in _PAIRS:
        a, b = labels[marked], labels[other]
        edge[marked] |= (a != b) & (a != IGNORE) & (b != IGNORE)
    return F.max_pool2d(edge[:, None].float(), 3, stride=1, padding=1)[:, 0].long()


def soft_edges(probabilities: Tensor, counted: Tensor) -> Tensor:
    """How much of an edge the class probabilities make at each pixel: float [N, H, W] in 0..1, with a gradient.

    probabilities: float [N, C, H, W]; counted: bool [N, H, W], False where the pixel is ignored. The steps are those
    of `edge_labels`, with "differ" replaced by the total variation distance of the two pixels' distributions, which
    is 1 - Σ min(p, q), and "or" by the maximum: certain probabilities give exactly the edges of their labels.
    """
    edge = torch.zeros_like(probabilities[:, 0])
    for marked, other in _PAIRS:
        # The minimum keeps only views for the backward pass, where |p - q| would keep a copy for each direction.
        shared = torch.minimum(probabilities[marked], probabilities[other]).sum(1)
        distance = (1 - shared) * (counted[marked] & counted[other])
        edge = torch.maximum(edge, F.pad(distance, _margins(marked[1], marked[2])))
    return F.max_pool2d(edge[:, None], 3, stride=1, padding=1)[:, 0]


def _margins(rows: slice, columns: slice) -> tuple[int, int, int, int]:
    """Left, right, top, bottom: what a rectangle of marked pixels lacks to the whole picture."""
    return int(columns is _LAST), int(columns is _FIRST), int(rows is _LAST), int(rows is _FIRST)
