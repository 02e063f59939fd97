"""Counted from an ONNX graph itself: shapes of its tensors, FLOPs of its products."""

from __future__ import annotations

import math
from collections.abc import Iterator

import onnx
from onnx import inliner, shape_inference

from ce2p.errors import CE2PError


def infer_inlined(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with its local functions expanded and shapes inferred."""
    return shape_inference.infer_shapes(inliner.inline_local_functions(model), data_prop=True)


def tensor_shapes(graph: onnx.GraphProto) -> dict[str, list[int]]:
    """Shape of every tensor that shape inference knows, a dynamic dimension as 1; initializers included."""
    shapes = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    for value in [*graph.value_info, *graph.input, *graph.output]:
        if value.type.tensor_type.HasField("shape"):
            shapes.setdefault(value.name, [d.dim_value or 1 for d in value.type.tensor_type.shape.dim])
    return shapes


def product_flops(graph: onnx.GraphProto) -> Iterator[tuple[onnx.NodeProto, int]]:
    """Every convolution and matrix product of a graph without functions, with its FLOPs for a batch of 1.

    Convolutions: 2 · outputs · weights per output. Matrix products: 2 · outputs · inner length. Quantised ones (their
    inputs come from DequantizeLinear) count alike. Raises CE2PError for a tensor whose shape is not known.
    """
    shapes = tensor_shapes(graph)

    def shape(node: onnx.NodeProto, name: str) -> list[int]:
        if name not in shapes:
            raise CE2PError(
                f"the FLOPs of {node.op_type} {node.name} cannot be counted: the shape of {name} is unknown"
            )
        return shapes[name]

    for node in graph.node:
        if node.op_type == "Conv":
            per_output = math.prod(shape(node, node.input[1])[1:])
        elif node.op_type == "MatMul":
            per_output = shape(node, node.input[0])[-1]
        elif node.op_type == "Gemm":
            raise CE2PError("Gemm nodes are not counted: the exporter makes none, this file is not ours")
        else:
            continue
        yield node, 2 * math.prod(shape(node, node.output[0])) * per_output
