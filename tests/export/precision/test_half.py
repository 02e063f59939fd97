"""Half precision: everything inside is float16, nothing outside changes, and the roundings are really looked at."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from onnx import TensorProto, inliner, shape_inference

from ce2p.errors import CE2PError
from ce2p.families import preprocessing_for
from ce2p.models import CE2P
from ce2p.synthetic import iter_samples
from ce2p_export import GraphOptions, ProofError, default_path, deploy, export_onnx, judging, open_model, steps
from ce2p_export.onnx_graph import build_graph
from ce2p_export.precision.half import give_float_io, to_half
from ce2p_export.precision.rounding import with_roundings
from ce2p_runtime import HumanParser
from ce2p_runtime.backends import open_backend
from ce2p_runtime.precisions import PRECISIONS

Tiny = Callable[..., CE2P]
SIZE = (97, 81)

CASES: list[dict[str, Any]] = [
    {"family": "schp", "edge": True},
    {"family": "schp", "batch": 2, "input_kind": "uint8", "output_kind": "labels", "edge": True},
    {"family": "ssseg", "input_kind": "uint8"},
    {"family": "ssseg", "output_kind": "labels"},
    {"family": "ssseg-2020", "batch": None, "input_kind": "uint8", "output_kind": "labels"},
    {"family": "ce2p", "input_kind": "uint8"},
    {"family": "mce2p", "output_kind": "labels"},
    {"family": "schp", "fold": False, "input_kind": "uint8", "output_kind": "labels"},
    {"family": "ssseg", "fold": False},
]


def types_in(file: Path) -> tuple[set[str], set[str], dict[str, str]]:
    """Type names of float weights and of float activations inside, and those of inputs and outputs by name."""
    model = onnx.load(str(file))
    graph = shape_inference.infer_shapes(inliner.inline_local_functions(model), strict_mode=True).graph
    border = {v.name: TensorProto.DataType.Name(v.type.tensor_type.elem_type) for v in [*graph.input, *graph.output]}
    first = next(node for node in graph.node if node.op_type == "Conv")
    position = list(graph.node).index(first)
    inner = {name for node in list(graph.node)[position:] for name in (*node.input, *node.output)} - set(border)
    weights = {TensorProto.DataType.Name(t.data_type) for t in graph.initializer if t.name in inner}
    activations = {TensorProto.DataType.Name(v.type.tensor_type.elem_type) for v in graph.value_info if v.name in inner}
    return {w for w in weights if "FLOAT" in w}, {a for a in activations if "FLOAT" in a}, border


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(f"{value}" for value in case.values()))
def test_fp16_files_prove_themselves_and_run_on_every_cpu_backend(case: dict[str, Any], tmp_path: Path) -> None:
    chosen = {key: value for key, value in {"batch": 1, **case}.items() if key not in ("family", "fold")}
    options = GraphOptions(SIZE, precision="fp16", **chosen)
    source = open_model("lip-r18-os16", family=case["family"], random=True)
    exported = export_onnx(source, options, tmp_path / "m.onnx", fold=case.get("fold", True))
    assert exported.metadata.precision == "fp16"
    assert exported.proof.limits == PRECISIONS["fp16"].logits
    assert exported.proof.failure is None
    assert sum("rounded" in row.picture for row in exported.proof.rows) * 2 == len(exported.proof.rows)
    weights, activations, border = types_in(exported.path)
    assert weights == {"FLOAT16"}
    # Class ids pass through float on their way to uint8, see the body of CE2PLabelMap.
    assert activations <= ({"FLOAT16", "FLOAT"} if options.output_kind == "labels" else {"FLOAT16"})
    inner = {"parsing": "FLOAT", "labels": "UINT8", "edge": "FLOAT", "image": "FLOAT", "pixels": "UINT8"}
    assert border == {name: inner[name] for name in border}
    assert len(border) == 2 + options.edge

    rng = np.random.default_rng(0)
    shape = (options.batch or 2, *options.input_shape[1:])
    batch = rng.integers(0, 256, shape, np.uint8)
    image = batch if options.input_kind == "uint8" else (batch / 128 - 1).astype(np.float32)
    outputs = {}
    for name in ("onnxruntime", "openvino"):
        backend = open_backend(exported.path, name, "cpu")
        outputs[name] = backend.run(image)
        backend.close()
    # Both compute in float32 on half-precision weights; they differ in what they round in between.
    for found, expected in zip(outputs["openvino"], outputs["onnxruntime"], strict=True):
        if found.dtype == np.uint8:
            assert (found == expected).mean() > 0.99
        else:
            assert np.linalg.norm(found - expected) / np.linalg.norm(expected) < PRECISIONS["fp16"].logits.relative_l2


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("output_kind", ["logits", "labels"])
def test_labels_of_frames_are_those_of_the_fp32_file(
    backend: str, output_kind: Any, exported: Callable[..., Path]
) -> None:
    source = open_model("lip-r18-os16", family="schp", random=True)
    frame = next(iter(iter_samples(1, 1, (120, 100))))[0]
    labels = {}
    for precision in ("fp32", "fp16"):
        options = GraphOptions(SIZE, output_kind=output_kind, precision=precision)
        assert default_path(source, options).name == f"lip-r18-os16_{precision}_97x81.onnx"
        with HumanParser(exported(options), backend=backend, device="cpu") as parser:
            assert f"97x81, {precision}," in str(parser)
            labels[precision] = parser(frame).labels
    assert len(np.unique(labels["fp32"])) > 1
    assert (labels["fp16"] == labels["fp32"]).mean() > PRECISIONS["fp16"].logits.pixel_agreement


def test_half_the_bytes_and_fused_nodes_on_half_precision(tiny: Tiny, tmp_path: Path) -> None:
    sizes = []
    for precision in ("fp32", "fp16"):
        options = GraphOptions(SIZE, output_kind="labels", precision=precision)  # type: ignore[arg-type]
        model, fusion = build_graph(deploy(tiny("schp"), SIZE).net, preprocessing_for("schp"), options)
        assert fusion.count == 1
        ours = [node for node in model.graph if node.domain == "ce2p"]
        assert [node.op_type for node in ours] == ["CE2PEdgeFusion", "CE2PLabelMap"]
        expected = ir.DataType.FLOAT16 if precision == "fp16" else ir.DataType.FLOAT
        assert {value.dtype for node in ours for value in node.inputs if value is not None} == {expected}
        assert [node.op_type for node in model.graph].count("Cast") == (precision == "fp16")
        ir.save(model, tmp_path / "m.onnx")
        sizes.append((tmp_path / "m.onnx").stat().st_size)
    assert sizes[1] < 0.51 * sizes[0]


def conv_model(weight: list[float]) -> ir.Model:
    """image -> Conv 1x1 -> Resize by scales -> out, with one weight per channel."""
    text = """
    <ir_version: 10, opset_import: ["" : 20]>
    small (float[1, C, 4, 4] image) => (float[1, C, 8, 8] out)
    <float[4] scales = {1.0, 1.0, 2.0, 2.0}>
    { conv = Conv <group: int = GROUP> (image, weight)
      out = Resize <mode = "linear"> (conv, , scales) }
    """
    proto = onnx.parser.parse_model(text.replace("C,", f"{len(weight)},").replace("GROUP", str(len(weight))))
    array = np.asarray(weight, np.float32).reshape(-1, 1, 1, 1)
    proto.graph.initializer.append(onnx.numpy_helper.from_array(array, "weight"))
    return ir.from_proto(shape_inference.infer_shapes(proto))


def test_scales_of_resize_stay_float32() -> None:
    model = conv_model([1.5, -2.0])
    to_half(model, "float16")
    give_float_io(model)
    types = {name: value.dtype for name, value in model.graph.initializers.items()}
    assert types == {"scales": ir.DataType.FLOAT, "weight": ir.DataType.FLOAT16}
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    out = session.run(["out"], {"image": np.ones((1, 2, 4, 4), np.float32)})[0]
    assert out.dtype == np.float32
    np.testing.assert_array_equal(out[0, :, 0, 0], [1.5, -2.0])


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        ([1.0, 65536.0], r"^weight: a weight of size 6\.55e\+04, and float16 ends at 65504"),
        ([1.0, float("nan")], r"^weight: a weight of size nan"),
        ([1.0, float("inf")], r"^weight: a weight of size inf"),
        ([1e-6, -3e-5], r"^weight: no weight above 3e-05, and float16 loses bits below 6\.1e-05"),
    ],
)
def test_weights_that_float16_cannot_hold_are_refused(weight: list[float], message: str) -> None:
    with pytest.raises(CE2PError, match=message) as caught:
        to_half(conv_model(weight), "float16")
    assert "--precision fp32" in str(caught.value)


@pytest.mark.parametrize("weight", [[65504.0, 1.0], [1e-9, 1.0], [0.0, 0.0]])
def test_weights_that_float16_can_hold_are_not(weight: list[float]) -> None:
    model = conv_model(weight)
    to_half(model, "float16")
    tensor = model.graph.initializers["weight"].const_value
    assert tensor is not None
    np.testing.assert_array_equal(tensor.numpy().ravel(), np.float16(weight))


def test_a_graph_without_a_convolution_is_refused() -> None:
    text = '<ir_version: 10, opset_import: ["" : 20]>\nnone (float[2] x) => (float[2] y) { y = Relu (x) }'
    with pytest.raises(CE2PError, match="no convolution"):
        to_half(ir.from_proto(onnx.parser.parse_model(text)), "float16")


def test_layers_whose_activations_overflow_stay_float32(tmp_path: Path) -> None:
    """Every weight fits and so does the result: ONNX Runtime on a CPU notices nothing, the roundings do."""
    source = open_model("lip-r18-os16", family="schp", random=True)
    stem = source.net.backbone.stem
    convs = [module for module in stem.modules() if isinstance(module, torch.nn.Conv2d)]
    norms = [module for module in stem.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    grown, left = 2e4, 141.0  # the first layer's output times the one, the second's times the other, then as before
    with torch.no_grad():
        for tensor in (norms[0].weight, norms[0].bias):
            tensor.mul_(grown)
        convs[1].weight.mul_(left / grown)
        for tensor in (norms[1].running_mean, norms[1].bias):
            assert tensor is not None
            tensor.mul_(left)
        convs[2].weight.div_(left)
    exported = export_onnx(source, GraphOptions(SIZE, precision="fp16"), tmp_path / "m.onnx")
    assert exported.kept == ("backbone.stem",)
    assert exported.sensitivity is None  # the overflow was seen, nothing had to be searched
    assert exported.proof is not None
    assert exported.proof.failure is None
    convolutions = {str(node.inputs[1].name): node for node in ir.load(exported.path).graph if node.op_type == "Conv"}
    kept = {name for name, node in convolutions.items() if node.inputs[1].dtype == ir.DataType.FLOAT}  # type: ignore[union-attr]
    assert kept == {name for name in convolutions if name.startswith("backbone.stem")}
    assert len(kept) == 3


def test_coarser_roundings_fail_the_proof(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """bfloat16 in place of float16: if the limits let that pass, they would not be limits."""

    def coarser(file: Path) -> onnx.ModelProto:
        model = with_roundings(file)
        del model.graph.value_info[:]
        for node in model.graph.node:
            for attribute in node.attribute:
                if node.op_type == "Cast" and attribute.i == TensorProto.FLOAT16:
                    attribute.i = TensorProto.BFLOAT16
        return model

    monkeypatch.setattr(judging, "with_roundings", coarser)
    source = open_model("lip-r18-os16", family="ssseg-2020", random=True)
    monkeypatch.setattr(steps, "leave_one_out", lambda *ignored: ())
    with pytest.raises(ProofError, match=r"\(rounded\) .*leave --no-search out"):
        export_onnx(source, GraphOptions(SIZE, precision="fp16"), tmp_path / "m.onnx", may_search=False)
    assert list(tmp_path.iterdir()) == []


def test_roundings_are_those_of_float16(tmp_path: Path) -> None:
    """1/3 is rounded going in, the product going out, and nothing in between; ONNX Runtime alone keeps the product."""
    model = conv_model([1 / 3])
    to_half(model, "float16")
    give_float_io(model)
    ir.save(model, tmp_path / "m.onnx")
    rounded = with_roundings(tmp_path / "m.onnx")
    onnx.checker.check_model(rounded, full_check=True)
    session = onnxruntime.InferenceSession(rounded.SerializeToString(), providers=["CPUExecutionProvider"])
    image = np.full((1, 1, 4, 4), 1.2345, np.float32)
    product = np.float16(np.float32(np.float16(1.2345)) * np.float32(np.float16(1 / 3)))
    np.testing.assert_array_equal(session.run(None, {"image": image})[0], np.full((1, 1, 8, 8), product, np.float32))
    assert not any(t.data_type == TensorProto.FLOAT16 for t in rounded.graph.initializer)
