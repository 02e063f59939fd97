"""Our ops as TensorRT plugins whose kernels are compiled ahead of time: the engine holds the PTX and needs no Python.

No `from __future__ import annotations` here: tensorrt.plugin reads the annotations as objects and refuses strings. It
also passes every registered attribute to the implementation, in order, whatever subset a signature asks for, and takes
as scalar arguments nothing but SymInt32. One launch per plugin and no workspace is all there is, which suits both ops.

TensorRT calls these functions from C++ and loses what they raise, so what can go wrong (no compiler, too many classes)
is tried before the build, in `kernel_sources` and `compile_kernels`.
"""

import hashlib
import json
import threading
from typing import Any

import onnx
from onnx import TensorProto

from ce2p_runtime.cuda.compiler import compile_ptx, source_sha256
from ce2p_runtime.errors import BackendError
from ce2p_runtime.ops.edge_fusion import FUSION_TILE, edge_fusion_source
from ce2p_runtime.ops.label_map import label_map_source
from ce2p_runtime.ops.launches import BLOCK, PICTURE_TILE, KernelSource

from ..fusions import edge_fusion, label_map
from ..fusions.ce2p_ops import DOMAIN
from .errors import EngineError

__all__ = ["EDGE_FUSION", "LABEL_MAP", "compile_kernels", "kernel_hashes", "kernel_sources", "register_plugins"]

EDGE_FUSION = f"{DOMAIN}::{edge_fusion.OP_TYPE}"
LABEL_MAP = f"{DOMAIN}::{label_map.OP_TYPE}"

_lock = threading.Lock()


def register_plugins() -> None:
    """Make both ops known to TensorRT's parser in this process; again and again is fine. TensorRT must import."""
    import tensorrt.plugin as trtp

    with _lock:
        known = getattr(trtp.op, DOMAIN, None) if DOMAIN in vars(trtp.op) else None
        if known is None or edge_fusion.OP_TYPE not in vars(known):
            _register_edge_fusion()
        if known is None or label_map.OP_TYPE not in vars(known):
            _register_label_map()


def _register_edge_fusion() -> None:
    import tensorrt as trt
    import tensorrt.plugin as trtp

    def describe(
        a: trtp.TensorDesc,
        b: trtp.TensorDesc,
        c: trtp.TensorDesc,
        weight: trtp.TensorDesc,
        bias: trtp.TensorDesc,
        slope: float,
        align_corners: int,
    ) -> trtp.TensorDesc:
        shape = (a.shape_expr[0], weight.shape_expr[0], a.shape_expr[2], a.shape_expr[3])
        return trtp.from_shape_expr(shape, a.dtype)

    def combinations(
        a: trtp.TensorDesc,
        b: trtp.TensorDesc,
        c: trtp.TensorDesc,
        weight: trtp.TensorDesc,
        bias: trtp.TensorDesc,
        outputs: tuple[trtp.TensorDesc],
    ) -> list[trtp.AutoTuneCombination]:
        # All six together float or all six half. Without this the plugin would be given any mixture.
        return [trtp.AutoTuneCombination(", ".join(["FP32|FP16"] * 6), "LINEAR")]

    def implement(
        a: trtp.TensorDesc,
        b: trtp.TensorDesc,
        c: trtp.TensorDesc,
        weight: trtp.TensorDesc,
        bias: trtp.TensorDesc,
        slope: float,
        align_corners: int,
        outputs: tuple[trtp.TensorDesc],
        tactic: int,
    ) -> tuple[str | bytes, str | bytes, trtp.KernelLaunchParams, trtp.SymExprs]:
        # The slope is a constant of the compiled kernel: arguments can be integers only.
        half = a.dtype == trt.float16
        heights = (int(a.shape[2]), int(b.shape[2]), int(c.shape[2]))
        source = edge_fusion_source(half, int(weight.shape[0]), bool(align_corners), slope, heights)
        sizes = [branch.shape_expr[axis] for branch in (a, b, c) for axis in (2, 3)]
        arguments = _arguments(trtp, [a.shape_expr[1], *sizes])
        launch = _launch(trtp, a.shape_expr[3], a.shape_expr[2], a.shape_expr[0], FUSION_TILE)
        return "ce2p_edge_fusion", compile_ptx(source), launch, arguments

    trtp.register(EDGE_FUSION)(describe)
    trtp.autotune(EDGE_FUSION)(combinations)
    trtp.aot_impl(EDGE_FUSION)(implement)


