"""From float32 to 8 bits: Q/DQ pairs around the layers chosen, in the form that the target's kernels want.

    cpu        uint8 activations with a zero point, int8 weights per channel, int32 biases: what ONNX Runtime and
               OpenVINO have fast kernels for. Sums, activations, pooling and upsampling are quantised too, so that no
               layer in between leaves 8 bits and comes back; sums are in the order that sums.py explains.
    tensorrt   int8 activations and weights, symmetric, biases left alone (TensorRT refuses zero points and uint8
               activations). A residual sum reads its shortcut through the Q/DQ pair that the next convolution has
               anyway, and its other side straight from the convolution: that is the pattern TensorRT fuses. The layers
               in between become float16.

ONNX Runtime's quantiser inserts the pairs. Which layers, over which ranges and for whom is decided here.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnx.numpy_helper
import onnx.shape_inference
import onnx_ir as ir
from numpy.typing import NDArray

from ce2p.errors import CE2PError
from ce2p_runtime.precisions import TARGETS, HalfType, Target
from ce2p_runtime.process.telemetry import import_onnxruntime

from .groups import check_known, layer_groups
from .half import array_of, producer_of
from .ranges import Range


@dataclass(frozen=True)
class Flavour:
    """How a target wants its 8 bits."""

    operators: tuple[str, ...]
    """Kinds of nodes that are quantised where their group is."""
    symmetric: bool
    """int8 activations around zero, or uint8 with a zero point."""
    between: HalfType | None
    """Type of what is not quantised; None: float32."""
    options: dict[str, Any] = field(default_factory=dict)
    """For ONNX Runtime's quantiser."""
    chained_sums: bool = False
    """Whether sums are brought into the order of `chain_sums` before calibration. TensorRT fuses a sum of two, and our
    fused op looks for the other order."""


_QUANTISED_ON_CPUS = (
    "Conv",
    "Add",
    "MaxPool",
    "AveragePool",
    "Relu",
    "LeakyRelu",
    "Resize",
    "MatMul",
    "Concat",
    "Reshape",
)
FLAVOURS: dict[Target, Flavour] = {
    "cpu": Flavour(_QUANTISED_ON_CPUS, symmetric=False, between=TARGETS["cpu"], chained_sums=True),
    "tensorrt": Flavour(
        ("Conv",),
        symmetric=True,
        between=TARGETS["tensorrt"],
        options={
            "ActivationSymmetric": True,
            "QuantizeBias": False,
            "OpTypesToExcludeOutputQuantization": ["Conv"],
            "QDQDisableWeightAdjustForInt32Bias": True,
        },
    ),
}
"""One for each of `ce2p_runtime.precisions.TARGETS`."""


def nodes_to_quantise(graph: ir.Graph, flavour: Flavour, keep: frozenset[str]) -> list[str]:
    """Names of the nodes to quantise when the groups `keep` stay as they are. Raises CE2PError for unknown groups."""
    groups = layer_groups(graph)
    check_known(keep, groups)
    kinds = {node.name: node.op_type for node in graph}
    return [
        node
        for group, nodes in groups.items()
        if group not in keep
        for node in nodes
        if kinds[node] in flavour.operators
    ]


def tensors_to_calibrate(graph: ir.Graph) -> list[str]:
    """Every activation that any choice of groups may quantise, in the graph's order."""
    operators = {kind for flavour in FLAVOURS.values() for kind in flavour.operators}
    found: dict[str, None] = {}
    for node in graph:
        if node.op_type in operators:
            for value in (*node.inputs, *node.outputs):
                if value is not None and value.name and not value.is_initializer() and value.dtype == ir.DataType.FLOAT:
                    found[value.name] = None
    return list(found)


def quantise(
    model: bytes,
    ranges: Mapping[str, Range],
    *,
    flavour: Flavour,
    nodes: Sequence[str],
    unrounded: Collection[str] = (),
) -> ir.Model:
    """A serialised float32 model with Q/DQ pairs around `nodes`. Raises CE2PError without a node to quantise.

    `unrounded`: nodes among them whose results stay float where nothing but another product or sum would round them.
    """
    import_onnxruntime()
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.calibrate import TensorData
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    if not nodes:
        raise CE2PError(
            "every layer is to stay in high precision, so there is nothing to quantise; use --precision fp16"
        )
    proto = onnx.load_from_string(model)
    # Tells the quantiser that shapes are known, or it would write the model to disk and infer them.
    proto.metadata_props.add(key="onnx.infer", value="onnxruntime.quant")
    limits = {
        tensor: TensorData(lowest=np.float32(low), highest=np.float32(high)) for tensor, (low, high) in ranges.items()
    }
    with _only_errors():
        quantizer = QDQQuantizer(
            proto,
            per_channel=True,
            reduce_range=False,
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QInt8 if flavour.symmetric else QuantType.QUInt8,
            tensors_range=limits,
            nodes_to_quantize=list(nodes),
            nodes_to_exclude=[],
            op_types_to_quantize=list(flavour.operators),
            extra_options=dict(flavour.options),
        )
        quantizer.quantize_model()
    quantised = quantizer.model.model
    del quantised.metadata_props[:]
    result: ir.Model = ir.from_proto(onnx.shape_inference.infer_shapes(quantised))
    result.graph.sort()  # the quantiser puts its nodes at the end
    _leave_unrounded(result.graph, unrounded)
    if flavour.symmetric:
        _shortcuts_through_pairs(result.graph)
    if flavour.between is not None:
        _scales_for_float16(result.graph, _weights(model))
    return result


