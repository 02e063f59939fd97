"""The fused nodes fire exactly once where they fit, say why where they do not, and compute what their ops define."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import inliner

from ce2p.families import preprocessing_for
from ce2p.models import CE2P
from ce2p_export import GraphOptions, deploy
from ce2p_export.fusions import append_label_map, insert_edge_fusion
from ce2p_export.fusions.edge_fusion import OP
from ce2p_export.onnx_graph import build_graph
from ce2p_runtime.ops import edge_fusion_reference, label_map_reference

Tiny = Callable[..., CE2P]
SIZE = (97, 81)


def graph_of(net: CE2P, *, fused: bool, fold: bool = True) -> tuple[ir.Model, int, str]:
    shaped = deploy(net, SIZE).net if fold else net
    model, fusion = build_graph(shaped, preprocessing_for(net.config.family), GraphOptions(SIZE), fused_ops=fused)
    return model, fusion.count, fusion.reason


def run(model: ir.Model, feeds: dict[str, NDArray[np.generic]]) -> NDArray[np.generic]:
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, feeds)[0])


@pytest.mark.parametrize("family", ["schp", "mce2p", "ssseg-2020"])
def test_edge_fusion_fires_once_and_changes_no_number(tiny: Tiny, family: str) -> None:
    plain, _, _ = graph_of(tiny(family), fused=False)
    fused, count, reason = graph_of(tiny(family), fused=True)
    assert (count, reason) == (1, "")
    ours = [node for node in fused.graph if node.domain == "ce2p"]
    assert [node.op_type for node in ours] == ["CE2PEdgeFusion"]
    assert ours[0].attributes["plugin_namespace"].as_string() == "ce2p"
    assert ours[0].attributes["plugin_version"].as_string() == "1"
    assert ours[0].attributes["slope"].as_float() == pytest.approx(0.0 if family == "mce2p" else 0.01)
    assert ours[0].attributes["align_corners"].as_int() == int(family != "ssseg-2020")
    image = np.random.default_rng(0).standard_normal((1, 3, *SIZE), np.float32)
    # The body is the same arithmetic in another place; only ORT's own fusions may round differently.
    np.testing.assert_allclose(run(fused, {"image": image}), run(plain, {"image": image}), rtol=1e-4, atol=1e-5)


def test_edge_fusion_leaves_ssseg_alone_and_says_why(tiny: Tiny) -> None:
    model, count, reason = graph_of(tiny("ssseg"), fused=True)
    assert count == 0
    assert "second convolution" in reason
    assert not [node for node in model.graph if node.domain == "ce2p"]


def test_edge_fusion_refuses_an_unfolded_network(tiny: Tiny) -> None:
    _, count, reason = graph_of(tiny("schp"), fused=True, fold=False)
    assert count == 0
    assert reason


def test_edge_fusion_refuses_a_sum_that_others_read(tiny: Tiny) -> None:
    model, _, _ = graph_of(tiny("schp"), fused=False)
    classifier = model.graph.outputs[0].producer()
    assert classifier is not None
    activation = classifier.inputs[0]
    assert activation is not None
    model.graph.outputs.append(activation)
    result = insert_edge_fusion(model, "parsing", align_corners=True)
    assert result.count == 0
    assert "used elsewhere" in result.reason


def test_edge_fusion_takes_sums_either_way_round(tiny: Tiny) -> None:
    model, _, _ = graph_of(tiny("schp"), fused=False)
    activation = model.graph.outputs[0].producer().inputs[0].producer()  # type: ignore[union-attr]
    outer = activation.inputs[0].producer()  # type: ignore[union-attr]
    first, second = outer.inputs  # type: ignore[union-attr]
    outer.replace_input_with(0, second)  # type: ignore[union-attr]
    outer.replace_input_with(1, first)  # type: ignore[union-attr]
    assert insert_edge_fusion(model, "parsing", align_corners=True).count == 1


def test_edge_fusion_refuses_a_wider_classifier(tiny: Tiny) -> None:
    model, _, _ = graph_of(tiny("schp"), fused=False)
    weight = model.graph.outputs[0].producer().inputs[1]  # type: ignore[union-attr]
    weight.shape = ir.Shape([20, 64, 3, 3])  # type: ignore[union-attr]
    result = insert_edge_fusion(model, "parsing", align_corners=True)
    assert result.count == 0
    assert "1x1 convolution" in result.reason


def single_node_model(
    op: str, inputs: dict[str, NDArray[np.float32]], output: ir.Value
) -> tuple[ir.Model, list[ir.Value]]:
    values = [
        ir.Value(name=name, shape=ir.Shape(array.shape), type=ir.TensorType(ir.DataType.FLOAT))
        for name, array in inputs.items()
    ]
    graph = ir.Graph(values, [output], nodes=[], opset_imports={"": 20, "ce2p": 1}, name=op)
    return ir.Model(graph, ir_version=10), values


@pytest.mark.parametrize("align_corners", [True, False])
def test_the_body_of_edge_fusion_is_its_reference(align_corners: bool) -> None:
    rng = np.random.default_rng(1)
    shapes = {"a": (2, 16, 13, 11), "b": (2, 16, 7, 6), "c": (2, 16, 4, 3), "weight": (5, 16, 1, 1), "bias": (5,)}
    feeds = {name: rng.standard_normal(shape, np.float32) for name, shape in shapes.items()}
    logits = ir.Value(name="logits", shape=ir.Shape([2, 5, 13, 11]), type=ir.TensorType(ir.DataType.FLOAT))
    model, values = single_node_model("edge_fusion", feeds, logits)
    attributes = {"slope": 0.2, "align_corners": int(align_corners)}
    converted = ir.convenience.convert_attributes(OP.node_attributes(attributes))
    model.graph.append(ir.Node("ce2p", OP.name, values, converted, outputs=[logits]))
    OP.define(model, attributes)
    expected = edge_fusion_reference(
        feeds["a"],
        feeds["b"],
        feeds["c"],
        feeds["weight"][:, :, 0, 0],
        feeds["bias"],
        slope=0.2,
        align_corners=align_corners,
    )
    # 16 products and two interpolations in float32: errors of a few 1e-6 at values of order 5.
    np.testing.assert_allclose(run(model, feeds), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize("classes", [2, 20, 59])
def test_the_body_of_label_map_is_its_reference(classes: int, align_corners: bool) -> None:
    logits = np.random.default_rng(2).standard_normal((2, classes, 9, 8), np.float32)
    parsing = ir.Value(name="parsing", shape=ir.Shape(logits.shape), type=ir.TensorType(ir.DataType.FLOAT))
    graph = ir.Graph([parsing], [parsing], nodes=[], opset_imports={"": 20}, name="label_map")
    model = ir.Model(graph, ir_version=10)
    append_label_map(model, "parsing", (33, 29), align_corners)
    labels = run(model, {"parsing": logits})
    assert labels.dtype == np.uint8
    for found, item in zip(labels, logits, strict=True):
        expected = label_map_reference(item, None, (33, 29), (33, 29), align_corners=align_corners)
        # Two classes may tie to the last bit of an interpolation; on noise that is rarer than 1 pixel in 1000.
        assert (found == expected).mean() > 0.999


def test_functions_can_be_inlined_for_readers_that_do_not_expand_them(tiny: Tiny) -> None:
    model, _, _ = graph_of(tiny("schp"), fused=True)
    inlined = inliner.inline_local_functions(ir.to_proto(model))
    assert not inlined.functions
    assert all(node.domain == "" for node in inlined.graph.node)
    onnx.checker.check_model(inlined, full_check=True)
