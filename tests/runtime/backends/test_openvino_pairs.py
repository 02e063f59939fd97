"""Q/DQ pairs that OpenVINO does without: which go, which stay, and that the graph still computes the same."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from ce2p_runtime.backends.openvino_pairs import drop_separating_pairs

SHAPE = [1, 4, 6, 6]
STEP = 2.0**-6
"""Of all pairs; the values below are within ±1, so that uint8 around 128 holds them."""


class Builder:
    """Nodes with a pair behind each, as an int8 file has them."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights = [
            numpy_helper.from_array(np.float32(STEP), "step"),
            numpy_helper.from_array(np.uint8(128), "middle"),
        ]
        self.rng = np.random.default_rng(3)

    def paired(self, op_type: str, *inputs: str, pair: bool = True, **attributes: object) -> str:
        """Add a node; its value, read through a pair unless `pair` is False."""
        name = f"{op_type.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op_type, list(inputs), [name], name, **attributes))
        return self.pair(name) if pair else name

    def pair(self, value: str) -> str:
        self.nodes.append(helper.make_node("QuantizeLinear", [value, "step", "middle"], [f"{value}_q"]))
        self.nodes.append(helper.make_node("DequantizeLinear", [f"{value}_q", "step", "middle"], [f"{value}_dq"]))
        return f"{value}_dq"

    def conv(self, value: str) -> str:
        weight = f"weight_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(self.rng.normal(0, 0.3, (4, 4, 1, 1)).astype(np.float32), weight))
        return self.paired("Conv", value, weight)

    def model(self, *outputs: str) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes,
            "g",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, SHAPE)],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, SHAPE) for output in outputs],
            self.weights,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
        onnx.checker.check_model(model, full_check=True)
        return model


def run(model: onnx.ModelProto) -> np.ndarray:
    image = np.random.default_rng(0).uniform(-1, 1, SHAPE).astype(np.float32)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"image": image})[0])


def unquantised(model: onnx.ModelProto) -> set[str]:
    """Nodes whose value is read without a pair."""
    quantised = {node.input[0] for node in model.graph.node if node.op_type == "QuantizeLinear"}
    return {n.name for n in model.graph.node if not n.op_type.endswith("Linear") and n.output[0] not in quantised}


def checked(model: onnx.ModelProto) -> tuple[int, set[str]]:
    """How many pairs go, and whose; what is computed may change by the roundings that are gone."""
    before = run(model)
    dropped = drop_separating_pairs(model)
    onnx.checker.check_model(model, full_check=True)
    # Each pair taken away was worth half a step, passed on by layers that add up at most four values of it.
    assert np.abs(run(model) - before).max() <= STEP * (1 + 2 * dropped)
    return dropped, unquantised(model)


def test_an_activation_joins_its_convolution() -> None:
    b = Builder()
    out = b.paired("LeakyRelu", b.conv(b.pair("image")), alpha=0.01)
    assert checked(b.model(out)) == (1, {"conv_2"})


@pytest.mark.parametrize("last", ["LeakyRelu", "Relu"])
def test_sums_in_front_of_a_leaky_relu_join_and_residual_sums_stay(last: str) -> None:
    b = Builder()
    image = b.pair("image")
    one, two = b.conv(image), b.conv(image)
    inner = b.paired("Add", one, two)
    resized = b.paired("Resize", b.conv(image), "", "", "size", mode="linear")
    b.weights.append(numpy_helper.from_array(np.array(SHAPE, np.int64), "size"))
    outer = b.paired("Add", inner, resized)
    model = b.model(b.paired(last, outer, **({"alpha": 0.01} if last == "LeakyRelu" else {})))
    dropped, without = checked(model)
    kinds = {name.rsplit("_", 1)[0] for name in without}
    if last == "Relu":
        assert dropped == 0
    else:  # two convolutions, both sums; the upsampling and the convolution in front of it keep theirs
        assert dropped == 4
        assert kinds == {"conv", "add"}
        assert len(without) == 4


def test_a_convolution_added_to_something_else_keeps_its_pair() -> None:
    b = Builder()
    image = b.pair("image")
    total = b.paired("Add", b.conv(image), image)
    dropped, without = checked(b.model(b.paired("LeakyRelu", total, alpha=0.1)))
    assert dropped == 1
    assert {name.rsplit("_", 1)[0] for name in without} == {"add"}


def test_a_sum_that_a_convolution_joins_keeps_its_pair() -> None:
    """p + (e + (b + c)): the kernels of p and e add the bytes that are there; the last sum joins its activation."""
    b = Builder()
    b.weights.append(numpy_helper.from_array(np.array(SHAPE, np.int64), "size"))
    image = b.pair("image")
    up, over = (b.paired("Resize", b.conv(image), "", "", "size", mode="linear") for _ in range(2))
    total = b.paired("Add", b.conv(image), b.paired("Add", b.conv(image), b.paired("Add", up, over)))
    last = b.nodes[-3].name
    assert checked(b.model(b.paired("LeakyRelu", total, alpha=0.01))) == (1, {last})


@pytest.mark.parametrize("labels", [False, True])
def test_logits_are_read_without_a_pair(labels: bool) -> None:
    b = Builder()
    b.weights.append(numpy_helper.from_array(np.array(SHAPE, np.int64), "size"))
    out = b.conv(b.pair("image"))
    if labels:
        out = b.paired("Resize", out, "", "", "size", pair=False, mode="linear")
    model = b.model(out)
    dropped, without = checked(model)
    assert dropped == 1
    assert {name.rsplit("_", 1)[0] for name in without} == ({"conv", "resize"} if labels else {"conv"})
    assert [output.name for output in model.graph.output] == [out]


def test_what_others_read_or_leaves_the_graph_keeps_its_pair() -> None:
    b = Builder()
    shared = b.conv(b.pair("image"))
    out = b.paired("Add", b.paired("LeakyRelu", shared, alpha=0.01), shared)
    assert drop_separating_pairs(b.model(out)) == 0
    b = Builder()
    left = b.conv(b.pair("image"))
    model = b.model(b.paired("LeakyRelu", left, alpha=0.01), left.removesuffix("_dq"))
    assert drop_separating_pairs(model) == 0


def test_a_graph_without_pairs_is_left_alone() -> None:
    b = Builder()
    b.weights.append(numpy_helper.from_array(np.ones((4, 4, 1, 1), np.float32), "w"))
    out = b.paired("LeakyRelu", b.paired("Conv", "image", "w", pair=False), pair=False, alpha=0.01)
    model = b.model(out)
    before = model.SerializeToString()
    assert drop_separating_pairs(model) == 0
    assert model.SerializeToString() == before
