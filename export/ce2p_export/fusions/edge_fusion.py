"""Graph side of the op `edge_fusion`: one node for the end of the network.

    CE2PEdgeFusion(a, b, c, weight, bias) = conv1x1(leaky(a + up(b) + up(c)); weight, bias)

The pattern is what `ce2p_export.folds.fusion` leaves behind: two Resize, two Add, an activation, the classifier.
Networks whose fusion has a second convolution before the classifier (`ssseg`) do not match: that 512x512 product is for
the backend's matrix kernels, and the rewrite says so instead of firing.
Definition and CPU reference: `ce2p_runtime.ops.edge_fusion`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import onnx_ir as ir
from onnxscript.rewriter.pattern import AttrVar, MatchResult, OrValue, Pattern, RewriteRuleClassBase

from ce2p_runtime.ops.edge_fusion import FUSION_TILE, edge_fusion_source

from .ce2p_ops import DOMAIN, GraphOp, Plugin

OP = GraphOp(
    "CE2PEdgeFusion",
    inputs=("a", "b", "c", "weight", "bias"),
    output="logits",
    attributes={"slope": float, "align_corners": int},
    body="""
  size = Shape (a)
  up_b = Resize <mode = "linear", coordinate_transformation_mode = "{mode}"> (b, , , size)
  up_c = Resize <mode = "linear", coordinate_transformation_mode = "{mode}"> (c, , , size)
  with_b = Add (a, up_b)
  with_c = Add (with_b, up_c)
  merged = LeakyRelu <alpha: float = @slope> (with_c)
  logits = Conv (merged, weight, bias)
""",
    plugin=Plugin(
        "ce2p_edge_fusion",
        # The slope is a constant of the compiled kernel: a plugin's arguments can be integers only.
        source=lambda half, shape, values: edge_fusion_source(
            half, shape("weight")[0], bool(values["align_corners"]), values["slope"], [shape(x)[2] for x in "abc"]
        ),
        scalars=lambda shape, values: [shape("a")[1], *(shape(x)[axis] for x in "abc" for axis in (2, 3))],
        output_shape=lambda shape, values: [shape("a")[0], shape("weight")[0], shape("a")[2], shape("a")[3]],
        tile=FUSION_TILE,
        # All six together float or all six half. Without this the plugin would be given any mixture.
        types=", ".join(["FP32|FP16"] * 6),
    ),
)


@dataclass(frozen=True)
class FusionResult:
    """How often a rewrite fired, and why not if it did not."""

    count: int
    reason: str = ""


def _activation(op: Any, value: Any) -> Any:
    """Relu, or LeakyRelu with `slope`."""
    return OrValue([op.LeakyRelu(value, alpha=AttrVar("slope", can_match_none=True)), op.Relu(value)], tag_var="relu")


class _Rule(RewriteRuleClassBase):
    """The end of the network as one node."""

    def __init__(self, align_corners: bool) -> None:
        super().__init__()
        self._align_corners = align_corners

    def pattern(self, op: Any, a: Any, b: Any, c: Any, weight: Any, bias: Any) -> Any:
        up_b, up_c = (op.Resize(branch, mode="linear", _allow_other_inputs=True) for branch in (b, c))
        return op.Conv(_activation(op, op.Add(op.Add(a, up_b), up_c)), weight, bias)

    def check(self, op: Any, *args: Any, **inputs: Any) -> MatchResult:
        shape = inputs["weight"].shape
        return MatchResult() if shape and list(shape)[2:] == [1, 1] else MatchResult().fail("not a 1x1 convolution")

    def rewrite(self, op: Any, relu: int, slope: ir.Attr | None = None, **inputs: ir.Value) -> Any:
        # A LeakyRelu that states no slope has ONNX's default.
        value = 0.0 if relu else 0.01 if slope is None else slope.as_float()
        attributes = OP.node_attributes({"slope": value, "align_corners": int(self._align_corners)})
        return op.CE2PEdgeFusion(*(inputs[name] for name in OP.inputs), _domain=DOMAIN, **attributes)


_SECOND_CONVOLUTION = Pattern(lambda op, x, w1, b1, w2, b2: op.Conv(_activation(op, op.Conv(x, w1, b1)), w2, b2))


def insert_edge_fusion(model: ir.Model, output: str, align_corners: bool) -> FusionResult:
    """Replace the nodes that produce graph output `output` by one CE2PEdgeFusion, in place.

    onnxscript's own `apply_to_model` is not used: it may rename values all over the graph, and it keeps reasons to
    itself.
    """
    graph = model.graph
    classifier = next(node for node in graph if output in [value.name for value in node.outputs])
    rules = _Rule.rule(align_corners).commute()  # a sum may have its terms either way round
    found = next(filter(None, (rule.try_rewrite(model, graph, classifier) for rule in rules)), None)
    if found is None:
        if _SECOND_CONVOLUTION.match(model, graph, classifier, check_nodes_are_removable=False):
            return FusionResult(0, "a second convolution stands between the merge and the classifier")
        if any(rule.match(model, graph, classifier, check_nodes_are_removable=False) for rule in rules):
            return FusionResult(0, "a value between the merge and the classifier is used elsewhere too")
        return FusionResult(0, "it does not end in a + up(b) + up(c), Relu or LeakyRelu, 1x1 convolution with bias")
    (node,) = found.new_nodes
    node.name = OP.name
    ir.convenience.replace_nodes_and_values(
        graph, classifier, found.match.nodes, found.new_nodes, found.match.outputs, new_values=found.new_outputs
    )
    OP.define(model, {name: node.attributes[name].value for name in OP.attributes})
    return FusionResult(1)
