"""What the ops of the `ce2p` domain have in common: how one is described, and how it gets into a graph.

A node of ours carries a model-local function body made of standard ops, so every ONNX runtime can run it, and the
attributes `plugin_namespace` and `plugin_version`, so that TensorRT takes our kernel when it is registered and the body
when it is not. One file serves all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import onnx
import onnx_ir as ir

from ce2p_runtime.ops.launches import KernelSource

DOMAIN = "ce2p"
OPSET = 20

Attributes: TypeAlias = Mapping[str, Any]  # name -> value, of a node
Shape: TypeAlias = Callable[[str], Sequence[Any]]
"""An input's name -> its shape, in numbers or in TensorRT's expressions."""


@dataclass(frozen=True)
class Plugin:
    """One launch of one kernel, compiled when an engine is built: what TensorRT runs for an op."""

    kernel: str
    source: Callable[[bool, Shape, Attributes], KernelSource]
    """By whether the first input is half precision. Raises ValueError for what the kernel cannot do."""
    scalars: Callable[[Shape, Attributes], Sequence[Any]]
    """The kernel's integer arguments, between the addresses of inputs and output."""
    output_shape: Callable[[Shape, Attributes], Sequence[Any]]
    """Ends in height and width; each block of the kernel makes a `tile` of them."""
    tile: tuple[int, int]
    types: str
    """Of inputs and output, as TensorRT reads it: "FP32|FP16, INT8"."""
    bytes_as_int8: bool = False
    """The output's uint8 goes by the name of int8 (see tensorrt/preparation.py)."""


@dataclass(frozen=True)
class GraphOp:
    """An op as a node of exported graphs: `OP` in the module of its name."""

    name: str
    inputs: tuple[str, ...]
    output: str
    attributes: Mapping[str, type[int] | type[float]]
    """In the order in which nodes and plugins have them."""
    body: str
    """Its meaning in standard ops, in ONNX's textual syntax; {mode} is Resize's, other names are attributes' values."""
    plugin: Plugin

    def node_attributes(self, values: Attributes) -> dict[str, int | float | str]:
        """All attributes of a node, those that TensorRT looks for among them."""
        return {**{name: values[name] for name in self.attributes}, "plugin_namespace": DOMAIN, "plugin_version": "1"}

    def define(self, model: ir.Model, values: Attributes) -> None:
        """Put the function that a node with these attribute values stands for into `model`, in place."""
        mode = "align_corners" if values.get("align_corners") else "half_pixel"
        text = (
            f'<domain: "{DOMAIN}", opset_import: ["" : {model.opset_imports[""]}]>\n'
            f"{self.name} <{', '.join(self.attributes)}, plugin_namespace, plugin_version> "
            f"({', '.join(self.inputs)}) => ({self.output})\n{{\n{self.body.format(mode=mode, **values)}\n}}"
        )
        function = ir.serde.deserialize_function(onnx.parser.parse_function(text))
        model.functions[function.identifier()] = function
        model.opset_imports[DOMAIN] = 1
