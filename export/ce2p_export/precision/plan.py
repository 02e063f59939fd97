"""What precision each part of a graph gets, and the one function that carries it out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import onnx_ir as ir
from numpy.typing import NDArray

from .groups import check_known, layer_groups
from .half import to_half
from .int8 import TARGETS, Target, nodes_to_quantise, quantise
from .ranges import Method, Range

__all__ = ["Precision", "PrecisionPlan", "Quantisation", "convert"]

Precision = Literal["fp32", "fp16", "bf16", "int8"]

BFLOAT16_OPSET = 22
"""The first in which convolution and pooling take bfloat16."""


@dataclass(frozen=True)
class PrecisionPlan:
    """How a pure float32 graph is to be converted."""

    precision: Precision = "fp32"
    keep: frozenset[str] = frozenset()
    """Layer groups that stay in higher precision: float32, or float16 in int8 files for TensorRT."""
    target: Target = "cpu"
    """int8 only: for whose kernels."""
    ranges: Mapping[str, Range] = field(default_factory=dict)
    """int8 only: (low, high) of each activation that may be quantised."""
    unrounded: frozenset[str] = frozenset()
    """int8 only: layer groups of 8-bit products whose results stay float until another product or sum takes them."""


@dataclass(frozen=True)
class Quantisation:
    """How activations get their 8 bits."""

    inputs: Sequence[NDArray[Any]]
    """Calibration pictures as the network takes them, in full batches of its size."""
    note: str
    """Which pictures these are, in words."""
    method: Method = "mse"
    target: Target = "cpu"
    may_thin: bool = False
    """Whether the context convolution may be thinned (low_rank.py). Wants pictures like those to come: drawn
    people do not show what a network sees in photographs."""


def convert(pure: ir.Model | bytes, plan: PrecisionPlan) -> ir.Model:
    """A pure graph, as a model (which is used up) or serialised, in the precision of `plan`.

    Raises CE2PError for unknown groups, for weights that float16 cannot hold and for nothing left to quantise.
    """
    if plan.precision == "int8":
        content = pure if isinstance(pure, bytes) else ir.to_proto(pure).SerializeToString()
        flavour = TARGETS[plan.target]
        graph = _loaded(content).graph
        groups = layer_groups(graph)
        check_known(plan.unrounded, groups)
        unrounded = [node for group in plan.unrounded for node in groups[group]]
        model = quantise(content, plan.ranges, flavour, nodes_to_quantise(graph, flavour, plan.keep), unrounded)
        if flavour.float16_between:
            to_half(model, "fp16")
        return model
    model = _loaded(pure) if isinstance(pure, bytes) else pure
    if plan.precision == "fp32":
        return model
    groups = layer_groups(model.graph)
    to_half(model, plan.precision, [node for group in plan.keep for node in groups[group]])
    if plan.precision == "bf16":
        model.opset_imports[""] = BFLOAT16_OPSET
    return model


def _loaded(content: bytes) -> ir.Model:
    import onnx

    return ir.from_proto(onnx.load_from_string(content))
