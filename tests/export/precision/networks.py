"""A small convolutional network as ONNX, with named weights like an export's, whose one layer is made fragile."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
from onnx import TensorProto, helper, numpy_helper, shape_inference

__all__ = ["chain"]


def chain(scales: list[float], side: int = 12, channels: int = 8, seed: int = 0) -> bytes:
    """image -> Conv, Relu for each entry of `scales` (weights times it) -> classifier `parsing` [1, 4, side, side].

    The layers are called backbone.layer1.0, backbone.layer1.1, ...; the last is fusion.classifier.
    """
    rng = np.random.default_rng(seed)
    nodes, weights, width, value = [], [], 3, "image"
    for index, scale in enumerate(scales):
        name = f"backbone.layer1.{index}.conv"
        kernel = rng.normal(0, scale / np.sqrt(9 * width), (channels, width, 3, 3)).astype(np.float32)
        bias = rng.normal(0, 0.1, channels).astype(np.float32)
        weights += [numpy_helper.from_array(kernel, f"{name}.weight"), numpy_helper.from_array(bias, f"{name}.bias")]
        inputs = [value, f"{name}.weight", f"{name}.bias"]
        nodes.append(helper.make_node("Conv", inputs, [f"c{index}"], f"conv{index}", pads=[1] * 4))
        value, width = f"r{index}", channels
        nodes.append(helper.make_node("Relu", [f"c{index}"], [value], f"relu{index}"))
    kernel = rng.normal(0, 1, (4, width, 1, 1)).astype(np.float32)
    weights.append(numpy_helper.from_array(kernel, "fusion.classifier.weight"))
    nodes.append(helper.make_node("Conv", [value, "fusion.classifier.weight"], ["parsing"], "classifier"))
    shape = [1, 3, side, side]
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("parsing", TensorProto.FLOAT, [1, 4, side, side])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return shape_inference.infer_shapes(model).SerializeToString()


def loaded(model: bytes) -> ir.Model:
    """The model as onnx_ir holds it."""
    return ir.from_proto(onnx.load_from_string(model))
