"""ONNX files with ce2p metadata: a small honest one, and many whose graphs lie or ask for too much."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ce2p_runtime.model_files.metadata import METADATA_KEY, Geometry, ModelMetadata, Normalisation
from ce2p_runtime.model_files.onnx_file import onnx_digest

__all__ = ["HOSTILE", "METADATA", "SIDE", "small_model", "with_metadata"]

SIDE = 16
CLASSES = 4
METADATA = ModelMetadata(
    family="ssseg",
    dataset="custom",
    class_names=("Background", "Hair", "Left-arm", "Right-arm"),
    palette=((0, 0, 0), (200, 0, 0), (0, 200, 0), (0, 0, 200)),
    flip_pairs=((2, 3),),
    normalisation=Normalisation("rgb", 1 / 255, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)),
    geometry=Geometry("affine", False, "float", "logits"),
    align_corners=False,
    input_size=(SIDE, SIDE),
    output_stride=16,
    input_kind="float",
    output_kind="logits",
    precision="fp32",
    weights="untrained (random, seed 0)",
    untrained=True,
    extra={
        "backbone": "r18",
        "batch": 1,
        "kept": [],
        "tools": {"ce2p": "0.1.0", "torch": None},
        "folds": [{"name": "a fold", "count": 2, "flops_before": 20, "flops_after": 10}],
        "parity": {"runtime": "x", "rows": [{"picture": "p", "relative_l2": 1e-6, "pixel_agreement": 1.0}]},
    },
)

Proto = onnx.ModelProto
Node = onnx.NodeProto


def model(
    nodes: list[Node],
    *,
    inputs: list[Any] | None = None,
    outputs: list[Any] | None = None,
    weights: list[onnx.TensorProto] | None = None,
    functions: list[onnx.FunctionProto] | None = None,
    **changes: Any,
) -> Proto:
    """A model of these nodes from `image` to `parsing`. `changes`: fields of its metadata."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, SIDE, SIDE])] if inputs is None else inputs,
        [helper.make_tensor_value_info("parsing", TensorProto.FLOAT, [1, CLASSES, SIDE, SIDE])]
        if outputs is None
        else outputs,
        [*_weights(), *(weights or [])],
    )
    opsets = [helper.make_opsetid(domain, version) for domain, version in (("", 20), ("ce2p", 1), ("other", 1))]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=10, functions=functions or [])
    made.metadata_props.add(key=METADATA_KEY, value=dataclasses.replace(METADATA, **changes).to_json())
    return made


def small_model(path: Path, *, digest: bool) -> Path:
    """An honest file: a convolution, an activation, a classifier; 4 kB. `digest`: as exports are today, or before."""
    hidden = helper.make_node("Conv", ["image", "hidden", "bias"], ["h"], pads=[1] * 4)
    nodes = [hidden, helper.make_node("LeakyRelu", ["h"], ["r"], alpha=0.01), classifier("r")]
    made = model(nodes)
    path.write_bytes(made.SerializeToString())
    if digest:
        value = dataclasses.replace(METADATA, digest=onnx_digest(path)).to_json()
        path.write_bytes(with_metadata(path.read_bytes(), json.loads(value)))
    return path


def with_metadata(model: bytes, document: Any) -> bytes:
    """A copy with other metadata, as JSON or as text that need not be any."""
    proto = onnx.load_from_string(model)
    entry = next(entry for entry in proto.metadata_props if entry.key == METADATA_KEY)
    entry.value = document if isinstance(document, str) else json.dumps(document)
    changed: bytes = proto.SerializeToString()
    return changed


def classifier(source: str) -> Node:
    return helper.make_node("Conv", [source, "classifier"], ["parsing"])


def _weights() -> list[onnx.TensorProto]:
    rng = np.random.default_rng(0)
    shapes = {"hidden": (8, 3, 3, 3), "bias": (8,), "classifier": (CLASSES, 8, 1, 1), "thin": (CLASSES, 3, 1, 1)}
    return [numpy_helper.from_array(rng.normal(0, 0.3, s).astype(np.float32), name) for name, s in shapes.items()]


def _ints(name: str, *values: int) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(values, np.int64), name)


def _floats(name: str, *shape: int) -> onnx.TensorProto:
    return numpy_helper.from_array(np.ones(shape, np.float32), name)


