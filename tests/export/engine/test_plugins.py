"""Our plugins, driven through the classes of the real tensorrt.plugin as a build would, without a build.

A test for each trap of that package that applies here is among them; the traps are listed where plugins.py and
preparation.py avoid them.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest

from ce2p.models import CE2P
from ce2p_export import GraphOptions
from ce2p_export.fusions import GRAPH_OPS
from ce2p_export.tensorrt import BuildSettings, EngineError, build_plan
from ce2p_export.tensorrt import plugins as plugins_module
from ce2p_export.tensorrt.plan_cache import timing_cache_path
from ce2p_export.tensorrt.plugins import compile_kernels, kernel_hashes, plugin_sources, register_plugins
from ce2p_export.tensorrt.preparation import check_classes, load_onnx, prepare
from ce2p_runtime.backends.tensorrt_log import process_log
from ce2p_runtime.errors import BackendError
from ce2p_runtime.ops.edge_fusion import edge_fusion_launch, edge_fusion_source
from ce2p_runtime.ops.label_map import label_map_source, label_resize_launch
from ce2p_runtime.ops.launches import ArrayAt, KernelSource, Launch
from tests.export.engine.graphs import written
from tests.export.engine.symbolic import Setter, Symbols
from tests.trt_on_cpu import Found

Tiny = Callable[..., CE2P]
EDGE_FUSION, LABEL_MAP = "ce2p::CE2PEdgeFusion", "ce2p::CE2PLabelMap"


@dataclasses.dataclass
class Driven:
    """A plugin instance after it was asked everything a build asks."""

    output_type: Any
    output_shape: tuple[int, ...]
    output_constant: tuple[bool, ...]
    combinations: list[tuple[str, ...]]
    tactics: list[int]
    kernel: str
    ptx: bytes
    launch: dict[str, int]
    arguments: list[int]
    compiled: list[KernelSource]


class Bench:
    """Creates plugins as the ONNX parser does, and asks them what the builder asks, in its order."""

    def __init__(self, trt: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
        register_plugins()
        self.trt = trt
        self.symbols = Symbols(trt)
        self.compiled: list[KernelSource] = []

        def compile_instead(source: KernelSource) -> bytes:
            self.compiled.append(source)
            return b"// ptx of " + source.file.name.encode()

        tensors = importlib.import_module("tensorrt_bindings.plugin._tensor")
        # The class that hands an expression to C++ can be written to, not read.
        monkeypatch.setattr(tensors, "SymExprImpl", lambda expr: expr)
        monkeypatch.setattr(plugins_module, "compile_ptx", compile_instead)
        self.registry = importlib.import_module("tensorrt_bindings.plugin._lib")

    def create(self, plugin: str, **attributes: float) -> Any:
        """As the parser: every scalar is an array of one element, int32 or float32."""
        trt = self.trt
        fields = []
        for name, value in attributes.items():
            kind = np.float32 if isinstance(value, float) else np.int32
            code = trt.PluginFieldType.FLOAT32 if isinstance(value, float) else trt.PluginFieldType.INT32
            fields.append(trt.PluginField(name, np.array([value], kind), code))
        namespace, name = plugin.split("::")
        return self.registry.QDP_CREATORS[plugin].create_plugin(
            name,
            namespace,
            trt.PluginFieldCollection(fields),
            trt.TensorRTPhase.BUILD,
            trt.QuickPluginCreationRequest.STRICT_AOT,
        )

    def drive(
        self, made: Any, inputs: list[tuple[tuple[int, ...], Any]], *, activations: int, dynamic: bool = False
    ) -> Driven:
        symbols = self.symbols
        (output_type,) = made.get_output_data_types([dtype for _, dtype in inputs], [len(shape) for shape, _ in inputs])
        varies = [dynamic and index < activations for index in range(len(inputs))]
        dimensions = [symbols.dimensions(shape, dynamic_batch=v) for (shape, _), v in zip(inputs, varies, strict=True)]
        made.get_output_shapes(dimensions, [], symbols)
        out = [axis._expr for axis in made.output_descs[0].shape_expr]
        shape = tuple(axis.value for axis in out)
        tensors = [symbols.tensor(s, dtype, dynamic_batch=v) for (s, dtype), v in zip(inputs, varies, strict=True)] + [
            symbols.tensor(shape, output_type, dynamic_batch=dynamic)
        ]
        found = [desc.type.name for desc in made.get_supported_format_combinations(tensors, len(inputs))]
        step = len(tensors)
        made.configure_plugin(tensors[:-1], tensors[-1:])
        tactics = list(made.get_valid_tactics())
        made.set_tactic(0)
        launch, arguments = symbols.launch(), Setter()
        made.get_launch_params(dimensions, tensors, len(inputs), *(launch, arguments, symbols))  # as TensorRT calls it
        kernel, ptx = made.get_kernel([t.desc for t in tensors[:-1]], [t.desc for t in tensors[-1:]])
        assert arguments.nbSymExprs == len(arguments)
        return Driven(
            output_type=output_type,
            output_shape=shape,
            output_constant=tuple(axis.constant for axis in out),
            combinations=[tuple(found[i : i + step]) for i in range(0, len(found), step)],
            tactics=tactics,
            kernel=kernel,
            ptx=ptx,
            launch={name: expr._expr.value for name, expr in vars(launch).items()},
            arguments=[arguments[index]._expr.value for index in range(len(arguments))],
            compiled=self.compiled,
        )


@pytest.fixture
def bench(trt: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(trt, monkeypatch)


def same_launch(driven: Driven, launch: Launch, inputs: int, outputs: int = 1) -> None:
    """The plugin launches as the runtime does; the addresses at both ends are TensorRT's to fill in."""
    assert driven.kernel == launch.kernel
    assert tuple(driven.launch[f"grid_{axis}"] for axis in "xyz") == launch.grid
    assert tuple(driven.launch[f"block_{axis}"] for axis in "xyz") == launch.block
    assert driven.launch["shared_mem"] == 0
    scalars = launch.arguments[inputs : len(launch.arguments) - outputs]
    assert driven.arguments == [int(value) for value in scalars]
    assert all(isinstance(value, np.int32) for value in scalars)


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("half", [False, True])
def test_edge_fusion(bench: Bench, half: bool, dynamic: bool) -> None:
    trt = bench.trt
    dtype = trt.float16 if half else trt.float32
    shapes = [(3, 256, 119, 97), (3, 256, 60, 49), (3, 256, 30, 25), (20, 256, 1, 1), (20,)]
    made = bench.create(EDGE_FUSION, slope=0.01, align_corners=1)
    driven = bench.drive(made, [(shape, dtype) for shape in shapes], activations=3, dynamic=dynamic)
    assert (driven.output_type, driven.output_shape) == (dtype, (3, 20, 119, 97))
    assert driven.output_constant == (not dynamic, True, True, True)
    # All float or all half, in rows: nothing mixed.
    assert driven.combinations == [("FLOAT",) * 6, ("HALF",) * 6]
    assert driven.tactics == []
    assert driven.compiled == [edge_fusion_source(half, 20, True, float(np.float32(0.01)), (119, 60, 30))]
    launch = edge_fusion_launch([ArrayAt(0, shape) for shape in shapes[:3]], *[ArrayAt(0, ())] * 3)
    same_launch(driven, launch, inputs=5)


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("half", [False, True])
def test_label_map(bench: Bench, half: bool, dynamic: bool) -> None:
    trt = bench.trt
    dtype = trt.float16 if half else trt.float32
    made = bench.create(LABEL_MAP, height=473, width=353, align_corners=0)
    driven = bench.drive(made, [((2, 7, 119, 89), dtype)], activations=1, dynamic=dynamic)
    # The kernel's bytes under the name int8: TensorRT takes uint8 outputs from casts only.
    assert (driven.output_type, driven.output_shape) == (trt.int8, (2, 473, 353))
    assert driven.output_constant == (not dynamic, True, True)
    assert driven.combinations == [("FLOAT", "INT8"), ("HALF", "INT8")]
    assert driven.compiled == [label_map_source(half, False)]
    same_launch(driven, label_resize_launch(ArrayAt(0, (2, 7, 119, 89)), ArrayAt(0, (2, 473, 353))), inputs=1)


