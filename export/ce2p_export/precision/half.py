"""From float32 to half precision, on the ONNX graph.

Precision belongs to the graph: TensorRT 11 knows no other way, and the same file then means the same everywhere.
Weights and activations become float16. What leads from the input to the first convolution stays float32 (uint8 pixels
are normalised there); a Cast stands before that convolution, and one behind each output. Integers, shapes and the
scales of Resize stay as they are.

float16 has 11 significant bits, ends at 65504, and is subnormal below 6.1e-5. A weight beyond the end would become
infinite, so it is refused. Small weights lose bits and then vanish, which changes nothing as long as larger ones stand
beside them: a tensor is refused only when everything in it that is not zero falls below.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ce2p.errors import CE2PError

__all__ = ["LARGEST", "SMALLEST_NORMAL", "keep_output_types", "to_fp16"]

LARGEST = float(np.finfo(np.float16).max)
SMALLEST_NORMAL = float(np.finfo(np.float16).smallest_normal)

_FLOAT32_INPUTS = {"Resize": (1, 2)}
"""Inputs (region, scales) that stay float32 whatever the data's type."""


def to_fp16(model: ir.Model) -> None:
    """Convert `model` in place, float outputs included; `keep_output_types` gives those their type back.

    Fused ops are put in between the two. Raises CE2PError for weights that float16 cannot hold.
    """
    stem = next((node for node in model.graph if node.op_type == "Conv"), None)
    if stem is None or stem.inputs[0] is None:
        raise CE2PError("the graph has no convolution, so there is nothing to convert to fp16")
    image = stem.inputs[0]
    before = _ancestors(image)
    inside = [node for node in model.graph if node not in before]
    _convert_weights(model.graph, inside)
    for node in inside:
        _convert_node(node)
    stem.replace_input_with(0, _cast(model.graph, image, ir.DataType.FLOAT16, f"{image.name}_fp16", before=stem))


def keep_output_types(model: ir.Model) -> None:
    """Give float16 outputs of the graph a Cast to float32 that takes over their name."""
    graph = model.graph
    for index, value in enumerate(graph.outputs):
        if value.dtype != ir.DataType.FLOAT16:
            continue
        name, value.name = value.name, f"{value.name}_fp16"
        graph.outputs[index] = _cast(graph, value, ir.DataType.FLOAT, name, before=None)


def _ancestors(value: ir.Value) -> set[ir.Node]:
    """Every node that `value` depends on."""
    found: set[ir.Node] = set()
    waiting = [value.producer()]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in found:
            found.add(node)
            waiting += [source.producer() for source in node.inputs if source is not None]
    return found


def _convert_weights(graph: ir.Graph, inside: list[ir.Node]) -> None:
    """float16 initializers for the nodes `inside`; a float32 one that others still read stays beside them."""
    members = set(inside)
    for name, value in list(graph.initializers.items()):
        uses = [use for use in value.uses() if use.node in members and not _stays_float32(use.node, use.idx)]
        if value.dtype != ir.DataType.FLOAT or not uses:
            continue
        shared = len(uses) < len(value.uses())
        if not shared:
            del graph.initializers[name]
        tensor = ir.tensor(_halved(value), name=f"{name}_fp16" if shared else name)
        half = ir.Value(
            name=tensor.name, shape=value.shape, type=ir.TensorType(ir.DataType.FLOAT16), const_value=tensor
        )
        graph.register_initializer(half)
        for use in uses:
            use.node.replace_input_with(use.idx, half)


def _stays_float32(node: ir.Node, index: int) -> bool:
    return index in _FLOAT32_INPUTS.get(node.op_type, ())


def _halved(value: ir.Value) -> np.ndarray[tuple[int, ...], np.dtype[np.float16]]:
    """A weight in float16. Raises CE2PError where that would lose it."""
    assert value.const_value is not None  # noqa: S101  (an initializer has its tensor)
    array = value.const_value.numpy()
    size = np.abs(array[array != 0]).astype(np.float32)
    largest = float(size.max()) if size.size else 0.0
    problem = None
    if not largest <= LARGEST:  # written so that NaN is refused too
        problem = f"a weight of size {largest:.3g}, and float16 ends at {LARGEST:.0f}"
    elif size.size and largest < SMALLEST_NORMAL:
        problem = f"no weight above {largest:.3g}, and float16 loses bits below {SMALLEST_NORMAL:.2g}"
    if problem:
        raise CE2PError(f"{value.name}: {problem}; export with --precision fp32")
    return array.astype(np.float16)


def _convert_node(node: ir.Node) -> None:
    """Output types and attributes of one node."""
    for output in node.outputs:
        if output.dtype == ir.DataType.FLOAT:
            output.dtype = ir.DataType.FLOAT16
    if node.op_type == "Cast" and node.attributes.get_int("to") == ir.DataType.FLOAT:
        node.attributes["to"] = ir.AttrInt64("to", ir.DataType.FLOAT16)
    for name, attribute in list(node.attributes.items()):
        if attribute.type == ir.AttributeType.TENSOR and attribute.as_tensor().dtype == ir.DataType.FLOAT:
            half = ir.tensor(attribute.as_tensor().numpy().astype(np.float16))
            node.attributes[name] = ir.AttrTensor(name, half)


def _cast(graph: ir.Graph, value: ir.Value, dtype: ir.DataType, name: str | None, before: ir.Node | None) -> ir.Value:
    """A Cast of `value`, put before a node or at the end of the graph; returns its output."""
    output = ir.Value(name=name, shape=value.shape, type=ir.TensorType(dtype))
    node = ir.Node("", "Cast", [value], [ir.AttrInt64("to", dtype)], outputs=[output], name=f"cast_{name}")
    if before is None:
        graph.append(node)
    else:
        graph.insert_before(before, node)
    return output
