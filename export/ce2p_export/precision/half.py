"""From float32 to half precision (float16 or bfloat16), on the ONNX graph.

Precision belongs to the graph: TensorRT 11 knows no other way, and the same file then means the same everywhere.
Weights and activations become 16 bits wide. What leads from the input to the first convolution stays float32 (uint8
pixels are normalised there), and so do the nodes a caller wants kept; a Cast stands wherever the two meet, and one
behind each output. Integers, shapes and the scales of Resize stay as they are.

float16 has 11 significant bits, ends at 65504, and is subnormal below 6.1e-5. A weight beyond the end would become
infinite. Small weights lose bits and then vanish, which changes nothing as long as larger ones stand beside them: a
tensor does not fit only when everything in it that is not zero falls below. bfloat16 has float32's range and 8
significant bits: every weight fits, each less exactly.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from ce2p.errors import CE2PError
from ce2p_runtime.precisions import HalfType

HALF_TYPES: dict[HalfType, ir.DataType] = {"float16": ir.DataType.FLOAT16, "bfloat16": ir.DataType.BFLOAT16}

LARGEST = float(np.finfo(np.float16).max)
SMALLEST_NORMAL = float(np.finfo(np.float16).smallest_normal)

_FLOAT32_INPUTS = {"Resize": (1, 2)}
"""Inputs (region, scales) that stay float32 whatever the data's type."""
_QUANTISERS = ("QuantizeLinear", "DequantizeLinear")


def to_half(model: ir.Model, half: HalfType, keep: Iterable[str] = ()) -> None:
    """Convert `model` in place, float outputs included; `give_float_io` gives those their type back.

    `keep`: names of nodes that stay float32. Fused ops are put in between the two. Raises CE2PError for weights that
    float16 cannot hold, unless their nodes are kept.
    """
    dtype = HALF_TYPES[half]
    stem = next((node for node in model.graph if node.op_type == "Conv"), None)
    if stem is None or stem.inputs[0] is None:
        raise CE2PError(f"the graph has no convolution, so there is nothing to convert to {half}")
    kept = set(keep)
    before = _ancestors(_behind_pair(stem.inputs[0]))
    inside = [node for node in model.graph if node not in before and node.name not in kept]
    _convert_weights(model.graph, inside, dtype)
    for node in inside:
        _convert_node(node, dtype)
    _cast_between(model.graph, set(inside), dtype)


def give_float_io(model: ir.Model, *, inputs: bool = True) -> None:
    """Give half-precision outputs of the graph a Cast to float32 that takes over their name.

    `inputs` False leaves outputs as they are and makes the float32 input half precision, too: for pipelines whose
    buffers are.
    """
    graph = model.graph
    if not inputs:
        _take_half_input(graph)
        return
    for index, value in enumerate(graph.outputs):
        if value.dtype not in HALF_TYPES.values():
            continue
        name, value.name = value.name, f"{value.name}_half"
        cast = cast_of(value, ir.DataType.FLOAT, name)
        graph.append(producer_of(cast))
        graph.outputs[index] = cast


def unfit_weights(graph: ir.Graph) -> dict[str, str]:
    """Name of each node that reads a weight float16 cannot hold -> what is wrong with it."""
    found: dict[str, str] = {}
    for value in graph.initializers.values():
        problem = _problem(value) if value.dtype == ir.DataType.FLOAT else None
        if problem:
            for use in value.uses():
                found[use.node.name or ""] = f"{value.name}: {problem}"
    return found


def cast_of(value: ir.Value, dtype: ir.DataType, name: str | None) -> ir.Value:
    """The output, called `name`, of a new Cast of `value`; its node is not in a graph yet."""
    output = ir.Value(name=name, shape=value.shape, type=ir.TensorType(dtype))
    ir.Node("", "Cast", [value], [ir.AttrInt64("to", dtype)], outputs=[output], name=f"cast_{name}")
    return output


def producer_of(value: ir.Value) -> ir.Node:
    """The node that makes `value`, which must be a node's output."""
    node = value.producer()
    assert node is not None  # noqa: S101  (what callers promise)
    return node


def _take_half_input(graph: ir.Graph) -> None:
    """Drop the Cast behind a float32 input: the input itself is half precision then."""
    for value in graph.inputs:
        readers = list(value.uses())
        casts = [use.node for use in readers if use.node.op_type == "Cast"]
        if value.dtype != ir.DataType.FLOAT or len(casts) != len(readers):
            continue
        half = casts[0].outputs[0].dtype
        assert half is not None  # noqa: S101  (a Cast says what it makes)
        value.dtype = half
        for node in casts:
            for use in list(node.outputs[0].uses()):
                use.node.replace_input_with(use.idx, value)
            graph.remove(node, safe=True)