def test_registering_again_is_fine_though_tensorrt_refuses_it(trt: ModuleType) -> None:
    register_plugins()
    register_plugins()
    trtp = importlib.import_module("tensorrt.plugin")
    with pytest.raises(ValueError, match="already"):
        trtp.register(EDGE_FUSION)(lambda: None)


def test_signatures_are_what_tensorrt_reads(bench: Bench) -> None:
    """Traps 1 to 3: (..., outputs, tactic) exactly; every attribute, in order; annotations that are objects."""
    for plugin in (f"ce2p::{name}" for name in GRAPH_OPS):
        known = bench.registry.QDP_REGISTRY[plugin]
        parameters = inspect.signature(known.aot_impl_func).parameters
        attributes = list(known.input_attrs)
        assert list(parameters) == [*known.input_tensor_names, *attributes, "outputs", "tactic"]
        assert known.aot_impl_attr_names == attributes
        assert not [p for p in parameters.values() if isinstance(p.annotation, str)]
        assert known.impl_func is None  # with both kinds, TensorRT would ask which one
        assert set(known.input_attrs.values()) <= {int, float}


def test_scalar_arguments_are_wrapped(bench: Bench) -> None:
    """Trap 5: plain numbers and sums are refused, wrapped ones are not."""
    trtp = importlib.import_module("tensorrt.plugin")
    raw = trtp.SymIntExprs.from_tuple((3,))
    assert not isinstance(raw[0], trtp.SymInt32)
    ours = plugins_module._arguments(trtp, [3, trtp.ShapeExpr(4)])
    assert all(isinstance(value, trtp.SymInt32) for value in ours)


