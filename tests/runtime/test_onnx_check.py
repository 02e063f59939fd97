"""Sizes of a graph's tensors: ours are those that the libraries find, for our files and for single operators."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, inliner, numpy_helper, shape_inference

from ce2p.models import CE2P
from ce2p_export import GraphOptions
from ce2p_runtime.onnx_check import read_model, survey
from ce2p_runtime.onnx_check.operators import OPERATORS, made_by
from ce2p_runtime.onnx_check.sizes import Sized
from ce2p_runtime.onnx_check.survey import inlined
from tests.export.engine.graphs import quantised, written
from tests.export.reading import read_onnx

Tiny = Callable[..., CE2P]


def shapes_of(path: Path) -> dict[str, tuple[int, ...]]:
    """Every tensor's shape by our rules, a dynamic batch as 1."""
    model = read_model(path.read_bytes())
    known = {name: Sized(tensor.shape, tensor.values) for name, tensor in model.stored.items()}
    known |= {port.name: Sized(tuple(1 if size is None else size for size in port.shape)) for port in model.inputs}
    for node in inlined(model):
        made = made_by(node, tuple(known.get(name) for name in node.inputs))
        known |= dict.fromkeys(node.outputs, made.output)
    return {name: tensor.shape for name, tensor in known.items()}


CASES: list[tuple[str, dict[str, Any]]] = [
    ("schp", {"precision": "fp16", "edge": True}),
    ("ce2p", {"precision": "bf16", "batch": 2}),
    ("ssseg", {"batch": None, "edge": True}),
    ("ssseg-2020", {"input_kind": "uint8", "output_kind": "labels"}),
]


@pytest.mark.parametrize(("family", "options"), CASES, ids=lambda value: str(value)[:40])
def test_sizes_of_our_files_are_those_that_onnx_infers(
    tiny: Tiny, tmp_path: Path, family: str, options: dict[str, Any]
) -> None:
    path = written(tiny(family), GraphOptions((97, 81), **options), tmp_path / "x.onnx")
    compare_with_onnx(path)


def test_sizes_of_quantised_files_too(tiny: Tiny, tmp_path: Path) -> None:
    source = written(tiny("schp"), GraphOptions((97, 81)), tmp_path / "x.onnx")
    compare_with_onnx(quantised(source, tmp_path / "q.onnx", symmetric=False))


def compare_with_onnx(path: Path) -> None:
    ours = shapes_of(path)
    model = onnx.load(str(path))
    del model.graph.value_info[:]
    inferred = shape_inference.infer_shapes(inliner.inline_local_functions(model), data_prop=True).graph
    compared = 0
    for value in [*inferred.value_info, *inferred.output]:
        if value.name in ours:  # the inliner renames what is inside of functions
            assert ours[value.name] == tuple(size.dim_value or 1 for size in value.type.tensor_type.shape.dim)
            compared += 1
    assert compared > 0.9 * len(model.graph.node)
    found = survey(read_model(path.read_bytes()))
    assert 2 * found.products == read_onnx(path).flops
    assert sum(math.prod(t.dims) for t in model.graph.initializer) == read_onnx(path).parameters
    assert found.peak >= max(math.prod(shape) for name, shape in ours.items() if name not in stored_in(model))


def stored_in(model: onnx.ModelProto) -> set[str]:
    return {tensor.name for tensor in model.graph.initializer}


X = (2, 6, 9, 11)


def ints(*values: int) -> np.ndarray[Any, Any]:
    return np.array(values, np.int64)


