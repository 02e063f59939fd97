"""Facts read from an ONNX file itself: inputs, outputs, operators, parameters, FLOPs."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx import inliner, shape_inference

from ce2p.errors import CE2PError

__all__ = ["OnnxFacts", "read_onnx"]


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
        inlined = shape_inference.infer_shapes(inliner.inline_local_functions(model), data_prop=True)
    except Exception as error:  # protobuf, checker and inference each raise their own kinds
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CE2PError(f"{file}: not a valid ONNX model ({reason}); copy or export it again") from error
    counts = Counter(node.op_type for node in model.graph.node)
    return OnnxFacts(
        {value.name: _described(value) for value in model.graph.input},
        {value.name: _described(value) for value in model.graph.output},
        dict(counts.most_common()),
        sum(math.prod(tensor.dims) for tensor in model.graph.initializer),
        _flops(inlined.graph),
        {entry.key: entry.value for entry in model.metadata_props},
    )


def _described(value: onnx.ValueInfoProto) -> str:
    tensor = value.type.tensor_type
    dims = [d.dim_param or str(d.dim_value) for d in tensor.shape.dim]
    return f"{onnx.TensorProto.DataType.Name(tensor.elem_type)} [{', '.join(dims)}]"


def _flops(graph: onnx.GraphProto) -> int:
    """Convolutions: 2 · outputs · weights per output. Matrix products: 2 · outputs · inner length."""
    shapes = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    for value in [*graph.value_info, *graph.input, *graph.output]:
        dims = value.type.tensor_type.shape.dim
        shapes.setdefault(value.name, [d.dim_value or 1 for d in dims])  # a dynamic batch counts as 1
    total = 0
    for node in graph.node:
        if node.op_type == "Conv":
            weight, outputs = shapes[node.input[1]], shapes[node.output[0]]
            total += 2 * math.prod(outputs) * math.prod(weight[1:])
        elif node.op_type == "MatMul":
            total += 2 * math.prod(shapes[node.output[0]]) * shapes[node.input[0]][-1]
        elif node.op_type == "Gemm":
            raise CE2PError("Gemm nodes are not counted: the exporter makes none, this file is not ours")
    return total
