"""FLOPs read from a graph: counted by hand, quantised graphs and unknown shapes included."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from ce2p.errors import CE2PError
from tests.export.reading import read_onnx


def quantised_conv(path: Path, *, weight_shape: bool = True) -> Path:
    """x -> Q -> DQ -> Conv 3x3, 4 to 6 channels, weight through DequantizeLinear -> y, on 5x7 pixels."""
    weight = numpy_helper.from_array(np.ones((6, 4, 3, 3), np.int8), "w")
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["dx"]),
        helper.make_node("DequantizeLinear", ["w", "scale", "none"], ["dw"]),
        helper.make_node("Conv", ["dx", "dw"], ["y"], pads=[1, 1, 1, 1]),
    ]
    if not weight_shape:  # an operator of somebody else's, whose output no inference knows
        nodes[2] = helper.make_node("Unpack", ["w"], ["dw"], domain="somebody")
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4, 5, 7])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 6, 5, 7])],
        [
            weight,
            numpy_helper.from_array(np.float32(0.1), "scale"),
            numpy_helper.from_array(np.uint8(0), "zero"),
            numpy_helper.from_array(np.int8(0), "none"),
        ],
    )
    domains = [helper.make_opsetid("", 21), helper.make_opsetid("somebody", 1)]
    model = helper.make_model(graph, opset_imports=domains)
    model.ir_version = 10
    onnx.save(model, path)
    return path


def test_quantised_convolutions_count(tmp_path: Path) -> None:
    facts = read_onnx(quantised_conv(tmp_path / "q.onnx"))
    assert facts.flops == 2 * 6 * 5 * 7 * 4 * 9
    assert facts.operators["Conv"] == 1


def test_an_unknown_shape_is_named_rather_than_left_out(tmp_path: Path) -> None:
    with pytest.raises(CE2PError, match="the shape of dw is unknown"):
        read_onnx(quantised_conv(tmp_path / "u.onnx", weight_shape=False))
