"""Fused ops on the ONNX graph, one file each. Inserted last: precision passes work on the pure graph."""

from ce2p_runtime.ops import FUSED_OPS

from .ce2p_ops import GraphOp
from .edge_fusion import FusionResult, insert_edge_fusion
from .label_map import append_label_map

__all__ = ["GRAPH_OPS", "FusionResult", "append_label_map", "insert_edge_fusion"]

_graph_ops: list[GraphOp] = [op.part(__name__).OP for op in FUSED_OPS.values() if op.in_graph]
GRAPH_OPS = {op.name: op for op in _graph_ops}
"""The fused ops that are nodes of exported graphs, by the node's type."""