@contextmanager
def _only_errors() -> Iterator[None]:
    """The quantiser advises through the root logger to prepare models that come from elsewhere."""
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(before)


_MOVES = ("Reshape", "Concat")
"""Operators that compute nothing."""


def _leave_unrounded(graph: ir.Graph, nodes: Collection[str]) -> None:
    """Take away the pair behind each of `nodes` whose result leaves the graph or is only moved.

    Logits of 8 bits tie, and the pooled pyramid's would be rounded for the concatenation and once more for the sum.
    """
    for node in [node for node in graph if node.name in nodes]:
        value = node.outputs[0]
        result = _dequantised(value)
        if result is None or any(reader.op_type not in _MOVES for reader in result.consumers()):
            continue
        name, leaves = result.name, result.is_graph_output()
        dequantise_node = producer_of(result)
        quantise_node = dequantise_node.predecessors()[0]
        result.replace_all_uses_with(value, replace_graph_outputs=True)
        graph.remove([dequantise_node, quantise_node], safe=True)
        if leaves:  # what an output must state stood at the pair's end
            value.name, value.type, value.shape = name, result.type, result.shape


def _shortcuts_through_pairs(graph: ir.Graph) -> None:
    """Let each residual sum read its shortcut from the DequantizeLinear that stands behind the same value."""
    for node in graph:
        if node.op_type != "Add":
            continue
        from_convolution = [_kind(value) == "Conv" for value in node.inputs]
        if sum(from_convolution) != 1:
            continue
        index = from_convolution.index(False)
        shortcut = node.inputs[index]
        dequantised = None if shortcut is None else _dequantised(shortcut)
        if dequantised is not None:
            node.replace_input_with(index, dequantised)


SMALLEST_SCALE = 2.0**-17
"""Of Q/DQ pairs between float16 layers. float16 ends at 2^-24; from 2^-17 on it holds a scale to 1 in 256."""


def _weights(model: bytes) -> dict[str, NDArray[np.float32]]:
    """The float32 weights of a serialised model by name."""
    tensors = onnx.load_from_string(model).graph.initializer
    return {t.name: onnx.numpy_helper.to_array(t) for t in tensors if t.data_type == onnx.TensorProto.FLOAT}


def _scales_for_float16(graph: ir.Graph, weights: Mapping[str, NDArray[np.float32]]) -> None:
    """Round every scale up to one that float16 holds, and quantise the weights anew with it.

    A weight channel of a very small scale loses levels by that; its steps are still below 1e-5. Scales are rounded
    before the division by them, so the rounding itself costs nothing.
    """
    for node in graph:
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            continue
        stored, scale = node.inputs[0], node.inputs[1]
        assert stored is not None and scale is not None  # noqa: S101, PT018  (both operators have them)
        rounded = _rounded_up(array_of(scale))
        scale.const_value = ir.tensor(rounded.astype(np.float32), name=scale.name)
        if node.op_type == "DequantizeLinear" and stored.is_initializer():
            weight = weights[(stored.name or "").removesuffix("_quantized")]
            column = rounded.reshape(-1, *[1] * (weight.ndim - 1))
            levels = np.clip(np.rint(weight / column), -127, 127).astype(np.int8)
            stored.const_value = ir.tensor(levels, name=stored.name)


def _rounded_up(scale: NDArray[Any]) -> NDArray[np.float32]:
    """The next float16 that is not smaller, as float32."""
    wanted = np.maximum(scale.astype(np.float32), SMALLEST_SCALE)
    half = wanted.astype(np.float16)
    return np.where(half < wanted, np.nextafter(half, np.float16(np.inf)), half).astype(np.float32)


def _kind(value: ir.Value | None) -> str | None:
    producer = value.producer() if value is not None else None
    return producer.op_type if producer is not None else None


def _dequantised(value: ir.Value) -> ir.Value | None:
    """The value behind Q and DQ, where `value` is read through such a pair."""
    for quantise_node in value.consumers():
        if quantise_node.op_type == "QuantizeLinear":
            for dequantise_node in quantise_node.outputs[0].consumers():
                if dequantise_node.op_type == "DequantizeLinear":
                    return dequantise_node.outputs[0]
    return None
