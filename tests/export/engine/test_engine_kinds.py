"""Every kind of graph the exporter makes is read and built by TensorRT, whole, without a GPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import onnx
import pytest

from ce2p.families import FAMILIES
from ce2p.models import CE2P
from ce2p_export import GraphOptions
from ce2p_export.tensorrt import BuildSettings, BuiltPlan, build_plan
from ce2p_runtime.backends.tensorrt_log import process_log
from ce2p_runtime.model_files.engine_file import Profile
from tests.export.engine.graphs import quantised, written

Tiny = Callable[..., CE2P]
SIDE = 97
BODIES = BuildSettings(plugins=False)


def types_of(built: BuiltPlan, *kinds: str) -> set[str]:
    return {layer.dtype for layer in built.layers if layer.type in kinds}


@pytest.fixture(scope="module")
def plain(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """float32 in, logits out, output stride 16, batch 1; one file per family."""
    folder = tmp_path_factory.mktemp("plain")

    def make(family: str) -> Path:
        path = folder / f"{family}.onnx"
        return path if path.exists() else written(tiny(family), GraphOptions((SIDE, SIDE)), path)

    return make


@pytest.mark.parametrize("family", FAMILIES)
def test_float32_logits(trt: ModuleType, plain: Callable[[str], Path], family: str) -> None:
    built = build_plan(trt, plain(family), BODIES)
    assert len(built.plan) > 1 << 20  # the weights are inside
    assert (built.inputs, built.outputs) == ({"image": "FLOAT"}, {"parsing": "FLOAT"})
    assert built.profiles == (Profile(1, 1, 1),)
    assert types_of(built, "CONVOLUTION", "RESIZE") == {"FLOAT"}
    assert [layer.shape for layer in built.layers][-1] == (1, 20, 25, 25)


@pytest.mark.parametrize("family", FAMILIES)
def test_half_precision_labels_from_pixels_in_several_batches(
    trt: ModuleType, tiny: Tiny, family: str, tmp_path: Path
) -> None:
    """uint8 in, labels out, output stride 8, fp16, three batch sizes, and the edge output beside them."""
    edge = family == "schp"
    options = GraphOptions(
        size=(SIDE, SIDE), batch=None, input_kind="uint8", output_kind="labels", edge=edge, precision="fp16"
    )
    path = written(tiny(family, 8), options, tmp_path / "x.onnx")
    built = build_plan(trt, path, BuildSettings(plugins=False, batches=(4, 1, 2)))
    assert built.inputs == {"pixels": "UINT8"}
    assert built.outputs == {"labels": "UINT8"} | ({"edge": "FLOAT"} if edge else {})
    assert built.profiles == (Profile(1, 1, 1), Profile(2, 2, 2), Profile(4, 4, 4))
    # A silent float32 layer would be here: every convolution, product and resize writes half.
    assert types_of(built, "CONVOLUTION", "MATRIX_MULTIPLY", "RESIZE") == {"HALF"}


@pytest.mark.parametrize("family", FAMILIES)
def test_symmetric_int8(trt: ModuleType, plain: Callable[[str], Path], family: str, tmp_path: Path) -> None:
    path = quantised(plain(family), tmp_path / "int8.onnx", symmetric=True)
    built = build_plan(trt, path, BODIES)
    convolutions = [layer for layer in built.layers if layer.type == "CONVOLUTION"]
    assert types_of(built, "QUANTIZE") == {"INT8"}
    # Each convolution's activation and weight are quantised; a shared activation only once.
    assert sum(layer.type == "DEQUANTIZE" for layer in built.layers) > len(convolutions)


def test_a_dynamic_file_for_one_batch_keeps_nothing_dynamic(trt: ModuleType, tiny: Tiny, tmp_path: Path) -> None:
    path = written(tiny("schp"), GraphOptions((SIDE, SIDE), None, "uint8"), tmp_path / "x.onnx")
    built = build_plan(trt, path, BuildSettings(plugins=False, batches=(3,)))
    assert built.profiles == (Profile(3, 3, 3),)
    assert all(-1 not in layer.shape for layer in built.layers)


def test_the_function_form_is_the_same_network(trt: ModuleType, tiny: Tiny, tmp_path: Path) -> None:
    """As trtexec or ONNX Runtime's provider read our files: nothing registered, the parser takes the bodies itself."""
    path = written(tiny("schp"), GraphOptions((SIDE, SIDE), output_kind="labels"), tmp_path / "x.onnx")
    assert {node.op_type for node in onnx.load(str(path)).graph.node if node.domain} == {
        "CE2PEdgeFusion",
        "CE2PLabelMap",
    }
    builder = trt.Builder(process_log(trt))
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, process_log(trt))
    renamed = path.read_bytes().replace(b"plugin_namespace", b"plugin_namespac_")  # registered or not: the bodies
    assert parser.parse(renamed), [parser.get_error(i).desc() for i in range(parser.num_errors)]
    kinds = sorted(network.get_layer(index).type.name for index in range(network.num_layers))
    inlined = build_plan(trt, path, BODIES)
    assert kinds == sorted(layer.type for layer in inlined.layers)
    assert builder.build_serialized_network(network, builder.create_builder_config()) is not None


def test_an_engine_of_bytes_the_label_plugin_writes(trt: ModuleType) -> None:
    """What stands behind the label plugin: int8 bytes, dequantised with scale 1, cast to uint8."""
    from ce2p_export.tensorrt.preparation import _bytes_as_int8

    labels = onnx.helper.make_tensor_value_info("labels", onnx.TensorProto.UINT8, [1, 8, 8])
    inside = onnx.helper.make_tensor_value_info("labels_int8", onnx.TensorProto.INT8, [1, 8, 8])
    graph = onnx.helper.make_graph([], "tail", [inside], [labels])
    stand_in = onnx.helper.make_node("CE2PLabelMap", [], ["labels"], domain="ce2p")
    _bytes_as_int8(graph, stand_in)
    assert list(stand_in.output) == ["labels_int8"]
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    builder = trt.Builder(process_log(trt))
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, process_log(trt))
    assert parser.parse(model.SerializeToString()), [parser.get_error(i).desc() for i in range(parser.num_errors)]
    assert network.get_output(0).dtype == trt.uint8
    assert builder.build_serialized_network(network, builder.create_builder_config()) is not None
