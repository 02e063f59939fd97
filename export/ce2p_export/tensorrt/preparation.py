"""The ONNX file as TensorRT is to read it: our ops as plugins or as standard layers, never one for the other.

A node of ours carries a function body, and TensorRT's parser would take that body where it finds no plugin, without a
word. So with plugins the bodies are removed (a missing plugin is then an error), and without plugins the bodies are
inlined here (a plugin registered earlier in the process is then not used).

TensorRT produces uint8 outputs from a cast only, and its plugins may not have them at all (NVIDIA/TensorRT issue 4282,
warning at PluginTensorDesc::type). So the CE2PLabelMap plugin writes the same bytes as int8, which TensorRT reads as
quantised values of scale 1; dequantising and a cast make them the uint8 output that the file declares. Class ids are
exact on this way up to 127.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx import TensorProto, helper, inliner

from ce2p_runtime.base.text import first_line
from ce2p_runtime.errors import ModelFileError
from ce2p_runtime.model_files.metadata import METADATA_KEY, ModelMetadata
from ce2p_runtime.model_files.onnx_file import checked_metadata

from ..fusions import GRAPH_OPS
from ..fusions.ce2p_ops import DOMAIN
from .failures import EngineError

MAX_CLASSES = 128
"""More class ids than int8 holds would wrap around in the label plugin."""


@dataclass(frozen=True)
class Prepared:
    """What the parser gets."""

    content: bytes
    plugins: dict[str, int]
    """Our ops in it as plugin nodes, and how often."""


def load_onnx(path: Path) -> onnx.ModelProto:
    """Read an ONNX file. Raises EngineError when it is none, or is cut off."""
    try:
        model = onnx.load(str(path))
    except FileNotFoundError:
        raise EngineError(f"{path}: no such file; check the path") from None
    except Exception as error:  # protobuf raises kinds of its own
        reason = first_line(error)
        raise EngineError(f"{path}: not a readable ONNX file ({reason}); copy or export it again") from error
    # Protobuf reads an empty or foreign file as a message without fields.
    if not model.graph.node or not model.graph.output:
        raise EngineError(f"{path}: holds no graph, expected an exported network; copy or export it again")
    return model


def metadata_of(model: onnx.ModelProto, path: Path) -> ModelMetadata:
    """The metadata our exporter wrote into the file. Raises EngineError for files of others, and for damaged ones."""
    text = next((entry.value for entry in model.metadata_props if entry.key == METADATA_KEY), None)
    if text is None:
        raise EngineError(f"{path}: carries no ce2p metadata; give a checkpoint or a file made by `ce2p export`")
    try:
        return checked_metadata(path)
    except ModelFileError as error:
        raise EngineError(str(error)) from error


def prepare(model: onnx.ModelProto, *, plugins: bool) -> Prepared:
    """Settle the form of our ops. `model` is used up. Raises EngineError where the label plugin does not fit."""
    ours = [node for node in model.graph.node if node.domain == DOMAIN]
    if not ours or not plugins:
        return Prepared(inliner.inline_local_functions(model).SerializeToString(), {})
    names = [node.op_type for node in ours]
    del model.functions[:]
    for node in ours:
        node.attribute.append(helper.make_attribute("aot", 1))
        if GRAPH_OPS[node.op_type].plugin.bytes_as_int8:
            _bytes_as_int8(model.graph, node)
    return Prepared(model.SerializeToString(), {name: names.count(name) for name in sorted(set(names))})


def _bytes_as_int8(graph: onnx.GraphProto, node: onnx.NodeProto) -> None:
    """node -> labels becomes node -> int8 -> dequantise -> cast -> labels."""
    labels = node.output[0]
    node.output[0] = f"{labels}_int8"
    scale = f"{labels}_scale"
    graph.initializer.append(helper.make_tensor(scale, TensorProto.FLOAT, [], [1.0]))
    graph.node.extend(
        (
            helper.make_node("DequantizeLinear", [node.output[0], scale], [f"{labels}_float"], f"{labels}_dequantise"),
            helper.make_node("Cast", [f"{labels}_float"], [labels], f"{labels}_cast", to=TensorProto.UINT8),
        )
    )


def check_batches(model: onnx.ModelProto, asked: tuple[int, ...] | None, path: Path) -> tuple[int, ...]:
    """The batch sizes of an engine of this file. Raises EngineError where the file does not have those asked for."""
    batch = model.graph.input[0].type.tensor_type.shape.dim[0]
    if batch.HasField("dim_value"):
        if asked not in (None, (batch.dim_value,)):
            wanted = ",".join(map(str, asked or ()))
            found = f"{path}: holds batch {batch.dim_value}, asked for {wanted}"
            raise EngineError(f"{found}; export it again with --batch {wanted}")
        return (batch.dim_value,)
    if asked is None:
        raise EngineError(f"{path}: its batch is dynamic, an engine needs sizes; name them, e.g. --batch 1,4,16")
    return asked


def check_classes(metadata: ModelMetadata, plugins: Iterable[str]) -> None:
    """Raises EngineError when class ids do not fit the label plugin, where that is among `plugins`."""
    if metadata.num_classes > MAX_CLASSES and any(GRAPH_OPS[name].plugin.bytes_as_int8 for name in plugins):
        raise EngineError(
            f"{metadata.num_classes} classes, the label plugin holds up to {MAX_CLASSES}; build with --no-plugins"
        )
