"""Sums of many branches: one convolution after the other joins what is there; the value stays."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper, shape_inference

from ce2p.families import preprocessing_for
from ce2p.models import CE2P
from ce2p_export import GraphOptions, deploy
from ce2p_export.onnx_graph import trace_graph
from ce2p_export.precision.calibration import collect
from ce2p_export.precision.converters import PrecisionPlan, convert
from ce2p_export.precision.int8 import tensors_to_calibrate
from ce2p_export.precision.ranges import activation_ranges
from ce2p_export.precision.sums import chain_sums
from tests.export.precision.networks import loaded

SHAPE = [1, 4, 6, 6]
IMAGE = np.random.default_rng(0).uniform(-1, 1, SHAPE).astype(np.float32)


def network(sums: list[tuple[str, str, str]], outputs: tuple[str, ...] = ("out",)) -> bytes:
    """Convolutions `p`, `e` and `f` of `image`, `b` and `c` pooled from it; then `sums` (left, right, name)."""
    rng = np.random.default_rng(1)
    names = {name: f"fusion.over_{name}.weight" for name in "pef"}
    weights = [numpy_helper.from_array(rng.normal(0, 0.4, (4, 4, 1, 1)).astype(np.float32), w) for w in names.values()]
    weights.append(numpy_helper.from_array(rng.normal(0, 1, (1, 4, 1, 1)).astype(np.float32), "column"))
    nodes = [helper.make_node("Conv", ["image", weight], [name], name) for name, weight in names.items()]
    for name, side in (("b", 3), ("c", 5)):
        pads = [side // 2] * 4
        nodes.append(helper.make_node("AveragePool", ["image"], [name], name, kernel_shape=[side, side], pads=pads))
    nodes += [helper.make_node("Add", [left, right], [name], f"sum_{name}") for left, right, name in sums]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, SHAPE)],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, SHAPE) for output in outputs],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return shape_inference.infer_shapes(model).SerializeToString()


LAST_SUM = [("p", "e", "pe"), ("pe", "b", "peb"), ("peb", "c", "out")]
"""As the fusion is traced."""


def chained(model: bytes) -> tuple[bytes, list[str]]:
    changed = loaded(model)
    made = chain_sums(changed.graph)
    proto = ir.to_proto(changed)
    onnx.checker.check_model(proto, full_check=True)
    return proto.SerializeToString(), made


def run(model: bytes, image: NDArray[np.float32] = IMAGE) -> list[NDArray[np.float32]]:
    """As the graph says, operator by operator."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return [np.asarray(output) for output in session.run(None, {"image": image})]


def sums_of(model: bytes) -> list[tuple[str, ...]]:
    return [tuple(value.name or "" for value in n.inputs if value) for n in loaded(model).graph if n.op_type == "Add"]


def test_branches_are_summed_first_and_then_every_convolution_joins() -> None:
    before = network(LAST_SUM)
    after, made = chained(before)
    assert made == ["out_part0", "out_part1"]
    assert sums_of(after) == [("c", "b"), ("e", "out_part0"), ("p", "out_part1")]
    # Three float32 additions of values below 8, in another order.
    assert np.abs(run(after)[0] - run(before)[0]).max() <= 3 * 2**3 * np.finfo(np.float32).eps


def test_convolutions_alone_are_chained_and_a_second_pass_changes_nothing_more() -> None:
    before = network([("p", "e", "pe"), ("pe", "f", "out")])
    after, made = chained(before)
    assert len(made) == 1
    assert sums_of(after) == [("e", "f"), ("p", "out_part0")]
    np.testing.assert_allclose(run(after)[0], run(before)[0], atol=1e-6)
    branches = [set(sums) for sums in sums_of(chained(after)[0])]
    assert branches[0] == {"e", "f"}


@pytest.mark.parametrize(
    ("sums", "outputs"),
    [
        ([("p", "image", "out")], ("out",)),
        ([("b", "c", "bc"), ("bc", "image", "out")], ("out",)),
        ([("p", "e", "pe"), ("pe", "b", "out")], ("out", "pe")),
        ([("p", "column", "pc"), ("pc", "b", "out")], ("out",)),
    ],
    ids=["of two", "no convolution", "a part is an output", "a broadcast"],
)
def test_other_sums_stay(sums: list[tuple[str, str, str]], outputs: tuple[str, ...]) -> None:
    model = network(sums, outputs)
    after, made = chained(model)
    assert made == []
    assert sums_of(after) == sums_of(model)


def test_a_convolution_that_others_read_counts_as_a_branch() -> None:
    model = network([("p", "e", "pe"), ("pe", "b", "pb"), ("pb", "p", "out")])
    after, _ = chained(model)
    assert sums_of(after)[-1][0] == "e"  # its kernel alone may write the sum in place of its own product
    np.testing.assert_allclose(run(after)[0], run(model)[0], atol=1e-6)


def test_in_8_bits_the_order_costs_the_roundings_of_its_parts_and_no_more() -> None:
    """Each value of either order is rounded a few times, by half a step of its range at most."""
    found, steps = [], 0.0
    plain = run(network(LAST_SUM))[0]
    for model in (network(LAST_SUM), chained(network(LAST_SUM))[0]):
        ranges = activation_ranges(collect(model, tensors_to_calibrate(loaded(model).graph), [IMAGE]), "minmax")
        found.append(run(_serialised(convert(model, "int8", PrecisionPlan(frozenset(), "cpu", ranges))))[0])
        steps = sum((high - low) / 255 for low, high in ranges.values())
    # Two convolutions over 4 channels: half a step of a pixel (2/255) times a weight below 2, and half a step of such a
    # weight (2/127) times a pixel below 1.
    products = 2 * 4 * (1 / 255 * 2 + 1 / 127)
    for result in found:
        assert np.abs(result - plain).max() <= steps / 2 + products


def test_the_networks_last_sum_is_chained_and_its_residual_sums_stay(tiny: Callable[..., CE2P]) -> None:
    size = (97, 81)
    graph = trace_graph(deploy(tiny("schp"), size).net, preprocessing_for("schp"), GraphOptions(size))
    before = ir.to_proto(graph).SerializeToString()
    after, made = chained(before)
    assert len(made) == 2
    assert len(sums_of(after)) == len(sums_of(before))
    makers = {value.name: node.op_type for node in loaded(after).graph for value in node.outputs}
    assert [tuple(makers[name] for name in sums) for sums in sums_of(after)[-3:]] == [
        ("Resize", "Resize"),
        ("Conv", "Add"),
        ("Conv", "Add"),
    ]
    image = np.random.default_rng(0).normal(0, 1, (1, 3, *size)).astype(np.float32)
    reference, found = run(before, image)[0], run(after, image)[0]
    assert np.linalg.norm(found - reference) <= 1e-6 * np.linalg.norm(reference)


def _serialised(model: ir.Model) -> bytes:
    return ir.to_proto(model).SerializeToString()
