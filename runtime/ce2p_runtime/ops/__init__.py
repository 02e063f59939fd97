"""The fused operations, one stem each: a NumPy reference that defines the op, and the ways to run it quickly.

`warp_normalize` makes the network's input from a frame, `edge_fusion` is the network's last stage,
`label_map` makes the frame's label map from the logits. `bilinear` is the interpolation they share.
"""

from .edge_fusion import EDGE_FUSION, edge_fusion_reference
from .label_map import LABEL_MAP, label_map, label_map_reference, warp_labels
from .warp_normalize import WARP_NORMALIZE, crop, crop_reference, warp_normalize, warp_normalize_reference

__all__ = [
    "FUSED_OPS",
    "crop",
    "crop_reference",
    "edge_fusion_reference",
    "label_map",
    "label_map_reference",
    "warp_labels",
    "warp_normalize",
    "warp_normalize_reference",
]

FUSED_OPS = {op.name: op for op in (WARP_NORMALIZE, LABEL_MAP, EDGE_FUSION)}
"""Every op by its name. Tests, benchmarks, the kernels of the GPU pipeline and the TensorRT plugins go over these."""
