"""Graph side of the op `label_map`, in its fixed form: labels instead of logits leave the network.

    CE2PLabelMap(logits [N, C, h, w]) = argmax over classes of bilinear(logits) at height×width, as uint8

The fixed form stops at the network's input size; what follows on the frame is a nearest-neighbour warp of the labels.
It replaces no nodes, so there is no pattern: the node is appended.
Definition and CPU reference: `ce2p_runtime.ops.label_map`.
"""

from __future__ import annotations

import onnx_ir as ir

from ce2p_runtime.ops.label_map import label_map_source
from ce2p_runtime.ops.launches import PICTURE_TILE

from .ce2p_ops import DOMAIN, GraphOp, Plugin

OP = GraphOp(
    "CE2PLabelMap",
    inputs=("logits",),
    output="labels",
    attributes={"height": int, "width": int, "align_corners": int},
    # Through float for TensorRT, which casts to uint8 from floating point only; class ids are exact in it.
    body="""
  outer = Shape <start = 0, end = 2> (logits)
  frame = Constant <value_ints = [{height}, {width}]> ()
  size = Concat <axis = 0> (outer, frame)
  upsampled = Resize <mode = "linear", coordinate_transformation_mode = "{mode}"> (logits, , , size)
  best = ArgMax <axis = 1, keepdims = 0> (upsampled)
  exact = Cast <to = 1> (best)
  labels = Cast <to = 2> (exact)
""",
    plugin=Plugin(
        "ce2p_label_resize",
        source=lambda half, shape, values: label_map_source(half, bool(values["align_corners"])),
        scalars=lambda shape, values: [
            *(shape("logits")[axis] for axis in (1, 2, 3)),
            values["height"],
            values["width"],
        ],
        output_shape=lambda shape, values: [shape("logits")[0], values["height"], values["width"]],
        tile=PICTURE_TILE,
        types="FP32|FP16, INT8",
        bytes_as_int8=True,
    ),
)


def append_label_map(model: ir.Model, logits: str, size: tuple[int, int], align_corners: bool) -> None:
    """Replace graph output `logits` by `labels`, uint8 [N, height, width], in place."""
    graph = model.graph
    source = next(value for value in graph.outputs if value.name == logits)
    height, width = size
    batch = source.shape[0] if source.shape is not None else None
    labels = ir.Value(name="labels", shape=ir.Shape([batch, height, width]), type=ir.TensorType(ir.DataType.UINT8))
    values = {"height": height, "width": width, "align_corners": int(align_corners)}
    attributes = ir.convenience.convert_attributes(OP.node_attributes(values))
    graph.append(ir.Node(DOMAIN, OP.name, [source], attributes, outputs=[labels], name=OP.name))
    graph.outputs[graph.outputs.index(source)] = labels
    OP.define(model, values)
