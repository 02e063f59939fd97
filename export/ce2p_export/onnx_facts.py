"""Facts read from an ONNX file itself: inputs, outputs, operators, parameters, FLOPs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx import inliner, shape_inference

from ce2p.errors import CE2PError
from ce2p_runtime.base.text import first_line

__all__ = ["OnnxFacts", "infer_inlined", "product_flops", "read_onnx", "tensor_shapes"]


@dataclass(frozen=True)
class OnnxFacts:
    """What a graph is made of."""

    inputs: dict[str, str]
    """Name -> "FLOAT [1, 3, 473, 473]"."""
    outputs: dict[str, str]
    operators: dict[str, int]
    """Operator -> how often, most frequent first; functions count as one."""
    parameters: int
    """Values stored in the file."""
    flops: int
    """2 per multiply-add of convolutions and matrix products, for a batch of 1."""
    properties: dict[str, str]


def read_onnx(file: Path) -> OnnxFacts:
    """Read an ONNX file. Raises CE2PError when it is none."""
    try:
        model = onnx.load(str(file))
        onnx.checker.check_model(model)
        inlined = infer_inlined(model)
    except Exception as error:  # protobuf, checker and inference each raise their own kinds
        reason = first_line(error)
        raise CE2PError(f"{file}: not a valid ONNX model ({reason}); copy or export it again") from error
    counts = Counter(node.op_type for node in model.graph.node)
    return OnnxFacts(
        {value.name: _described(value) for value in model.graph.input},
        {value.name: _described(value) for value in model.graph.output},
        dict(counts.most_common()),
        sum(math.prod(tensor.dims) for tensor in model.graph.initializer),
        sum(flops for _, flops in product_flops(inlined.graph)),
        {entry.key: entry.value for entry in model.metadata_props},
    )


def infer_inlined(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with its local functions expanded and shapes inferred."""
    return shape_inference.infer_shapes(inliner.inline_local_functions(model), data_prop=True)


def _described(value: onnx.ValueInfoProto) -> str:
    tensor = value.type.tensor_type
    dims = [d.dim_param or str(d.dim_value) for d in tensor.shape.dim]
    return f"{onnx.TensorProto.DataType.Name(tensor.elem_type)} [{', '.join(dims)}]"


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
