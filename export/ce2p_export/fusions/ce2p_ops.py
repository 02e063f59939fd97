"""What the two ops of the `ce2p` domain have in common: function bodies and plugin attributes.

A node of ours carries a model-local function body made of standard ops, so every ONNX runtime can run it, and the
attributes `plugin_namespace` and `plugin_version`, so that TensorRT takes our kernel when it is registered and the body
when it is not. One file serves all.
"""

from __future__ import annotations

import onnx
import onnx_ir as ir

__all__ = ["DOMAIN", "OPSET", "add_function", "ce2p_node", "coordinate_mode"]

DOMAIN = "ce2p"
OPSET = 20


def coordinate_mode(align_corners: bool) -> str:
    """ONNX Resize's name for torch's convention."""
    return "align_corners" if align_corners else "half_pixel"


def add_function(model: ir.Model, name: str, attributes: str, signature: str, body: str) -> None:
    """Add a model-local function written in ONNX's textual syntax. `attributes` are names, comma-separated."""
    text = (
        f'<domain: "{DOMAIN}", opset_import: ["" : {model.opset_imports[""]}]>\n'
        f"{name} <{attributes}, plugin_namespace, plugin_version> {signature}\n{{\n{body}\n}}"
    )
    function = ir.serde.deserialize_function(onnx.parser.parse_function(text))
    model.functions[function.identifier()] = function
    model.opset_imports[DOMAIN] = 1


def ce2p_node(name: str, inputs: list[ir.Value], output: ir.Value, attributes: dict[str, int | float]) -> ir.Node:
    """A node of our domain, with the plugin attributes; `output` is produced by it from now on."""
    everything = {**attributes, "plugin_namespace": DOMAIN, "plugin_version": "1"}
    return ir.Node(DOMAIN, name, inputs, ir.convenience.convert_attributes(everything), outputs=[output], name=name)
