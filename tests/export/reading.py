"""What an ONNX file is made of, for tests to look at."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import onnx

from ce2p_export.onnx_facts import infer_inlined, product_flops

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
    """Read an ONNX file."""
    model = onnx.load(str(file))
    onnx.checker.check_model(model)
    inlined = infer_inlined(model)
    counts = Counter(node.op_type for node in model.graph.node)
    return OnnxFacts(
        inputs={value.name: _described(value) for value in model.graph.input},
        outputs={value.name: _described(value) for value in model.graph.output},
        operators=dict(counts.most_common()),
        parameters=sum(math.prod(tensor.dims) for tensor in model.graph.initializer),
        flops=sum(flops for _, flops in product_flops(inlined.graph)),
        properties={entry.key: entry.value for entry in model.metadata_props},
    )


def _described(value: onnx.ValueInfoProto) -> str:
    tensor = value.type.tensor_type
    dims = [d.dim_param or str(d.dim_value) for d in tensor.shape.dim]
    return f"{onnx.TensorProto.DataType.Name(tensor.elem_type)} [{', '.join(dims)}]"
