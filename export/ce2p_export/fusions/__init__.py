"""Fused ops on the ONNX graph, one file each. Inserted last: precision passes work on the pure graph."""

from .edge_fusion import FusionResult, insert_edge_fusion
from .label_map import append_label_map

__all__ = ["FusionResult", "append_label_map", "insert_edge_fusion"]
