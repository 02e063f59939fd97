"""An ONNX file as OpenVINO reads it: model-local functions inlined, int8 pairs that separate its kernels dropped.

onnx changes the graph alone. The weights go past it, from the file into the result in one copy: through onnx they would
be parsed, copied twice by its inliner and written again, which took longer than OpenVINO's compiler (3 of 8 s for a
ResNet-101, and three times its size in memory).
"""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import TYPE_CHECKING

from ..base.text import first_line, install_hint
from ..errors import BackendError, ModelFileError
from ..onnx_check.protobuf import LENGTH, Field, fields
from ..onnx_check.reading import GRAPH_STORED, MODEL_GRAPH, TENSOR_NAME
from .openvino_pairs import drop_separating_pairs

if TYPE_CHECKING:
    import onnx

_LARGE = 1 << 14
"""Bytes of a stored tensor from which on it goes past onnx. Sizes, scales and zero points are smaller."""


def openvino_model(path: Path) -> bytes:
    """The serialised model; only for files that were checked, whose functions call none.

    Raises BackendError where onnx is not installed, ModelFileError for what is not readable.
    """
    try:
        import onnx
        from onnx import inliner
    except ImportError:
        raise BackendError(f"the OpenVINO backend needs onnx; {install_hint('openvino')}") from None
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            light, heavy = _without_weights(data, onnx.ModelProto())
            light = inliner.inline_local_functions(light)
            drop_separating_pairs(light)
            with memoryview(data) as view:
                return _with_weights(light, [view[weight.tag : weight.end] for weight in heavy])
    except Exception as error:  # protobuf's DecodeError, onnx's own errors
        reason = first_line(error)
        raise ModelFileError(f"{path}: not a readable ONNX model ({reason}); copy or export it again") from error


def _without_weights(data: mmap.mmap, model: onnx.ModelProto) -> tuple[onnx.ModelProto, list[Field]]:
    """The file read into `model`, large tensors as names alone, and where those lie."""
    heavy: list[Field] = []
    with memoryview(data) as view:
        for part in fields(data):
            if part.number != MODEL_GRAPH:
                model.MergeFromString(view[part.tag : part.end])
        (graph,) = (part for part in fields(data) if part.number == MODEL_GRAPH)
        for part in fields(data, graph.start, graph.end):
            if part.number == GRAPH_STORED and part.wire_type == LENGTH and part.end - part.start > _LARGE:
                heavy.append(part)
                model.graph.initializer.add(name=_name(data, part))  # onnx gives no other value this name
            else:
                model.graph.MergeFromString(view[part.tag : part.end])
    return model, heavy


def _with_weights(light: onnx.ModelProto, heavy: list[memoryview]) -> bytes:
    """One serialised model of both, each of `heavy` a field of its graph.

    Fields stand in the order of their numbers, as protobuf writes them: OpenVINO 2025.4 takes a small model whose graph
    comes last for another format, and finds nothing in it.
    """
    whole = [tensor for tensor in light.graph.initializer if tensor.HasField("data_type")]
    del light.graph.initializer[:]
    light.graph.initializer.extend(whole)
    graph = light.graph.SerializeToString()
    light.ClearField("graph")
    length = len(graph) + sum(map(len, heavy))
    others = light.SerializeToString()
    before = sum(part.end - part.tag for part in fields(others) if part.number < MODEL_GRAPH)
    head = [others[:before], _varint(MODEL_GRAPH << 3 | LENGTH), _varint(length), graph]
    return b"".join([*head, *heavy, others[before:]])


def _name(data: mmap.mmap, tensor: Field) -> str:
    (name,) = (part for part in fields(data, tensor.start, tensor.end) if part.number == TENSOR_NAME)
    return data[name.start : name.end].decode()


def _varint(value: int) -> bytes:
    """Seven bits to a byte, lowest first, as protobuf.py reads them."""
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])
