"""What an exported file asks of a machine: FLOPs split by arithmetic, bytes, on graphs counted by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from benchmarks.ceiling_sources import Chain, conv_chain
from benchmarks.workload import Workload, workload_of, workload_of_file
from tests.export.reading import read_onnx

CHAIN = Chain(((8, 4, 3), (4, 8, 1)), 10)
FLOPS = (2 * 10 * 10 * 4 * 8 * 9, 2 * 10 * 10 * 8 * 4)
VALUES = (8 * 100 + 4 * 8 * 9 + 4 * 100, 4 * 100 + 8 * 4 + 8 * 100)


def test_a_float_graph_is_all_float() -> None:
    work = workload_of(conv_chain(CHAIN, quantised=False))
    assert work == Workload(0, sum(FLOPS), 0, sum(VALUES))
    assert work.flops == CHAIN.flops
    assert work.bytes() == 4 * sum(VALUES)
    assert work.bytes("bf16") == 2 * sum(VALUES)
    assert work.by_arithmetic("bf16") == {"bf16": sum(FLOPS)}


def test_a_quantised_graph_is_all_int8() -> None:
    work = workload_of(conv_chain(CHAIN, quantised=True))
    assert work == Workload(sum(FLOPS), 0, sum(VALUES), 0)
    assert work.by_arithmetic() == {"int8": sum(FLOPS)}
    assert work.bytes() == sum(VALUES)


def mixed(between: str | None) -> onnx.ModelProto:
    """The quantised chain whose second convolution has a float weight, or an operator before it."""
    model = conv_chain(CHAIN, quantised=True)
    second = next(node for node in model.graph.node if node.output[0] == "c1")
    if between is None:
        model.graph.initializer.append(numpy_helper.from_array(np.ones((8, 4, 1, 1), np.float32), "plain"))
        second.input[1] = "plain"
    else:
        index = list(model.graph.node).index(second)
        model.graph.node.insert(index, helper.make_node(between, [second.input[0]], ["moved"]))
        next(node for node in model.graph.node if node.output[0] == "c1").input[0] = "moved"
    return model


@pytest.mark.parametrize("between", [None, "Sigmoid"])
def test_a_product_on_floats_counts_as_float_in_a_quantised_graph(between: str | None) -> None:
    assert workload_of(mixed(between)) == Workload(FLOPS[0], FLOPS[1], VALUES[0], VALUES[1])


def test_moving_values_between_keeps_a_product_quantised() -> None:
    assert workload_of(mixed("Identity")).float_flops == 0


def test_a_file_is_counted_as_inspect_counts_it(tiny_model: Path) -> None:
    work = workload_of_file(tiny_model)
    assert work.flops == read_onnx(tiny_model).flops > 0
    assert work.int8_flops == 0


def test_matrix_products_count_their_inner_length() -> None:
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [5, 7])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [5, 3])],
        [numpy_helper.from_array(np.ones((7, 3), np.float32), "w")],
    )
    assert workload_of(helper.make_model(graph)) == Workload(0, 2 * 5 * 7 * 3, 0, 35 + 21 + 15)
