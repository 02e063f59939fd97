"""What half precision costs, computed exactly: the file's graph in float32, rounded wherever it is half precision.

ONNX Runtime has no half-precision kernels on x86: it computes float16 files in float32 and leaves out the roundings in
between (its optimised graph shows no Cast inside), so it would see neither their error nor an activation beyond 65504;
bfloat16 files it does not run at all. GPUs sum in float32 and round each result once, or less often where they fuse
operators: what is simulated here is the most they round.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
from onnx import inliner, shape_inference

from .half import HALF_TYPES, cast_of, producer_of


def with_roundings(file: Path) -> onnx.ModelProto:
    """A float32 model of the same inputs and outputs that rounds wherever the half-precision `file` does.

    Inputs and outputs of half precision become float32. The file's properties are kept.
    """
    inlined = inliner.inline_local_functions(onnx.load(str(file)))
    model = ir.from_proto(shape_inference.infer_shapes(inlined, strict_mode=True))
    for value in [*model.graph.initializers.values(), *model.graph.inputs]:
        if value.dtype not in HALF_TYPES.values():
            continue
        if value.const_value is not None:
            value.const_value = ir.tensor(value.const_value.numpy().astype(np.float32), name=value.name)
        value.dtype = ir.DataType.FLOAT
    for node in list(model.graph):
        for output in node.outputs:
            if output.dtype in HALF_TYPES.values():
                _round(model.graph, node, output)
    return ir.to_proto(model)


def _round(graph: ir.Graph, node: ir.Node, output: ir.Value) -> None:
    """Behind `node`: a Cast to half precision, where it is none itself, and one back; readers take the last."""
    readers = list(output.uses())
    half, dtype = output, output.dtype
    assert dtype is not None  # noqa: S101  (shapes and types were inferred)
    if node.op_type != "Cast":
        output.dtype = ir.DataType.FLOAT
        half = cast_of(output, dtype, f"{output.name}_half")
        graph.insert_after(node, producer_of(half))
    wide = cast_of(half, ir.DataType.FLOAT, f"{half.name}_wide")
    graph.insert_after(producer_of(half), producer_of(wide))
    for reader in readers:
        reader.node.replace_input_with(reader.idx, wide)
    if output.is_graph_output():
        position = list(graph.outputs).index(output)
        wide.name, output.name = output.name, f"{output.name}_unrounded"
        graph.outputs[position] = wide