NODES: list[tuple[str, list[Any], dict[str, Any]]] = [
    *[
        (
            "Conv",
            [np.ones((4, 6 // group, 3, 2), np.float32)],
            {"group": group, "strides": strides, "dilations": dilations, "pads": pads},
        )
        for group, strides, dilations, pads in [
            (1, [1, 1], [1, 1], [0, 0, 0, 0]),
            (2, [2, 3], [1, 2], [1, 0, 2, 1]),
            (1, [3, 2], [3, 4], [3, 1, 0, 2]),
        ]
    ],
    *[
        (kind, [], {"kernel_shape": kernel, "strides": strides, "pads": pads, "ceil_mode": ceil})
        for kind in ("MaxPool", "AveragePool")
        for ceil in (0, 1)
        for kernel, strides, pads in [
            ([3, 3], [2, 2], [1, 1, 1, 1]),
            ([2, 3], [3, 4], [0, 1, 1, 0]),
            ([2, 2], [2, 2], [0] * 4),
        ]
    ],
    ("GlobalAveragePool", [], {}),
    ("MatMul", [np.ones((11, 5), np.float32)], {}),
    ("MatMul", [np.ones((6, 11, 5), np.float32)], {}),
    ("Add", [np.ones((9, 1), np.float32)], {}),
    ("Mul", [np.ones((3, 1, 1, 1, 1), np.float32)], {}),
    ("PRelu", [np.ones((6, 1, 1), np.float32)], {}),
    ("Clip", [], {}),
    ("Softmax", [], {"axis": 1}),
    ("Transpose", [], {"perm": [0, 2, 3, 1]}),
    ("Transpose", [], {}),
    ("Reshape", [ints(0, -1, 3)], {}),
    ("Reshape", [ints(2, 54, 11)], {}),
    ("Squeeze", [ints(0)], {"first": (1, 6, 9, 11)}),
    ("Squeeze", [], {"first": (1, 6, 1, 11)}),
    ("Unsqueeze", [ints(0, -1)], {}),
    ("Slice", [ints(1, 2), ints(2**63 - 1, -2), ints(1, 3), ints(2, 3)], {}),
    ("Slice", [ints(-1), ints(-(2**62)), ints(3), ints(-2)], {}),
    ("Slice", [ints(7), ints(0), ints(2), ints(-3)], {}),
    ("Slice", [ints(5), ints(3), ints(2)], {}),
    ("Concat", [np.ones((2, 6, 4, 11), np.float32)], {"axis": -2}),
    ("Gather", [np.zeros((2, 3), np.int64)], {"axis": 2}),
    ("GatherND", [np.zeros((5, 2), np.int64)], {}),
    ("GatherND", [np.zeros((2, 5, 1), np.int64)], {"batch_dims": 1}),
    ("Pad", [ints(0, 0, 1, 2, 0, 0, 3, -4)], {}),
    ("Resize", [np.array([], np.float32), np.array([], np.float32), ints(2, 6, 20, 7)], {"mode": "linear"}),
    ("Resize", [np.array([], np.float32), np.array([1, 1, 1.7, 0.4], np.float32)], {"mode": "nearest"}),
    ("Shape", [], {"start": 1, "end": -1}),
    ("ReduceMean", [ints(1, -1)], {"keepdims": 0}),
    ("ReduceMax", [], {}),
    ("ArgMax", [], {"axis": 1, "keepdims": 0}),
    ("Cast", [], {"to": 7}),
    ("Identity", [], {}),
]


@pytest.mark.parametrize(("operator", "inputs", "attributes"), NODES, ids=lambda value: str(value)[:30])
def test_sizes_are_those_that_come_out(
    operator: str, inputs: list[Any], attributes: dict[str, Any], tmp_path: Path
) -> None:
    """Against ONNX Runtime, which makes the tensor."""
    attributes = dict(attributes)
    first = attributes.pop("first", X)
    names = [f"i{index}" for index in range(len(inputs))]
    used = [name if value.size else "" for name, value in zip(names, inputs, strict=True)]
    stored = [numpy_helper.from_array(value, name) for name, value in zip(names, inputs, strict=True)]
    kind = TensorProto.INT64 if operator in ("Shape", "ArgMax", "Cast") else TensorProto.FLOAT
    ports = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, first),
        helper.make_tensor_value_info("y", kind, None),
    ]
    node = helper.make_node(operator, ["x", *used], ["y"], **attributes)
    graph = helper.make_graph([node], "g", ports[:1], ports[1:], stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (made,) = session.run(None, {"x": np.zeros(first, np.float32)})
    model.graph.output[0].type.tensor_type.shape.SetInParent()  # of no dimensions: ours looks at what comes out
    path = tmp_path / "x.onnx"
    path.write_bytes(model.SerializeToString())
    assert shapes_of(path)["y"] == np.shape(made)


def test_every_operator_that_may_be_there_is_tested_or_as_large_as_its_input() -> None:
    from ce2p_runtime.onnx_check.layer_rules import broadcasting, same_shape

    untested = OPERATORS.keys() - {name for name, *_ in NODES}
    alike = {name for name, rule in OPERATORS.items() if rule in (same_shape, broadcasting)}
    alike |= {"Sub", "Div", "GlobalMaxPool", "ReduceMin", "ReduceSum", "Constant"}  # as Add, GlobalAveragePool, ...
    assert untested <= alike


def test_shapes_that_a_graph_works_out_are_followed(tmp_path: Path) -> None:
    """Shape -> slices and sums -> Resize, as exports of a dynamic batch have it."""
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "last"], ["w"]),
        helper.make_node("Mul", ["w", "two"], ["wide"]),
        helper.make_node("Div", ["wide", "three"], ["third"]),
        helper.make_node("Slice", ["s", "zero", "three"], ["front"]),
        helper.make_node("Concat", ["front", "third"], ["size"], axis=0),
        helper.make_node("Resize", ["x", "", "", "size"], ["y"]),
    ]
    values = {"last": [3], "two": [2], "three": [3], "zero": [0]}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, X)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [])],
        [numpy_helper.from_array(ints(*numbers), name) for name, numbers in values.items()],
    )
    path = tmp_path / "x.onnx"
    path.write_bytes(helper.make_model(graph).SerializeToString())
    assert shapes_of(path)["y"] == (2, 6, 9, 7)


def test_a_tensor_counts_until_its_last_use(tmp_path: Path) -> None:
    nodes = [helper.make_node("Relu", [f"v{i}"], [f"v{i + 1}"]) for i in range(5)]
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [100]) for name in ("v0", "v5")]
    graph = helper.make_graph(nodes, "chain", ports[:1], ports[1:])
    assert survey(read_model(helper.make_model(graph).SerializeToString())).peak == 200
    graph.node.append(helper.make_node("Sum", ["v1", "v2", "v3"], ["late"]))  # keeps three of them
    assert survey(read_model(helper.make_model(graph).SerializeToString())).peak == 500
