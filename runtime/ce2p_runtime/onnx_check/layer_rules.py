"""Sizes of what computes: element by element, convolutions, pooling, products, reductions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .sizes import FEW, Call, Made, Rule, Sized, broadcast


def same_shape(call: Call) -> Made:
    """Element by element, in the shape of the first input."""
    first = call.input(0)
    return Made(Sized(first.shape), first.count)


def broadcasting(call: Call) -> Made:
    """Element by element over all inputs."""
    shape = broadcast(*(each.shape for each in call.inputs if each is not None))
    return Made(Sized(shape), math.prod(shape))


def arithmetic(of: Callable[[Any, Any], Any]) -> Rule:
    """The same of two inputs, and their values where both are known integers: sizes are added and divided, too."""

    def rule(call: Call) -> Made:
        made = broadcasting(call)
        a, b = call.input(0).values, call.input(1).values
        if a is None or b is None or a.dtype.kind + b.dtype.kind != "ii" or made.output.count > FEW:
            return made
        if max(int(np.abs(x).max(initial=0)) for x in (a, b)) >> 31:  # beyond, NumPy would overflow
            return made
        return Made(Sized(made.output.shape, np.asarray(of(a, b), np.int64)), made.work)

    return rule


def divided(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    """Division of integers as ONNX has it, towards zero."""
    if not b.all():
        raise ValueError("a division by zero")
    return np.trunc(a / b)


def convolution(call: Call) -> Made:
    """[N, C, ...] with weights [M, C / groups, ...] to [N, M, ...]."""
    source, weight = call.input(0).shape, call.input(1).shape
    groups = call.integer("group", 1)
    if len(source) < 3 or len(weight) != len(source) or groups < 1 or source[1] != weight[1] * groups:
        raise ValueError(f"weights {list(weight)} in {groups} groups on {list(source)}")
    shape = (source[0], weight[0], *_windows(call, list(weight[2:])))
    products = math.prod(shape) * math.prod(weight[1:])
    return Made(Sized(shape), products, products)


def pooling(call: Call) -> Made:
    """[N, C, ...] to [N, C, ...]."""
    source = call.input(0).shape
    kernel = call.integers("kernel_shape", [])
    if len(source) < 3:
        raise ValueError(f"pooling of {list(source)}")
    shape = (*source[:2], *_windows(call, kernel))
    return Made(Sized(shape), math.prod(shape) * math.prod(kernel))


def _windows(call: Call, kernel: list[int]) -> list[int]:
    """Positions of a kernel along each axis that it slides over."""
    sizes = call.input(0).shape[2:]
    rank = len(sizes)
    if len(kernel) != rank or min(kernel) < 1:
        raise ValueError(f"a kernel {kernel} over {list(sizes)}")
    strides = call.integers("strides", [1] * rank, rank)
    dilations = call.integers("dilations", [1] * rank, rank)
    pads = call.integers("pads", [0] * 2 * rank, 2 * rank)
    spans = [dilation * (size - 1) + 1 for dilation, size in zip(dilations, kernel, strict=True)]
    if min(*strides, *dilations) < 1 or any(not 0 <= p <= s for p, s in zip(pads, spans * 2, strict=True)):
        raise ValueError(f"strides {strides}, dilations {dilations} and pads {pads} of a kernel {kernel}")
    if call.text("auto_pad", "NOTSET") != "NOTSET":
        raise ValueError("automatic padding")
    found = []
    for size, stride, span, before, after in zip(sizes, strides, spans, pads[:rank], pads[rank:], strict=True):
        room = size + before + after - span
        steps = room // stride
        if call.integer("ceil_mode", 0) and room % stride:
            # One more window, if it begins within the picture or the padding before it.
            steps += (steps + 1) * stride < size + before
        found.append(steps + 1)
    return found


def global_pooling(call: Call) -> Made:
    """[N, C, ...] to [N, C, 1, ...]."""
    source = call.input(0)
    return Made(Sized((*source.shape[:2], *[1] * (len(source.shape) - 2))), source.count)


def product(call: Call) -> Made:
    """Matrices [..., a, b] and [..., b, c] to [..., a, c]."""
    a, b = call.input(0).shape, call.input(1).shape
    if min(len(a), len(b)) < 2 or a[-1] != b[-2]:
        raise ValueError(f"a product of {list(a)} and {list(b)}")
    shape = (*broadcast(a[:-2], b[:-2]), a[-2], b[-1])
    products = math.prod(shape) * a[-1]
    return Made(Sized(shape), max(products, math.prod(shape)), products)


def reduction(call: Call) -> Made:
    """Sum, mean or the like over some axes."""
    return _without(call, call.axes(len(call.input(0).shape), 1))


def best_index(call: Call) -> Made:
    """ArgMax, over one axis."""
    return _without(call, [call.axis(call.integer("axis", 0), len(call.input(0).shape))])


def _without(call: Call, axes: list[int]) -> Made:
    source, kept = call.input(0), call.integer("keepdims", 1)
    shape = tuple(1 if axis in axes else size for axis, size in enumerate(source.shape) if kept or axis not in axes)
    return Made(Sized(shape), source.count)
