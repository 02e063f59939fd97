"""Layer groups: what a precision pass keeps or converts together.

A group is a residual block, or one branch of a head: the unit in which a search asks "what does this part cost". Nodes
belong where their weights belong (the exporter keeps the modules' names on the weights); nodes without weights follow
what feeds them, so an activation stays with its convolution and a residual sum with its block.
"""

from __future__ import annotations

import re
from collections.abc import Collection

import onnx_ir as ir

from ce2p.errors import CE2PError

HIGH_PRECISION = ("pyramid.context", "edge_classifier", "fusion.classifier")
"""Groups that int8 converts only where the gate finds no loss: 50 pooled bins and the classifiers are a hundredth
of the work, and each value of theirs decides about many pixels."""

_PARTS = (
    (r"backbone\.(stem|layer\d+\.\d+)", r"backbone.\1"),
    (r"pyramid\.(?:conv|bottleneck)\.", "pyramid.conv"),
    (r"pyramid\.", "pyramid.context"),
    (r"edge\.branches\.(\d+)", r"edge.branch\1"),
    (r"(edge_classifier|stage1_classifier)", r"\1"),
    (r"(decoder|fusion|edge)\.([A-Za-z]\w*)", r"\1.\2"),
)
"""(pattern at the start of a weight's name, group); the first that fits counts."""


def layer_groups(graph: ir.Graph) -> dict[str, tuple[str, ...]]:
    """Group -> names of its nodes, both in the graph's order."""
    groups: dict[str, list[str]] = {}
    for node, group in group_of_nodes(graph).items():
        groups.setdefault(group, []).append(node)
    return {group: tuple(nodes) for group, nodes in groups.items()}


def check_known(wanted: Collection[str], groups: Collection[str]) -> None:
    """Raise CE2PError where a group that is wanted is none of the network's `groups`."""
    unknown = set(wanted) - set(groups)
    if unknown:
        raise CE2PError(f"no layer group {min(unknown)}; this network has {', '.join(groups)}")


def group_of_nodes(graph: ir.Graph) -> dict[str, str]:
    """Node name -> group. What comes before the first weight belongs to "input"."""
    found: dict[ir.Node, tuple[int, str]] = {}
    for position, node in enumerate(graph):
        own = next((name for value in node.inputs if (name := _group_of_weight(value)) is not None), None)
        found[node] = (position, own or _inherited(node, found))
    return {node.name or "": group for node, (_, group) in found.items()}


def _group_of_weight(value: ir.Value | None) -> str | None:
    if value is None or not value.is_initializer() or not value.name:
        return None
    for pattern, group in _PARTS:
        match = re.match(pattern, value.name)
        if match:
            return match.expand(group)
    return None


def _inherited(node: ir.Node, found: dict[ir.Node, tuple[int, str]]) -> str:
    """The group of the latest producer among the inputs: a sum belongs to the branch that is computed last."""
    producers = [value.producer() for value in node.inputs if value is not None]
    return max((found[p] for p in producers if p is not None and p in found), default=(0, "input"))[1]
