"""8 bits for two targets: where the pairs stand, what they hold, and that a kernel can compute with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Literal

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from numpy.typing import NDArray

from ce2p.errors import CE2PError
from ce2p.families import FAMILIES, preprocessing_for
from ce2p.models import CE2P
from ce2p_export import GraphOptions, deploy
from ce2p_export.onnx_graph import finish_graph, trace_graph
from ce2p_export.precision.calibration import collect
from ce2p_export.precision.converters import PrecisionPlan, convert
from ce2p_export.precision.groups import HIGH_PRECISION, layer_groups
from ce2p_export.precision.half import producer_of
from ce2p_export.precision.int8 import FLAVOURS, SMALLEST_SCALE, nodes_to_quantise, tensors_to_calibrate
from ce2p_export.precision.ranges import activation_ranges
from ce2p_export.tensorrt import BuildSettings, EngineError, build_plan
from ce2p_runtime.backends.onnxruntime import _DISABLED_OPTIMIZERS
from tests.export.precision.networks import chain, loaded

Tiny = Callable[..., CE2P]
SIZE = (97, 81)
Ranges = dict[str, tuple[float, float]]


def spared(pure: bytes) -> frozenset[str]:
    """The groups of a network that int8 spares."""
    return frozenset(HIGH_PRECISION) & layer_groups(loaded(pure).graph).keys()


@pytest.fixture(scope="module")
def traced(tiny: Tiny) -> tuple[bytes, Ranges, NDArray[np.float32]]:
    """The pure graph of a tiny SCHP network, ranges from two inputs, and one of these."""
    net = deploy(tiny("schp"), SIZE).net
    model = trace_graph(net, preprocessing_for("schp"), GraphOptions(SIZE))
    tensors = tensors_to_calibrate(model.graph)
    pure = ir.to_proto(model).SerializeToString()
    images = [np.random.default_rng(seed).normal(0, 1, (1, 3, *SIZE)).astype(np.float32) for seed in range(2)]
    return pure, activation_ranges(collect(pure, tensors, images), "minmax"), images[0]


def run(model: ir.Model, image: NDArray[np.float32]) -> NDArray[np.float32]:
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), providers=["CPUExecutionProvider"], disabled_optimizers=_DISABLED_OPTIMIZERS["int8"]
    )
    output: NDArray[np.float32] = session.run(None, {"image": image})[0]
    return output


def plainly(model: ir.Model, image: NDArray[np.float32]) -> NDArray[np.float32]:
    """As the graph says, operator by operator: kernels for 8 bits may round a tie to the other side."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    content = ir.to_proto(model).SerializeToString()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    output: NDArray[np.float32] = session.run(None, {"image": image})[0]
    return output


def test_groups_are_blocks_and_branches(tiny: Tiny) -> None:
    for family in FAMILIES:
        net = deploy(tiny(family), SIZE, keep_edge=True).net
        graph = trace_graph(net, preprocessing_for(family), GraphOptions(SIZE, edge=True)).graph  # type: ignore[arg-type]
        groups = layer_groups(graph)
        assert sum(len(nodes) for nodes in groups.values()) == len(list(graph)), family
        blocks = [name for name in groups if name.startswith("backbone.layer")]
        assert blocks == [f"backbone.layer{stage}.{block}" for stage in (1, 2, 3, 4) for block in (0, 1)]
        assert {"backbone.stem", "pyramid.context", "pyramid.conv"} <= set(groups)
        assert set(HIGH_PRECISION) <= set(groups), family


def test_a_sum_belongs_to_the_block_that_ends_in_it(tiny: Tiny) -> None:
    net = deploy(tiny("schp"), SIZE).net
    graph = trace_graph(net, preprocessing_for("schp"), GraphOptions(SIZE)).graph
    kinds = {node.name: node.op_type for node in graph}
    for name, nodes in layer_groups(graph).items():
        if name.startswith("backbone.layer"):
            assert Counter(kinds[node] for node in nodes)["Add"] == 1