def _port(name: str, shape: list[Any], kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


HONEST = [helper.make_node("Conv", ["image", "thin"], ["parsing"])]
OUT = [1, CLASSES, SIDE, SIDE]


def _batch(size: int) -> Proto:
    return model(
        HONEST, inputs=[_port("image", [size, 3, SIDE, SIDE])], outputs=[_port("parsing", [size, CLASSES, SIDE, SIDE])]
    )


def _side(side: int) -> Proto:
    return model(
        HONEST,
        inputs=[_port("image", [1, 3, side, side])],
        outputs=[_port("parsing", [1, CLASSES, side, side])],
        input_size=(side, side),
    )


def _wide(side: int) -> Proto:
    """160 channels at the input's own size."""
    made = _side(side)
    hidden = helper.make_node("Conv", ["image", "hidden"], ["h"], pads=[1] * 4)
    wide = helper.make_node("Concat", ["h"] * 20, ["w"], axis=1)
    mean = helper.make_node("ReduceMean", ["w"], ["m"], keepdims=0)
    low = helper.make_node("Conv", ["image", "thin"], ["low"])
    del made.graph.node[:]
    made.graph.node.extend([hidden, wide, mean, low, helper.make_node("Add", ["low", "m"], ["parsing"])])
    return made


def _large(node: Node, *weights: onnx.TensorProto) -> Proto:
    """Something large made of little, added to the network's output after its mean was taken."""
    mean = helper.make_node("ReduceMax", [node.output[0]], ["least"], keepdims=0)
    rest = [
        helper.make_node("Conv", ["image", "thin"], ["low"]),
        helper.make_node("Add", ["low", "least"], ["parsing"]),
    ]
    return model([node, mean, *rest], weights=list(weights))


def _doubled(times: int) -> Proto:
    nodes = [helper.make_node("Concat", [f"d{i}", f"d{i}"], [f"d{i + 1}"], axis=0) for i in range(times)]
    made = _large(nodes[-1], _floats("d0", 64))
    made.graph.node.extend(nodes[:-1])
    ordered = [*nodes[:-1], *[node for node in made.graph.node if node not in nodes[:-1]]]
    del made.graph.node[:]
    made.graph.node.extend(ordered)
    return made


def _nested_functions(levels: int, calls: int) -> Proto:
    functions = []
    for level in range(levels):
        inner = [("Relu", "") if level == 0 else (f"F{level - 1}", "ce2p")] * calls
        nodes = [
            helper.make_node(op, ["x" if i == 0 else f"v{i - 1}"], ["y" if i == calls - 1 else f"v{i}"], domain=domain)
            for i, (op, domain) in enumerate(inner)
        ]
        opsets = [helper.make_opsetid("", 20), helper.make_opsetid("ce2p", 1)]
        functions.append(
            helper.make_function("ce2p", f"F{level}", inputs=["x"], outputs=["y"], nodes=nodes, opset_imports=opsets)
        )
    call = helper.make_node(f"F{levels - 1}", ["low"], ["parsing"], domain="ce2p")
    return model([helper.make_node("Conv", ["image", "thin"], ["low"]), call], functions=functions)


def _function(domain: str, node: Node) -> Proto:
    body = helper.make_function(
        domain, "F", inputs=["x"], outputs=["y"], nodes=[node], opset_imports=[helper.make_opsetid("", 20)]
    )
    call = helper.make_node("F", ["low"], ["parsing"], domain=domain)
    return model([helper.make_node("Conv", ["image", "thin"], ["low"]), call], functions=[body])


def _nested_ifs(levels: int) -> Proto:
    def branch(level: int) -> onnx.GraphProto:
        name = f"b{level}"
        if level == 0:
            node = helper.make_node("Identity", ["low"], [name])
        else:
            node = helper.make_node("If", ["yes"], [name], then_branch=branch(level - 1), else_branch=branch(0))
        return helper.make_graph([node], name, [], [_port(name, OUT)])

    top = helper.make_node("If", ["yes"], ["parsing"], then_branch=branch(levels), else_branch=branch(0))
    yes = numpy_helper.from_array(np.array(True), "yes")
    return model([helper.make_node("Conv", ["image", "thin"], ["low"]), top], weights=[yes])


def _endless_loop() -> Proto:
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Relu", ["x"], ["y"])],
        "body",
        [_port("i", [], TensorProto.INT64), _port("go", [], TensorProto.BOOL), _port("x", OUT)],
        [_port("on", [], TensorProto.BOOL), _port("y", OUT)],
    )
    loop = helper.make_node("Loop", ["", "yes", "low"], ["parsing"], body=body)
    yes = numpy_helper.from_array(np.array(True), "yes")
    return model([helper.make_node("Conv", ["image", "thin"], ["low"]), loop], weights=[yes])


def _scan() -> Proto:
    body = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])], "b", [_port("x", OUT[1:])], [_port("y", OUT[1:])]
    )
    scan = helper.make_node("Scan", ["low"], ["parsing"], body=body, num_scan_inputs=1)
    return model([helper.make_node("Conv", ["image", "thin"], ["low"]), scan])


def _external() -> Proto:
    made = model(HONEST)
    tensor = made.graph.initializer[3]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/dev/zero")
    return made


