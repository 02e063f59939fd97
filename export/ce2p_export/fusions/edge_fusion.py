"""Graph side of the op `edge_fusion`: one node for the end of the network.

    CE2PEdgeFusion(a, b, c, weight, bias) = conv1x1(leaky(a + up(b) + up(c)); weight, bias)

The pattern is what `ce2p_export.folds.fusion` leaves behind: two Resize, two Add, an activation, the classifier.
Networks whose fusion has a second convolution before the classifier (`ssseg`) do not match: that 512x512 product is for
the backend's matrix kernels, and the rewrite says so instead of firing.
Definition and CPU reference: `ce2p_runtime.ops.edge_fusion`.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from .ce2p_ops import add_function, ce2p_node, coordinate_mode

__all__ = ["OP_TYPE", "FusionResult", "insert_edge_fusion"]

OP_TYPE = "CE2PEdgeFusion"

_BODY = """
  size = Shape (a)
  up_b = Resize <mode = "linear", coordinate_transformation_mode = "{mode}"> (b, , , size)
  up_c = Resize <mode = "linear", coordinate_transformation_mode = "{mode}"> (c, , , size)
  with_b = Add (a, up_b)
  with_c = Add (with_b, up_c)
  merged = LeakyRelu <alpha: float = @slope> (with_c)
  logits = Conv (merged, weight, bias)
"""


@dataclass(frozen=True)
class FusionResult:
    """How often a rewrite fired, and why not if it did not."""

    count: int
    reason: str = ""


class _MismatchError(Exception):
    """The graph is not the pattern; the message says where it differs."""


def insert_edge_fusion(model: ir.Model, output: str, align_corners: bool) -> FusionResult:
    """Replace the nodes that produce graph output `output` by one CE2PEdgeFusion, in place."""
    try:
        classifier, activation, adds, resizes = _match(model.graph, output)
    except _MismatchError as miss:
        return FusionResult(0, str(miss))
    slope = 0.0 if activation.op_type == "Relu" else activation.attributes.get_float("alpha", 0.01)
    a = _other_input(adds[1], resizes[0])
    inputs = [a, *(_input(resize, 0) for resize in resizes), _input(classifier, 1), _input(classifier, 2)]
    logits = ir.Value(name=output, shape=classifier.outputs[0].shape, type=classifier.outputs[0].type)
    node = ce2p_node(OP_TYPE, inputs, logits, {"slope": float(slope), "align_corners": int(align_corners)})
    graph = model.graph
    graph.insert_after(classifier, node)
    graph.outputs[graph.outputs.index(classifier.outputs[0])] = logits
    for old in (classifier, activation, adds[0], adds[1], *resizes):
        graph.remove(old, safe=True)
    body = _BODY.format(mode=coordinate_mode(align_corners))
    add_function(model, OP_TYPE, "slope, align_corners", "(a, b, c, weight, bias) => (logits)", body)
    return FusionResult(1)


def _match(graph: ir.Graph, output: str) -> tuple[ir.Node, ir.Node, tuple[ir.Node, ir.Node], tuple[ir.Node, ir.Node]]:
    """The pattern, walked upwards from the output: classifier, activation, (outer, inner) Add, (b's, c's) Resize."""
    value = next((value for value in graph.outputs if value.name == output), None)
    if value is None:
        raise _MismatchError(f"the graph has no output {output}")
    classifier = _producer(value, ("Conv",), "the output")
    kernel = _input(classifier, 1).shape
    if len(classifier.inputs) != 3 or kernel is None or list(kernel)[2:] != [1, 1]:
        raise _MismatchError("the classifier is not a 1x1 convolution with bias")
    activation = _producer(_input(classifier, 0), ("LeakyRelu", "Relu"), "the classifier's input")
    merged = _input(activation, 0).producer()
    if merged is not None and merged.op_type == "Conv":
        raise _MismatchError("a second convolution stands between the merge and the classifier")
    outer = _producer(_input(activation, 0), ("Add",), "the activation's input")
    resize_c = _resize_among(outer)
    inner = _producer(_other_input(outer, resize_c), ("Add",), "the sum before the activation")
    return classifier, activation, (outer, inner), (_resize_among(inner), resize_c)


def _input(node: ir.Node, index: int) -> ir.Value:
    value = node.inputs[index]
    if value is None:
        raise _MismatchError(f"{node.op_type} lacks input {index}")
    return value


def _producer(value: ir.Value, op_types: tuple[str, ...], where: str) -> ir.Node:
    node = value.producer()
    if node is None or node.op_type not in op_types:
        found = node.op_type if node is not None else "a graph input"
        raise _MismatchError(f"{where} comes from {found}, expected {' or '.join(op_types)}")
    if len(value.uses()) + (value.is_graph_output()) > 1:
        raise _MismatchError(f"{where} is used elsewhere too")
    return node


def _resize_among(add: ir.Node) -> ir.Node:
    for value in add.inputs:
        node = value.producer() if value is not None else None
        if node is not None and node.op_type == "Resize" and len(node.outputs[0].uses()) == 1:
            return node
    raise _MismatchError("the sum before the classifier has no upsampled branch")


def _other_input(add: ir.Node, resize: ir.Node) -> ir.Value:
    first, second = _input(add, 0), _input(add, 1)
    return second if first.producer() is resize else first