def _behind_pair(value: ir.Value) -> ir.Value:
    """The value before Q/DQ, where there is such a pair: what is quantised may be half precision already."""
    producer = value.producer()
    if producer is None or producer.op_type not in _QUANTISERS or producer.inputs[0] is None:
        return value
    return _behind_pair(producer.inputs[0])


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


def _convert_weights(graph: ir.Graph, inside: list[ir.Node], dtype: ir.DataType) -> None:
    """Half-precision initializers for the nodes `inside`; a float32 one that others still read stays beside them."""
    members = set(inside)
    for name, value in list(graph.initializers.items()):
        uses = [use for use in value.uses() if use.node in members and not _stays_float32(use.node, use.idx)]
        if value.dtype != ir.DataType.FLOAT or not uses:
            continue
        shared = len(uses) < len(value.uses())
        if not shared:
            del graph.initializers[name]
        is_scale = all(use.node.op_type in _QUANTISERS for use in uses)  # rounded already, see int8.py
        array = array_of(value).astype(dtype.numpy()) if is_scale else _halved(value, dtype)
        tensor = ir.tensor(array, name=f"{name}_half" if shared else name)
        half = ir.Value(name=tensor.name, shape=value.shape, type=ir.TensorType(dtype), const_value=tensor)
        graph.register_initializer(half)
        for use in uses:
            use.node.replace_input_with(use.idx, half)


def _stays_float32(node: ir.Node, index: int) -> bool:
    return index in _FLOAT32_INPUTS.get(node.op_type, ())


def _halved(value: ir.Value, dtype: ir.DataType) -> NDArray[Any]:
    """A weight in half precision. Raises CE2PError where float16 would lose it."""
    problem = _problem(value) if dtype == ir.DataType.FLOAT16 else None
    if problem:
        raise CE2PError(f"{value.name}: {problem}; export with --precision fp32 or bf16")
    return array_of(value).astype(dtype.numpy())


def _problem(value: ir.Value) -> str | None:
    """Why float16 cannot hold a weight, or None."""
    size = np.abs(array_of(value))
    size = size[size != 0]
    largest = float(size.max()) if size.size else 0.0
    if not largest <= LARGEST:  # written so that NaN is refused too
        return f"a weight of size {largest:.3g}, and float16 ends at {LARGEST:.0f}"
    if size.size and largest < SMALLEST_NORMAL:
        return f"no weight above {largest:.3g}, and float16 loses bits below {SMALLEST_NORMAL:.2g}"
    return None


def array_of(value: ir.Value | None) -> NDArray[Any]:
    """What an initializer holds."""
    assert value is not None and value.const_value is not None  # noqa: S101, PT018  (an initializer has its tensor)
    return value.const_value.numpy()


def _convert_node(node: ir.Node, dtype: ir.DataType) -> None:
    """Output types and attributes of one node."""
    for output in node.outputs:
        if output.dtype == ir.DataType.FLOAT:
            output.dtype = dtype
    if node.op_type == "Cast" and node.attributes.get_int("to") == ir.DataType.FLOAT:
        node.attributes["to"] = ir.AttrInt64("to", dtype)
    for name, attribute in list(node.attributes.items()):
        if attribute.type == ir.AttributeType.TENSOR and attribute.as_tensor().dtype == ir.DataType.FLOAT:
            node.attributes[name] = ir.AttrTensor(name, ir.tensor(attribute.as_tensor().numpy().astype(dtype.numpy())))


def _cast_between(graph: ir.Graph, inside: set[ir.Node], dtype: ir.DataType) -> None:
    """A Cast for every value that a node of the other precision reads; one for all of its readers."""
    casts: dict[tuple[ir.Value, ir.DataType], ir.Value] = {}
    for node in list(graph):
        for index, value in enumerate(node.inputs):
            if value is None or value.is_initializer() or value.dtype not in (ir.DataType.FLOAT, dtype):
                continue
            wanted = dtype if node in inside and not _stays_float32(node, index) else ir.DataType.FLOAT
            if value.dtype == wanted or node.op_type == "Cast":
                continue
            if (value, wanted) not in casts:
                cast = cast_of(value, wanted, f"{value.name}_{wanted.name.lower()}")
                producer = value.producer()
                if producer is None:
                    graph.insert_before(node, producer_of(cast))
                else:
                    graph.insert_after(producer, producer_of(cast))
                casts[value, wanted] = cast
            node.replace_input_with(index, casts[value, wanted])