def test_cpu_files_hold_uint8_activations_and_int8_weights_per_channel(
    traced: tuple[bytes, Ranges, NDArray[np.float32]],
) -> None:
    pure, ranges, image = traced
    keep = spared(pure)
    model = convert(pure, "int8", PrecisionPlan(keep, "cpu", ranges))
    quantised = set(nodes_to_quantise(loaded(pure).graph, FLAVOURS["cpu"], keep))
    for node in model.graph:
        if node.op_type == "Conv":
            weight = node.inputs[1]
            assert weight is not None
            stored = weight.producer()
            if node.name not in quantised:
                assert stored is None
                assert weight.dtype == ir.DataType.FLOAT
                continue
            assert stored is not None
            assert stored.op_type == "DequantizeLinear"
            assert stored.inputs[0] is not None
            assert stored.inputs[0].dtype == ir.DataType.INT8
            assert stored.inputs[1] is not None
            assert stored.inputs[1].shape is not None
            assert list(stored.inputs[1].shape) == [weight.shape[0]]  # type: ignore[index]
        if node.op_type == "QuantizeLinear":
            assert node.inputs[2] is not None
            assert node.inputs[2].dtype == ir.DataType.UINT8
    assert {node.op_type for node in loaded(pure).graph if node.name in quantised} >= {"Conv", "Add", "Resize"}
    reference = run(loaded(pure), image)
    found = run(model, image)
    # An untrained network's logits; trained ones are judged by their labels.
    assert np.linalg.norm(found - reference) / np.linalg.norm(reference) < 0.2


def test_a_classifier_with_float_logits_differs_by_the_rounding_it_leaves_out(
    traced: tuple[bytes, Ranges, NDArray[np.float32]],
) -> None:
    pure, ranges, image = traced
    rounded = convert(pure, "int8", PrecisionPlan(frozenset(), "cpu", ranges))
    plan = PrecisionPlan(frozenset(), "cpu", ranges, unrounded=frozenset({"fusion.classifier"}))
    unrounded = convert(pure, "int8", plan)
    (output,) = unrounded.graph.outputs
    onnx.checker.check_model(ir.to_proto(unrounded), full_check=True)
    assert (output.name, output.dtype) == ("parsing", ir.DataType.FLOAT)
    classifier = producer_of(output)
    assert classifier.op_type == "Conv"
    assert [value.producer().op_type for value in classifier.inputs] == ["DequantizeLinear"] * 3  # type: ignore[union-attr]
    low, high = ranges["parsing"]
    step = (high - low) / 255
    logits, expected = plainly(unrounded, image), plainly(rounded, image)
    # A zero point is a whole number of steps, so the range moves by half a step at most.
    inside = np.clip(logits, expected.min(), expected.max())
    assert np.abs(inside - expected).max() <= step / 2 * 1.001
    assert len(np.unique(logits)) > len(np.unique(expected))


def test_an_unrounded_pyramid_rounds_its_taps_for_the_spread_and_the_sum_alone(
    traced: tuple[bytes, Ranges, NDArray[np.float32]],
) -> None:
    pure, ranges, image = traced
    group = frozenset({"pyramid.context"})
    model = convert(pure, "int8", PrecisionPlan(frozenset(), "cpu", ranges, unrounded=group))
    (concat,) = (node for node in model.graph if node.op_type == "Concat")
    for moved in concat.predecessors():
        assert moved.op_type == "Reshape"
        assert [node.op_type for node in moved.predecessors()] == ["Conv"]
    kinds, node = [], concat
    while node.op_type != "Add":
        (node,) = node.successors()
        kinds.append(node.op_type)
    pair = ["QuantizeLinear", "DequantizeLinear"]
    assert kinds == [*pair, "MatMul", "Reshape", *pair, "Add"]
    reference = run(loaded(pure), image)
    assert np.linalg.norm(run(model, image) - reference) / np.linalg.norm(reference) < 0.2