def _claims(dims: list[int]) -> Proto:
    made = model(HONEST)
    made.graph.initializer[3].dims[:] = dims
    return made


def _sparse() -> Proto:
    made = model(HONEST)
    values, indices = _floats("s", 1), _ints("", 0)
    made.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [1 << 30]))
    return made


def _training() -> Proto:
    made = model(HONEST)
    made.training_info.add().algorithm.CopyFrom(made.graph)
    return made


def _twice(made: Proto) -> bytes:
    """A second graph field, which protobuf's readers merge into the first."""
    extra = onnx.ModelProto(graph=onnx.GraphProto(node=[helper.make_node("Relu", ["image"], ["again"])]))
    return bytes(made.SerializeToString() + extra.SerializeToString())


def _many_fields(made: Proto) -> bytes:
    """Numbers of two bytes, ten million of them, which every reader of protobuf passes over."""
    return bytes(made.SerializeToString() + b"\x08\x01" * 10_000_000)


def _many_nodes(count: int) -> Proto:
    nodes = [helper.make_node("Conv", ["image", "thin"], ["v0"])]
    nodes += [helper.make_node("Relu", [f"v{i}"], [f"v{i + 1}"]) for i in range(count)]
    return model([*nodes, helper.make_node("Relu", [f"v{count}"], ["parsing"])])


def _products(count: int) -> Proto:
    nodes = [helper.make_node("MatMul", ["a0", "b0"], ["p0"])]
    nodes += [helper.make_node("MatMul", [f"p{i}", "p0"], [f"p{i + 1}"]) for i in range(count)]
    made = _large(nodes[-1], _floats("a0", 300, 64), _floats("b0", 64, 300))
    kept = [node for node in made.graph.node if node.output[0] != nodes[-1].output[0]]
    del made.graph.node[:]
    made.graph.node.extend([*nodes, *kept])
    return made


def _op(name: str, inputs: list[str], **attributes: Any) -> Node:
    return helper.make_node(name, inputs, ["big"], **attributes)


