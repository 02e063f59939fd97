"""Which layers of a graph are converted, and the function that carries a precision out: one converter each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from ce2p_runtime.precisions import CalibrationMethod, HalfType, Target

from .groups import check_known, layer_groups
from .half import to_half
from .int8 import FLAVOURS, nodes_to_quantise, quantise
from .ranges import Range

BFLOAT16_OPSET = 22
"""The first in which convolution and pooling take bfloat16."""


@dataclass(frozen=True)
class PrecisionPlan:
    """Which layers of a pure float32 graph are converted, and over which ranges."""

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
    method: CalibrationMethod = "mse"
    target: Target = "cpu"
    low_rank: bool = False
    """Whether the context convolution may be factorised (low_rank.py). Wants pictures like those to come: synthetic
    people do not show what a network sees in photographs."""


def convert(graph: bytes, precision: str, plan: PrecisionPlan) -> ir.Model:
    """A serialised pure graph in `precision`.

    Raises CE2PError for unknown groups, for weights that float16 cannot hold and for nothing left to quantise.
    """
    return CONVERTERS[precision](graph, plan)


def _to_float32(graph: bytes, plan: PrecisionPlan) -> ir.Model:
    return ir.from_proto(onnx.load_from_string(graph))


def _to_half(half: HalfType, graph: bytes, plan: PrecisionPlan) -> ir.Model:
    model = _to_float32(graph, plan)
    groups = layer_groups(model.graph)
    to_half(model, half, [node for group in plan.keep for node in groups[group]])
    if half == "bfloat16":
        model.opset_imports[""] = BFLOAT16_OPSET
    return model


def _to_int8(graph: bytes, plan: PrecisionPlan) -> ir.Model:
    flavour = FLAVOURS[plan.target]
    pure = _to_float32(graph, plan).graph
    groups = layer_groups(pure)
    check_known(plan.unrounded, groups)
    unrounded = [node for group in plan.unrounded for node in groups[group]]
    nodes = nodes_to_quantise(pure, flavour, plan.keep)
    model = quantise(graph, plan.ranges, flavour=flavour, nodes=nodes, unrounded=unrounded)
    if flavour.between is not None:
        to_half(model, flavour.between)
    return model


CONVERTERS: Mapping[str, Callable[[bytes, PrecisionPlan], ir.Model]] = {
    "fp32": _to_float32,
    "fp16": partial(_to_half, "float16"),
    "bf16": partial(_to_half, "bfloat16"),
    "int8": _to_int8,
}
"""One for each of `ce2p_runtime.precisions.PRECISIONS`."""