def test_tensorrt_files_are_symmetric_and_half_precision_in_between(
    traced: tuple[bytes, Ranges, NDArray[np.float32]],
) -> None:
    pure, ranges, image = traced
    keep = spared(pure)
    model = convert(pure, "int8", PrecisionPlan(keep, "tensorrt", ranges))
    fusion = finish_graph(model, GraphOptions(SIZE, precision="int8"), align_corners=True)
    assert fusion.count == 1  # our op stays whole: its inputs come from convolutions
    for node in model.graph:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear") and node.inputs[2] is not None:
            zero = node.inputs[2].const_value
            assert zero is not None
            assert node.inputs[2].dtype == ir.DataType.INT8
            assert not zero.numpy().any()
        if node.op_type == "Conv" and len(node.inputs) > 2 and node.inputs[2] is not None:
            assert node.inputs[2].is_initializer()  # the bias is left alone
            assert node.inputs[2].dtype == ir.DataType.FLOAT16
    if tuple(map(int, onnxruntime.__version__.split(".")[:2])) < (1, 30):
        pytest.skip("ONNX Runtime before 1.30 computes float16 scales wrongly (relative error 0.66), as the gate finds")
    reference = run(loaded(pure), image)
    found = run(model, image)
    assert found.dtype == np.float32
    assert np.linalg.norm(found - reference) / np.linalg.norm(reference) < 0.2


def test_scales_too_small_for_float16_are_raised_and_their_weights_quantised_with_them() -> None:
    """The first layer's channels have scales of about 1e-6, far below float16's normal numbers."""
    model = chain([1e-4, 1e4])
    image = np.random.default_rng(0).normal(0, 1, (1, 3, 12, 12)).astype(np.float32)
    ranges = activation_ranges(collect(model, tensors_to_calibrate(loaded(model).graph), [image]), "minmax")
    plan = PrecisionPlan(frozenset({"fusion.classifier", "backbone.layer1.1"}), "tensorrt", ranges)
    converted = convert(model, "int8", plan)
    scales = {
        node.inputs[1].name: node.inputs[1].const_value.numpy()  # type: ignore[union-attr]
        for node in converted.graph
        if node.op_type == "DequantizeLinear"
    }
    assert {scale.dtype for scale in scales.values()} == {np.dtype(np.float16)}
    assert min(float(scale.min()) for scale in scales.values()) >= SMALLEST_SCALE
    stored = next(v for n, v in converted.graph.initializers.items() if n.endswith("conv.weight_quantized"))
    weight = loaded(model).graph.initializers["backbone.layer1.0.conv.weight"].const_value
    assert stored.const_value is not None
    assert weight is not None
    scale = scales["backbone.layer1.0.conv.weight_scale"].astype(np.float32).reshape(-1, 1, 1, 1)
    assert np.abs(stored.const_value.numpy() * scale - weight.numpy()).max() <= scale.max() / 2 * 1.001


def test_residual_sums_read_their_shortcut_through_the_pair_and_the_rest_directly(
    traced: tuple[bytes, Ranges, NDArray[np.float32]],
) -> None:
    pure, ranges, _ = traced
    model = convert(pure, "int8", PrecisionPlan(spared(pure), "tensorrt", ranges))
    groups = layer_groups(loaded(pure).graph)
    plain_blocks = {name for name in groups if name.endswith(".1") and name.startswith("backbone.layer")}
    sums = {node for name in plain_blocks for node in groups[name]}
    seen = 0
    for node in model.graph:
        if node.op_type == "Add" and node.name in sums:
            producers = [value.producer().op_type for value in node.inputs]  # type: ignore[union-attr]
            assert sorted(producers) == ["Conv", "DequantizeLinear"]
            seen += 1
    assert seen == len(plain_blocks) == 4