HOSTILE: dict[str, tuple[Callable[[], Proto | bytes], str]] = {
    "no output": (lambda: model([helper.make_node("Relu", ["image"], ["x"])], outputs=[]), "0 outputs"),
    "no input": (lambda: model(HONEST, inputs=[]), "0 inputs"),
    "two inputs": (lambda: model(HONEST, inputs=[_port("image", [1, 3, SIDE, SIDE]), _port("x", [1])]), "2 inputs"),
    "no nodes": (lambda: model([]), "made by no node"),
    "nothing at all": (lambda: onnx.ModelProto(metadata_props=model([]).metadata_props), "0 times a graph"),
    "double input": (
        lambda: model(HONEST, inputs=[_port("image", [1, 3, SIDE, SIDE], TensorProto.DOUBLE)]),
        "is type 11",
    ),
    "int64 labels": (
        lambda: model(
            [
                helper.make_node("Conv", ["image", "thin"], ["low"]),
                helper.make_node("ArgMax", ["low"], ["labels"], axis=1, keepdims=0),
            ],
            outputs=[_port("labels", [1, SIDE, SIDE], TensorProto.INT64)],
            output_kind="labels",
        ),
        "is type 7",
    ),
    "another size of logits": (
        lambda: model(HONEST, class_names=("a", "b"), palette=((0, 0, 0),) * 2, flip_pairs=()),
        r"\[1, 2, h, w\]",
    ),
    "empty logits": (
        lambda: model(
            [_op("Conv", ["image", "thin"]), helper.make_node("Slice", ["big", "z", "z", "a"], ["parsing"])],
            weights=[_ints("z", 0), _ints("a", 2)],
        ),
        "h and w of 1",
    ),
    "batch 0": (lambda: _batch(0), "batch of 0"),
    "batch -1": (lambda: _batch(-1), "batch of -1"),
    "batch 1e6": (lambda: _batch(10**6), "batch of 1000000"),
    "1x1": (
        lambda: model(
            [_op("GlobalAveragePool", ["image"]), helper.make_node("Conv", ["big", "hidden"], ["parsing"])],
            inputs=[_port("image", [1, 3, 1, 1])],
            input_size=(1, 1),
        ),
        "kernel|output",
    ),
    "20000x20000": (lambda: _side(20000), "input_size"),
    "1e5x1e5": (lambda: _side(100_000), "input_size"),
    "160 channels of 8192x8192": (lambda: _wide(8192), "values at once"),
    "8192x8192 in a batch of 1024": (
        lambda: model(HONEST, inputs=[_port("image", [1024, 3, 8192, 8192])], input_size=(8192, 8192)),
        "pixels",
    ),
    "functions that call functions, 2^12": (lambda: _nested_functions(12, 2), "calls functions"),
    "functions that call functions, 10^9": (lambda: _nested_functions(9, 10), "calls functions"),
    "a function that calls itself": (
        lambda: _function("ce2p", helper.make_node("F", ["x"], ["y"], domain="ce2p")),
        "calls functions",
    ),
    "a function of others": (lambda: _function("other", helper.make_node("Relu", ["x"], ["y"])), "domain 'other'"),
    "a long function": (lambda: _nested_functions(1, 40), "has 40 nodes"),
    "30 nested Ifs": (lambda: _nested_ifs(30), "control flow"),
    "an endless Loop": (_endless_loop, "control flow"),
    "a Scan": (_scan, "control flow"),
    "an operator of another domain": (
        lambda: model([helper.make_node("Conv", ["image", "thin"], ["parsing"], domain="com.microsoft")]),
        "'com.microsoft.Conv'",
    ),
    "an operator nobody knows": (lambda: model([helper.make_node("Nothing", ["image"], ["parsing"])]), "'Nothing'"),
    "ConstantOfShape of 3 GB": (lambda: _large(_op("ConstantOfShape", ["n"]), _ints("n", 800_000_000)), "'Constant"),
    "ConstantOfShape of 400 GB": (lambda: _large(_op("ConstantOfShape", ["n"]), _ints("n", 10**11)), "'Constant"),
    "Expand to 3 GB": (lambda: _large(_op("Expand", ["bias", "n"]), _ints("n", 10**8, 8)), "'Expand'"),
    "Tile to 3 GB": (lambda: _large(_op("Tile", ["bias", "n"]), _ints("n", 10**8)), "'Tile'"),
    "Range of 8 GB": (
        lambda: _large(
            _op("Range", ["a", "b", "c"]),
            *(numpy_helper.from_array(np.array(v, np.int64), k) for k, v in (("a", 0), ("b", 10**9), ("c", 1))),
        ),
        "'Range'",
    ),
    "Resize to 100 GB": (
        lambda: _large(_op("Resize", ["image", "", "", "n"]), _ints("n", 1, 3, 10**5, 10**5)),
        "values at once",
    ),
    "Resize by 1e30": (
        lambda: _large(
            _op("Resize", ["image", "", "s"]), numpy_helper.from_array(np.array([1, 1, 1e30, 1], np.float32), "s")
        ),
        "its output would be",
    ),
    "Pad to 4 TB": (
        lambda: _large(_op("Pad", ["image", "p"]), _ints("p", 0, 0, 0, 0, 0, 0, 10**6, 10**6)),
        "values at once",
    ),
    "a sum of a row and a column": (
        lambda: _large(_op("Add", ["r", "c"]), _floats("r", 1, 30_000), _floats("c", 30_000, 1)),
        "values at once",
    ),
    "a product of a column and a row": (
        lambda: _large(_op("MatMul", ["c", "r"]), _floats("c", 30_000, 1), _floats("r", 1, 30_000)),
        "values at once",
    ),
    "30 doublings": (lambda: _doubled(30), "values at once"),
    "padding of a convolution": (lambda: _large(_op("Conv", ["image", "thin"], pads=[20_000] * 4)), "pads"),
    "a window of 1e6": (
        lambda: _large(_op("MaxPool", ["image"], kernel_shape=[10**6] * 2, pads=[10**6] * 4)),
        "values at once|operations",
    ),
    "strides of 0": (lambda: _large(_op("Conv", ["image", "thin"], strides=[0, 0])), "strides"),
    "hours of products": (lambda: _products(3000), "operations"),
    "20,000 nodes": (lambda: _many_nodes(20_000), "nodes"),
    "ten million fields": (lambda: _many_fields(model(HONEST)), "fields in one message"),
    "weights in /dev/zero": (_external, "in another file"),
    "weights of 40 GB said, 48 bytes there": (lambda: _claims([10**5, 10**5]), "bytes are stored"),
    "weights of a negative size": (lambda: _claims([-4, 3, 1, 1]), "the shape"),
    "sparse weights": (_sparse, "sparse"),
    "a training graph": (_training, "training graph"),
    "two graphs": (lambda: _twice(model(HONEST)), "2 times a graph"),
    "a name twice": (lambda: model([*HONEST, helper.make_node("Relu", ["image"], ["parsing"])]), "two values"),
    "a cycle": (lambda: model([helper.make_node("Add", ["parsing", "parsing"], ["parsing"])]), "before it is made"),
    "a reshape to nowhere": (lambda: _large(_op("Reshape", ["image", "n"]), _ints("n", -1, -1)), "as \\[-1, -1\\]"),
    "a shape of shapes": (lambda: _large(_op("Reshape", ["image", "classifier"])), "values that are not known"),
}
"""Name -> a file, and what the refusal says."""
