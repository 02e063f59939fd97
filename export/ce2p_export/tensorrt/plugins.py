"""Our ops as TensorRT plugins whose kernels are compiled ahead of time: the engine holds the PTX and needs no Python.

tensorrt.plugin reads each function's signature: annotations that are classes, and every registered attribute, in order,
whatever subset a function needs. It takes as scalar arguments nothing but SymInt32.

TensorRT calls these functions from C++ and loses what they raise, so what can go wrong (no compiler, too many classes)
is tried before the build, in `plugin_sources` and `compile_kernels`.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Mapping, Sequence
from functools import partial
from inspect import Parameter, Signature
from typing import Any

import onnx
from onnx import TensorProto

from ce2p_runtime.cuda.compiler import compile_ptx, source_sha256
from ce2p_runtime.errors import BackendError
from ce2p_runtime.ops.launches import BLOCK, KernelSource

from ..fusions import GRAPH_OPS
from ..fusions.ce2p_ops import DOMAIN, GraphOp
from .failures import EngineError

_lock = threading.Lock()


def register_plugins() -> None:
    """Make our ops known to TensorRT's parser in this process; again and again is fine. TensorRT must import."""
    import tensorrt.plugin as trtp

    with _lock:
        known = vars(getattr(trtp.op, DOMAIN)) if DOMAIN in vars(trtp.op) else {}
        for name, op in GRAPH_OPS.items():
            if name not in known:
                _register(op)


def _register(op: GraphOp) -> None:
    import tensorrt as trt
    import tensorrt.plugin as trtp

    plugin, count = op.plugin, len(op.inputs)

    def describe(*tensors: Any, **values: Any) -> Any:
        given = dict(zip(op.inputs, tensors, strict=True))
        shape = plugin.output_shape(lambda name: given[name].shape_expr, values)
        return trtp.from_shape_expr(tuple(shape), trt.int8 if plugin.bytes_as_int8 else tensors[0].dtype)

    def combinations(*given: Any) -> Any:
        return [trtp.AutoTuneCombination(plugin.types, "LINEAR")]

    def implement(*given: Any) -> Any:
        tensors = dict(zip(op.inputs, given[:count], strict=True))
        values = dict(zip(op.attributes, given[count:-2], strict=True))
        source = plugin.source(given[0].dtype == trt.float16, lambda name: tensors[name].shape, values)
        scalars = plugin.scalars(lambda name: tensors[name].shape_expr, values)
        # As `Launch.over`, in symbols: one plugin serves every batch size of an engine.
        out, launch, (rows, cols) = given[-2][0].shape_expr, trtp.KernelLaunchParams(), plugin.tile
        launch.grid_x, launch.grid_y = trtp.cdiv(out[len(out) - 1], cols), trtp.cdiv(out[len(out) - 2], rows)
        launch.grid_z = out[0]
        launch.block_x, launch.block_y, launch.block_z = BLOCK
        return plugin.kernel, compile_ptx(source), launch, _arguments(trtp, scalars)

    inputs = dict.fromkeys(op.inputs, trtp.TensorDesc)
    given, outputs = {**inputs, **op.attributes}, {"outputs": tuple[trtp.TensorDesc]}
    _sign(describe, given, trtp.TensorDesc)
    _sign(combinations, {**inputs, **outputs}, list[trtp.AutoTuneCombination])
    made = tuple[str | bytes, str | bytes, trtp.KernelLaunchParams, trtp.SymExprs]
    _sign(implement, {**given, **outputs, "tactic": int}, made)
    name = f"{DOMAIN}::{op.name}"
    trtp.register(name)(describe)
    trtp.autotune(name)(combinations)
    trtp.aot_impl(name)(implement)


def _sign(function: Any, parameters: dict[str, Any], returns: Any) -> None:
    """Give a function the signature that TensorRT looks for."""
    kind = Parameter.POSITIONAL_OR_KEYWORD
    named = [Parameter(name, kind, annotation=annotation) for name, annotation in parameters.items()]
    function.__signature__ = Signature(named, return_annotation=returns)


def _arguments(trtp: Any, values: Sequence[Any]) -> Any:
    """Scalar arguments, each wrapped by hand: what from_tuple makes of plain numbers is refused later."""
    arguments = trtp.SymIntExprs(len(values))
    for index, value in enumerate(values):
        arguments[index] = trtp.SymInt32(value)
    return arguments


def plugin_sources(model: onnx.ModelProto) -> dict[str, KernelSource]:
    """Our ops in a graph -> what their plugins are compiled from. Raises EngineError where a plugin does not fit."""
    sources = {}
    for node in model.graph.node:
        if node.domain != DOMAIN:
            continue
        if node.op_type not in GRAPH_OPS:
            known = ", ".join(GRAPH_OPS)
            raise EngineError(f"the file holds the op {node.op_type}, this version of ce2p knows {known}; update ce2p")
        op = GRAPH_OPS[node.op_type]
        names = dict(zip(op.inputs, node.input, strict=True))
        values = {entry.name: onnx.helper.get_attribute_value(entry) for entry in node.attribute}
        half = _element_type(model.graph, node.input[0]) == TensorProto.FLOAT16
        try:
            sources[op.name] = op.plugin.source(half, partial(_shape, model.graph, names), values)
        except ValueError as error:
            raise EngineError(f"{error}; build with --no-plugins") from error
    return sources


def compile_kernels(sources: dict[str, KernelSource]) -> None:
    """Compile them into the user's cache. Raises EngineError when there is no compiler or one does not compile."""
    try:
        for source in sources.values():
            compile_ptx(source)
    except BackendError as error:
        raise EngineError(f"{error}; or build with --no-plugins") from error


def kernel_hashes(sources: dict[str, KernelSource]) -> dict[str, str]:
    """Op -> SHA-256 of its kernel's sources and constants."""
    return {
        name: hashlib.sha256(json.dumps([source_sha256(source), source.defines]).encode()).hexdigest()
        for name, source in sources.items()
    }


def _shape(graph: onnx.GraphProto, names: Mapping[str, str], given: str) -> list[int]:
    """Of the value or weight that an op's input is in this graph. Raises EngineError where the file states none."""
    name = names[given]
    for tensor in graph.initializer:
        if tensor.name == name:
            return list(tensor.dims)
    for value in graph.value_info:
        if value.name == name and value.type.tensor_type.shape.dim:
            return [int(dim.dim_value) for dim in value.type.tensor_type.shape.dim]
    raise EngineError(f"the file does not state the shape of {name}; export it again, or build with --no-plugins")


def _element_type(graph: onnx.GraphProto, name: str) -> int:
    """Of a value, as the file states it; float32 where it does not."""
    for value in (*graph.value_info, *graph.output, *graph.input):
        if value.name == name:
            return int(value.type.tensor_type.elem_type)
    producer = next((node for node in graph.node if name in node.output), None)
    weights = {tensor.name: tensor.data_type for tensor in graph.initializer}
    types = [weights[entry] for entry in (producer.input if producer else ()) if entry in weights]
    return int(types[-1]) if types else int(TensorProto.FLOAT)
