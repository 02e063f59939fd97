"""Precision passes on the pure ONNX graph, one file each. They come before the fused ops."""

from .fp16 import keep_output_types, to_fp16
from .rounding import with_roundings

__all__ = ["keep_output_types", "to_fp16", "with_roundings"]
