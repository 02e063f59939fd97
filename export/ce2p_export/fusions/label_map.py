"""Graph side of the op `label_map`, in its fixed form: labels instead of logits leave the network.

    CE2PLabelMap(logits [N, C, h, w]) = argmax over classes of bilinear(logits) at height×width, as uint8

The fixed form stops at the network's input size; what follows on the frame is a nearest-neighbour warp of the labels.
Definition and CPU reference: `ce2p_runtime.ops.label_map`.
"""

from __future__ import annotations

import onnx_ir as ir

from .ce2p_ops import add_function, ce2p_node, coordinate_mode

__all__ = ["OP_TYPE", "append_label_map"]

OP_TYPE = "CE2PLabelMap"

# The detour through float is for TensorRT, which casts to uint8 from floating point only; class ids are exact in it.
_BODY = """
  outer = Shape <start = 0, end = 2> (logits)
  frame = Constant <value_ints = [{height}, {width}]> ()
  size = Concat <axis = 0> (outer, frame)
  upsampled = Resize <mode = "linear", coordinate_transformation_mode = "{mode}"> (logits, , , size)
  best = ArgMax <axis = 1, keepdims = 0> (upsampled)
  exact = Cast <to = 1> (best)
  labels = Cast <to = 2> (exact)
"""


def append_label_map(model: ir.Model, logits: str, size: tuple[int, int], align_corners: bool) -> None:
    """Replace graph output `logits` by `labels`, uint8 [N, height, width], in place."""
    graph = model.graph
    source = next(value for value in graph.outputs if value.name == logits)
    height, width = size
    batch = source.shape[0] if source.shape is not None else None
    labels = ir.Value(name="labels", shape=ir.Shape([batch, height, width]), type=ir.TensorType(ir.DataType.UINT8))
    attributes: dict[str, int | float] = {"height": height, "width": width, "align_corners": int(align_corners)}
    graph.append(ce2p_node(OP_TYPE, [source], labels, attributes))
    graph.outputs[graph.outputs.index(source)] = labels
    body = _BODY.format(height=height, width=width, mode=coordinate_mode(align_corners))
    add_function(model, OP_TYPE, "height, width, align_corners", "(logits) => (labels)", body)
