"""What an exported file asks of a machine: FLOPs by arithmetic, and the bytes that its products read and write.

Counted are convolutions and matrix products, which are all but a few per mille of a CE2P network's arithmetic. Each
reads its inputs and weights once and writes its output once; every other operator is taken as fused into one of them,
and caches as absent. So the bytes are what a good implementation moves, not a bound below which none can go.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import onnx

from ce2p_export.onnx_facts import infer_inlined, product_flops, tensor_shapes

Arithmetic = Literal["fp32", "bf16", "int8"]
ARITHMETICS: tuple[Arithmetic, ...] = ("fp32", "bf16", "int8")
SIZES: dict[Arithmetic, int] = {"fp32": 4, "bf16": 2, "int8": 1}
"""Bytes of a value."""
_MOVING = {"Flatten", "Identity", "MaxPool", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"}
"""Operators that commute with DequantizeLinear: runtimes move it past them."""


@dataclass(frozen=True)
class Workload:
    """Of one forward pass at batch 1, split into quantised products and those in floating point."""

    int8_flops: int
    float_flops: int
    int8_values: int
    """Read or written by quantised products: weights and activations."""
    float_values: int

    @property
    def flops(self) -> int:
        return self.int8_flops + self.float_flops

    def bytes(self, floats: Arithmetic = "fp32") -> int:
        """Bytes moved, with floats kept as `floats`."""
        return self.int8_values * SIZES["int8"] + self.float_values * SIZES[floats]

    def by_arithmetic(self, floats: Arithmetic = "fp32") -> dict[Arithmetic, int]:
        """FLOPs of each arithmetic that occurs, with float products computed in `floats`."""
        split: dict[Arithmetic, int] = {"int8": self.int8_flops, floats: self.float_flops}
        return {arithmetic: flops for arithmetic, flops in split.items() if flops}


def workload_of_file(path: Path) -> Workload:
    """Raises CE2PError for products whose shapes are not known."""
    return workload_of(onnx.load(str(path)))


def workload_of(model: onnx.ModelProto) -> Workload:
    """A product counts as quantised when its weight and its input come out of DequantizeLinear; then it is computed on
    integers by every runtime that can. Raises CE2PError for products whose shapes are not known."""
    graph = infer_inlined(model).graph
    makers = {output: node for node in graph.node for output in node.output}
    shapes = tensor_shapes(graph)
    flops, values = {True: 0, False: 0}, {True: 0, False: 0}
    for node, count in product_flops(graph):
        quantised = all(_dequantised(name, makers) for name in node.input[:2])
        flops[quantised] += count
        values[quantised] += sum(math.prod(shapes[name]) for name in (*node.input[:2], node.output[0]))
    return Workload(flops[True], flops[False], values[True], values[False])


def _dequantised(name: str, makers: dict[str, onnx.NodeProto]) -> bool:
    maker = makers.get(name)
    while maker is not None and maker.op_type in _MOVING:
        maker = makers.get(maker.input[0])
    return maker is not None and maker.op_type == "DequantizeLinear"