def _register_label_map() -> None:
    import tensorrt as trt
    import tensorrt.plugin as trtp

    def describe(logits: trtp.TensorDesc, height: int, width: int, align_corners: int) -> trtp.TensorDesc:
        # int8 holds the kernel's bytes: plugins may not write uint8 (see preparation.py).
        return trtp.from_shape_expr((logits.shape_expr[0], height, width), trt.int8)

    def combinations(logits: trtp.TensorDesc, outputs: tuple[trtp.TensorDesc]) -> list[trtp.AutoTuneCombination]:
        return [trtp.AutoTuneCombination("FP32|FP16, INT8", "LINEAR")]

    def implement(
        logits: trtp.TensorDesc,
        height: int,
        width: int,
        align_corners: int,
        outputs: tuple[trtp.TensorDesc],
        tactic: int,
    ) -> tuple[str | bytes, str | bytes, trtp.KernelLaunchParams, trtp.SymExprs]:
        source = label_map_source(logits.dtype == trt.float16, bool(align_corners))
        batch, classes, low_height, low_width = (logits.shape_expr[axis] for axis in range(4))
        arguments = _arguments(trtp, [classes, low_height, low_width, height, width])
        launch = _launch(trtp, outputs[0].shape_expr[2], outputs[0].shape_expr[1], batch, PICTURE_TILE)
        return "ce2p_label_resize", compile_ptx(source), launch, arguments

    trtp.register(LABEL_MAP)(describe)
    trtp.autotune(LABEL_MAP)(combinations)
    trtp.aot_impl(LABEL_MAP)(implement)


def _launch(trtp: Any, width: Any, height: Any, batch: Any, tile: tuple[int, int]) -> Any:
    """As `ce2p_runtime.ops.launches` has it, in symbols: one plugin serves every batch size of an engine."""
    launch = trtp.KernelLaunchParams()
    launch.grid_x, launch.grid_y, launch.grid_z = trtp.cdiv(width, tile[1]), trtp.cdiv(height, tile[0]), batch
    launch.block_x, launch.block_y, launch.block_z = BLOCK
    return launch


def _arguments(trtp: Any, values: list[Any]) -> Any:
    """Scalar arguments, each wrapped by hand: what from_tuple makes of plain numbers is refused later."""
    arguments = trtp.SymIntExprs(len(values))
    for index, value in enumerate(values):
        arguments[index] = trtp.SymInt32(value)
    return arguments


def kernel_sources(model: onnx.ModelProto) -> dict[str, KernelSource]:
    """Our ops in a graph -> what their plugins are compiled from. Raises EngineError where a plugin does not fit."""
    sources = {}
    for node in model.graph.node:
        if node.domain != DOMAIN:
            continue
        attributes = {entry.name: onnx.helper.get_attribute_value(entry) for entry in node.attribute}
        half = _element_type(model.graph, node.input[0]) == TensorProto.FLOAT16
        if node.op_type == edge_fusion.OP_TYPE:
            a, b, c = (_height(model.graph, name) for name in node.input[:3])
            heights = (a, b, c)
            classes = next(tensor.dims[0] for tensor in model.graph.initializer if tensor.name == node.input[3])
            try:
                sources[node.op_type] = edge_fusion_source(
                    half, classes, bool(attributes["align_corners"]), attributes["slope"], heights
                )
            except ValueError as error:
                raise EngineError(f"{error}; build with --no-plugins") from error
        elif node.op_type == label_map.OP_TYPE:
            sources[node.op_type] = label_map_source(half, bool(attributes["align_corners"]))
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


def _height(graph: onnx.GraphProto, name: str) -> int:
    """Of an image inside the network, in pixels. Raises EngineError where the file does not state it."""
    value = next((value for value in graph.value_info if value.name == name), None)
    if value is None or len(value.type.tensor_type.shape.dim) != 4:
        raise EngineError(f"the file does not state the shape of {name}; export it again, or build with --no-plugins")
    return int(value.type.tensor_type.shape.dim[2].dim_value)


def _element_type(graph: onnx.GraphProto, name: str) -> int:
    """Of a value, as the file states it; float32 where it does not."""
    for value in (*graph.value_info, *graph.output, *graph.input):
        if value.name == name:
            return int(value.type.tensor_type.elem_type)
    producer = next((node for node in graph.node if name in node.output), None)
    weights = {tensor.name: tensor.data_type for tensor in graph.initializer}
    types = [weights[entry] for entry in (producer.input if producer else ()) if entry in weights]
    return int(types[-1]) if types else int(TensorProto.FLOAT)