def test_a_slope_is_compiled_in(bench: Bench) -> None:
    """Trap 10: an argument cannot be a float; so two slopes are two kernels, with two hashes."""
    shapes = [(1, 64, 24, 24), (1, 64, 12, 12), (1, 64, 6, 6), (5, 64, 1, 1), (5,)]
    inputs = [(shape, bench.trt.float32) for shape in shapes]
    for slope in (0.0, 0.25):
        bench.drive(bench.create(EDGE_FUSION, slope=slope, align_corners=0), inputs, activations=3)
    first, second = bench.compiled
    assert first != second
    hashes = {tuple(kernel_hashes({"CE2PEdgeFusion": source}).values()) for source in (first, second)}
    assert len(hashes) == 2


def test_every_kernel_has_timings_of_its_own(bench: Bench) -> None:
    """Trap 13: the package tells TensorRT no name for the timings of a kernel; the file they are kept in tells."""
    made = bench.create(LABEL_MAP, height=8, width=8, align_corners=0)
    assert made.get_timing_cache_id() == ""
    one, other = (kernel_hashes({"CE2PLabelMap": label_map_source(half, True)}) for half in (False, True))
    assert timing_cache_path("11.4", "sm_90", one) != timing_cache_path("11.4", "sm_90", other)


def test_shared_memory_stays_static(bench: Bench) -> None:
    """Trap 9: nobody raises the limit of dynamic shared memory for a plugin, so none is asked for."""
    made = bench.create(LABEL_MAP, height=16, width=16, align_corners=1)
    driven = bench.drive(made, [((1, 3, 4, 4), bench.trt.float32)], activations=1)
    assert driven.launch["shared_mem"] == 0


def test_shape_inputs_are_not_used(bench: Bench) -> None:
    """Trap 8: a plugin may not read a tensor for a shape; ours state sizes as attributes."""
    made = bench.create(LABEL_MAP, height=16, width=16, align_corners=1)
    made.get_output_data_types([bench.trt.float32], [4])
    with pytest.raises(AssertionError):
        made.get_output_shapes([bench.symbols.dimensions((1, 3, 4, 4))], [object()], bench.symbols)