@pytest.mark.parametrize("output_kind", ["logits", "labels"])
def test_tensorrt_reads_and_builds_the_int8_file(
    traced: tuple[bytes, Ranges, NDArray[np.float32]],
    trt: ModuleType,
    output_kind: Literal["logits", "labels"],
    tmp_path: Path,
) -> None:
    pure, ranges, _ = traced
    model = convert(pure, "int8", PrecisionPlan(spared(pure), "tensorrt", ranges))
    options = GraphOptions(SIZE, output_kind=output_kind, precision="int8")
    finish_graph(model, options, align_corners=True)
    ir.save(model, tmp_path / "x.onnx")
    built = build_plan(trt, tmp_path / "x.onnx", BuildSettings(plugins=False))
    assert len(built.plan) > 1 << 18
    kinds = {layer.type: layer.dtype for layer in built.layers}
    assert kinds["QUANTIZE"] == "INT8"
    assert {layer.dtype for layer in built.layers if layer.type == "CONVOLUTION"} == {"HALF"}


def test_tensorrt_refuses_the_cpu_file(
    traced: tuple[bytes, Ranges, NDArray[np.float32]], trt: ModuleType, tmp_path: Path
) -> None:
    pure, ranges, _ = traced
    model = convert(pure, "int8", PrecisionPlan(spared(pure), "cpu", ranges))
    ir.save(model, tmp_path / "x.onnx")
    with pytest.raises(EngineError):
        build_plan(trt, tmp_path / "x.onnx", BuildSettings(plugins=False))


def test_kept_groups_stay_float32_and_nothing_else_does(traced: tuple[bytes, Ranges, NDArray[np.float32]]) -> None:
    pure, ranges, _ = traced
    keep = spared(pure) | {"backbone.layer2.0"}
    model = convert(pure, "int8", PrecisionPlan(keep, "cpu", ranges))
    groups = layer_groups(loaded(pure).graph)
    kinds = {node.name: node.op_type for node in loaded(pure).graph}
    members = set(groups["backbone.layer2.0"])
    floats = {
        node.name
        for node in model.graph
        if node.op_type == "Conv" and node.inputs[1] is not None and node.inputs[1].is_initializer()
    }
    assert len(floats & members) == 3  # two convolutions and the shortcut's
    assert floats == {node for group in keep for node in groups[group] if kinds[node] == "Conv"}


def test_a_network_without_a_layer_left_and_an_unknown_group_are_refused() -> None:
    model = chain([1.0])
    with pytest.raises(CE2PError, match="nothing to quantise"):
        convert(model, "int8", PrecisionPlan(frozenset({"backbone.layer1.0", "fusion.classifier"}), "cpu", {}))
    with pytest.raises(CE2PError, match=r"no layer group backbone\.layer9\.0; this network has backbone\.layer1\.0"):
        convert(model, "int8", PrecisionPlan(frozenset({"backbone.layer9.0"}), "cpu", {}))
    with pytest.raises(CE2PError, match=r"no layer group edge_classifier; this network has"):
        convert(model, "int8", PrecisionPlan(unrounded=frozenset({"edge_classifier"})))


def test_bfloat16_and_float16_keep_the_groups_they_are_told_to() -> None:
    for precision, kind in (("fp16", ir.DataType.FLOAT16), ("bf16", ir.DataType.BFLOAT16)):
        model = convert(chain([1.0, 1.0]), precision, PrecisionPlan(frozenset({"backbone.layer1.1"})))  # type: ignore[arg-type]
        weights = {node.name: node.inputs[1].dtype for node in model.graph if node.op_type == "Conv"}  # type: ignore[union-attr]
        assert weights == {"conv0": kind, "conv1": ir.DataType.FLOAT, "classifier": kind}
        casts = [node.outputs[0].dtype for node in model.graph if node.op_type == "Cast"]
        assert casts == [kind, ir.DataType.FLOAT, kind]
