"""What half precision costs, computed exactly: the file's graph in float32, rounded to float16 after every operator.

ONNX Runtime has no half-precision kernels on x86: it computes float16 files in float32 and leaves out the roundings in
between (its optimised graph shows no Cast inside), so it would see neither their error nor an activation beyond 65504.
OpenVINO does likewise. GPUs sum in float32 and round each result once, or less often where they fuse operators: what is
simulated here is the most they round.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
from onnx import inliner, shape_inference

__all__ = ["with_roundings"]


def with_roundings(file: Path) -> onnx.ModelProto:
    """A float32 model of the same inputs and outputs that rounds wherever the fp16 `file` does."""
    inlined = inliner.inline_local_functions(onnx.load(str(file)))
    model = ir.from_proto(shape_inference.infer_shapes(inlined, strict_mode=True))
    for value in model.graph.initializers.values():
        if value.dtype == ir.DataType.FLOAT16 and value.const_value is not None:
            value.const_value = ir.tensor(value.const_value.numpy().astype(np.float32), name=value.name)
            value.dtype = ir.DataType.FLOAT
    for node in list(model.graph):
        for output in node.outputs:
            if output.dtype == ir.DataType.FLOAT16:
                _round(model.graph, node, output)
    return ir.to_proto(model)


def _round(graph: ir.Graph, node: ir.Node, output: ir.Value) -> None:
    """Behind `node`: a Cast to float16, where it is none itself, and one back; readers of `output` take the last."""
    readers = list(output.uses())
    half = output
    if node.op_type != "Cast":
        output.dtype = ir.DataType.FLOAT
        half = _cast(output, ir.DataType.FLOAT16, "half")
        graph.insert_after(node, _producer(half))
    wide = _cast(half, ir.DataType.FLOAT, "wide")
    graph.insert_after(_producer(half), _producer(wide))
    for reader in readers:
        reader.node.replace_input_with(reader.idx, wide)


def _cast(value: ir.Value, dtype: ir.DataType, suffix: str) -> ir.Value:
    output = ir.Value(name=f"{value.name}_{suffix}", shape=value.shape, type=ir.TensorType(dtype))
    ir.Node("", "Cast", [value], [ir.AttrInt64("to", dtype)], outputs=[output], name=f"{value.name}_to_{suffix}")
    return output


def _producer(value: ir.Value) -> ir.Node:
    node = value.producer()
    assert node is not None  # noqa: S101  (only called with a node's output)
    return node
