"""Drop the heads whose outputs nobody asked for: the stage-1 classifier always, the edge classifier unless kept.

They feed training losses only; the fusion reads the features before them. Nothing else changes.
"""

from __future__ import annotations

from ce2p.models import CE2P


def drop_heads(net: CE2P, keep_edge: bool) -> int:
    """Drop unused classifiers of `net` in place; returns how many."""
    dropped = 0
    if net.stage1_classifier is not None:
        net.stage1_classifier = None
        dropped += 1
    if net.edge_classifier is not None and not keep_edge:
        net.edge_classifier = None
        dropped += 1
    return dropped