@pytest.fixture(scope="module")
def both_ops(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    options = GraphOptions((97, 97), output_kind="labels", precision="fp16")
    return written(tiny("schp"), options, tmp_path_factory.mktemp("both") / "x.onnx")


@pytest.fixture(scope="module")
def labels_only(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the two ops the second alone."""
    options = GraphOptions((97, 97), output_kind="labels")
    return written(tiny("ssseg"), options, tmp_path_factory.mktemp("labels") / "x.onnx")


def test_kernels_are_known_from_the_file(both_ops: Path, labels_only: Path) -> None:
    model = load_onnx(both_ops)
    slope = float(np.float32(0.01))
    assert plugin_sources(model) == {
        "CE2PEdgeFusion": edge_fusion_source(True, 20, True, slope, (25, 13, 7)),
        "CE2PLabelMap": label_map_source(True, True),
    }
    assert plugin_sources(load_onnx(labels_only)) == {"CE2PLabelMap": label_map_source(False, False)}


def test_an_op_of_another_version_is_named(both_ops: Path) -> None:
    model = load_onnx(both_ops)
    next(node for node in model.graph.node if node.domain == "ce2p").op_type = "CE2PLater"
    with pytest.raises(EngineError, match=r"holds the op CE2PLater, .* knows CE2PLabelMap, .*; update ce2p"):
        plugin_sources(model)


def test_kernels_compile_before_anything_is_built(both_ops: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(source: KernelSource) -> bytes:
        raise BackendError("no CUDA compiler")

    monkeypatch.setattr(plugins_module, "compile_ptx", none)
    with pytest.raises(EngineError, match="no CUDA compiler; or build with --no-plugins"):
        compile_kernels(plugin_sources(load_onnx(both_ops)))


def test_too_many_classes_for_a_plugin(both_ops: Path, tiny_model: Path) -> None:
    from ce2p_export.tensorrt.preparation import metadata_of

    model = load_onnx(both_ops)
    weight = next(node.input[3] for node in model.graph.node if node.op_type == "CE2PEdgeFusion")
    next(tensor for tensor in model.graph.initializer if tensor.name == weight).dims[0] = 65
    with pytest.raises(EngineError, match=r"64 classes.*--no-plugins"):
        plugin_sources(model)
    metadata = metadata_of(load_onnx(tiny_model), tiny_model)
    check_classes(metadata, {"CE2PLabelMap": 1})
    many = dataclasses.replace(metadata, class_names=tuple(map(str, range(129))))
    with pytest.raises(EngineError, match="129 classes"):
        check_classes(many, {"CE2PLabelMap": 1})
    check_classes(many, {"CE2PEdgeFusion": 1})


def test_the_form_for_plugins_cannot_fall_back(both_ops: Path) -> None:
    prepared = prepare(load_onnx(both_ops), plugins=True)
    assert prepared.plugins == {"CE2PEdgeFusion": 1, "CE2PLabelMap": 1}
    model = onnx.load_from_string(prepared.content)
    assert not model.functions
    ours = {node.op_type: node for node in model.graph.node if node.domain == "ce2p"}
    for node in ours.values():
        attributes = {entry.name: onnx.helper.get_attribute_value(entry) for entry in node.attribute}
        assert (attributes["plugin_namespace"], attributes["plugin_version"]) == (b"ce2p", b"1")
        assert attributes["aot"] == 1
    assert [node.op_type for node in model.graph.node][-2:] == ["DequantizeLinear", "Cast"]
    assert model.graph.node[-1].output[0] == model.graph.output[0].name == "labels"


def test_no_plugins_means_none_even_where_they_are_registered(trt: ModuleType, both_ops: Path, bench: Bench) -> None:
    built = build_plan(trt, both_ops, BuildSettings(plugins=False))
    assert built.plugins == {}
    assert not [layer for layer in built.layers if "PLUGIN" in layer.type]


def test_the_parser_takes_the_plugin(
    tensorrt_found: Found, trt: ModuleType, both_ops: Path, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a GPU the plan is built. The stand-in finds the plugin and refuses its kind: it was found."""
    if not tensorrt_found.stand_in:
        monkeypatch.undo()
        built = build_plan(trt, both_ops, BuildSettings())
        assert sum("PLUGIN" in layer.type for layer in built.layers) == 2
        return
    with pytest.raises(
        EngineError, match="imports IPluginV3 plugins registered with an IPluginCreatorV3One creator only"
    ):
        build_plan(trt, both_ops, BuildSettings())


def test_the_parser_asks_for_name_version_and_namespace(trt: ModuleType, labels_only: Path) -> None:
    """A creator of the kind the stand-in knows: the parser calls it for our node, unless the ops are inlined."""
    asked: list[str] = []

    class Creator(trt.IPluginCreatorV3One):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IPluginCreatorV3One.__init__(self)
            self.name, self.plugin_version, self.plugin_namespace = "CE2PProbe", "1", "ce2p"
            self.field_names = trt.PluginFieldCollection([])

        def create_plugin(self, name: str, fields: Any, phase: Any) -> None:
            asked.append(name)

    model = load_onnx(labels_only)
    node = next(node for node in model.graph.node if node.domain == "ce2p")
    node.op_type = model.functions[0].name = "CE2PProbe"
    registry, creator = trt.get_plugin_registry(), Creator()
    assert registry.register_creator(creator, "ce2p")
    try:
        for content, found in ((model.SerializeToString(), 1), (prepare(model, plugins=False).content, 0)):
            asked.clear()
            builder = trt.Builder(process_log(trt))
            network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
            assert trt.OnnxParser(network, process_log(trt)).parse(content) is not bool(found)
            assert len(asked) == found
    finally:
        registry.deregister_creator(creator)


def test_ptx_of_both_ops_is_one_entry_point_each(both_ops: Path) -> None:
    """The real compiler, where there is one: the kernels the plugins name are in the PTX they hand over."""
    compiler = pytest.importorskip("ce2p_runtime.cuda.compiler")
    sources = plugin_sources(load_onnx(both_ops))
    try:
        found = {name: compiler.compile_ptx(source) for name, source in sources.items()}
    except BackendError as error:
        pytest.skip(str(error))
    assert b".entry ce2p_edge_fusion(" in found["CE2PEdgeFusion"]
    assert b".entry ce2p_label_resize(" in found["CE2PLabelMap"]
