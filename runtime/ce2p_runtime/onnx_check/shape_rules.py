"""Sizes of what moves values about: reshaping, slicing, joining, padding, resizing.

Values are followed where they are known, since graphs work out shapes with these operators, too.
"""

from __future__ import annotations

import math

import numpy as np

from .model import Stored
from .sizes import FEW, Call, Made, Shape, Sized

_INTEGERS = (6, 7)
"""int32 and int64, as TensorProto.DataType numbers them."""


def identity(call: Call) -> Made:
    """The same again."""
    first = call.input(0)
    return Made(first, first.count)


def cast(call: Call) -> Made:
    """To another type. Integers stay sizes as integers; what becomes or was a float is followed no further."""
    first = call.input(0)
    whole = first.values is not None and first.values.dtype.kind == "i" and call.integer("to", 0) in _INTEGERS
    return Made(Sized(first.shape, first.values if whole else None), first.count)


def transpose(call: Call) -> Made:
    """Dimensions in another order, the reverse one unless told."""
    source = call.input(0)
    rank = len(source.shape)
    order = call.integers("perm", range(rank - 1, -1, -1), rank)
    if sorted(order) != list(range(rank)):
        raise ValueError(f"a permutation {order} of {rank} dimensions")
    return Made(Sized(tuple(source.shape[axis] for axis in order)), source.count)


def reshape(call: Call) -> Made:
    """To the shape in the second input: 0 keeps a dimension, -1 takes what is left."""
    source, wanted = call.input(0), call.input(1).integers()
    keeps_zero = call.integer("allowzero", 0)
    shape = [
        source.shape[axis] if size == 0 and not keeps_zero and axis < len(source.shape) else size
        for axis, size in enumerate(wanted)
    ]
    if shape.count(-1) == 1:
        others = -math.prod(shape)
        shape[shape.index(-1)] = source.count // others if others > 0 else -1
    if min(shape, default=0) < 0 or math.prod(shape) != source.count:
        raise ValueError(f"{list(source.shape)} as {wanted}")
    return Made(source.reshaped(tuple(shape)), source.count)


def squeeze(call: Call) -> Made:
    """Without some dimensions of 1, or without any."""
    source = call.input(0)
    told = call.optional(1) is not None or "axes" in call.node.attributes
    rank = len(source.shape)
    dropped = call.axes(rank, 1) if told else [axis for axis in range(rank) if source.shape[axis] == 1]
    if any(source.shape[axis] != 1 for axis in dropped):
        raise ValueError(f"dimensions {dropped} of {list(source.shape)} are not all 1")
    kept = tuple(size for axis, size in enumerate(source.shape) if axis not in dropped)
    return Made(source.reshaped(kept), source.count)


def unsqueeze(call: Call) -> Made:
    """With more dimensions of 1."""
    source, given = call.input(0), call.input(1).integers()
    rank = len(source.shape) + len(given)
    added = {call.axis(axis, rank) for axis in given}
    if len(added) < len(given):
        raise ValueError(f"axes {given} of {rank} dimensions")
    sizes = iter(source.shape)
    shape = tuple(1 if axis in added else next(sizes) for axis in range(rank))
    return Made(source.reshaped(shape), source.count)


def slicing(call: Call) -> Made:
    """start:end:step along some axes, in the inputs 1 to 4."""
    source = call.input(0)
    starts, ends = call.input(1).integers(), call.input(2).integers()
    axes = call.axes(len(source.shape), 3) if call.optional(3) is not None else list(range(len(starts)))
    given = call.optional(4)
    steps = given.integers() if given is not None else [1] * len(starts)
    if not len(starts) == len(ends) == len(axes) == len(steps) <= len(source.shape) or 0 in steps:
        raise ValueError(f"a slice {starts}:{ends}:{steps} along {axes} of {list(source.shape)}")
    cut = [slice(None)] * len(source.shape)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        # Backwards, an end before the first item means "to the first"; Python would count it from the back.
        cut[axis] = slice(start, None if step < 0 and end < -source.shape[axis] else end, step)
    shape = tuple(len(range(*part.indices(size))) for part, size in zip(cut, source.shape, strict=True))
    values = source.values[tuple(cut)] if source.values is not None else None
    return Made(Sized(shape, values), math.prod(shape))


def concatenation(call: Call) -> Made:
    """One behind the other along an axis."""
    parts = [each for each in call.inputs if each is not None]
    rank = len(call.input(0).shape)
    axis = call.axis(call.integer("axis", 0), rank)

    def others(shape: Shape) -> Shape:
        return (*shape[:axis], *shape[axis + 1 :])

    if any(len(part.shape) != rank or others(part.shape) != others(parts[0].shape) for part in parts):
        raise ValueError(f"{', '.join(str(list(part.shape)) for part in parts):.200} along axis {axis}")
    shape = (*parts[0].shape[:axis], sum(part.shape[axis] for part in parts), *parts[0].shape[axis + 1 :])
    values = [part.values for part in parts if part.values is not None]
    known = len(values) == len(parts) and math.prod(shape) <= FEW
    return Made(Sized(shape, np.concatenate(values, axis) if known else None), math.prod(shape))


def gather(call: Call) -> Made:
    """The items of the indices in the second input along an axis."""
    source, indices = call.input(0), call.input(1)
    axis = call.axis(call.integer("axis", 0), len(source.shape))
    shape = (*source.shape[:axis], *indices.shape, *source.shape[axis + 1 :])
    values = None
    if source.values is not None and indices.values is not None and math.prod(shape) <= FEW:
        size = source.shape[axis]
        if not all(-size <= index < size for index in indices.integers()):
            raise ValueError(f"indices {indices.integers()} of {size} items")
        values = np.take(source.values, indices.values.astype(np.int64), axis)
    return Made(Sized(shape, values), math.prod(shape))


def gather_nd(call: Call) -> Made:
    """The items that rows of indices point at."""
    source, indices = call.input(0).shape, call.input(1).shape
    depth = call.integer("batch_dims", 0) + (indices[-1] if indices else 0)
    if not 1 <= depth <= len(source) or len(indices) < 1:
        raise ValueError(f"indices {list(indices)} of {list(source)}")
    shape = (*indices[:-1], *source[depth:])
    return Made(Sized(shape), math.prod(shape))


def padding(call: Call) -> Made:
    """More (or, negative, fewer) items at both ends of some axes."""
    source, pads = call.input(0), call.input(1).integers()
    axes = call.axes(len(source.shape), 3)
    if len(pads) != 2 * len(axes):
        raise ValueError(f"{len(pads)} pads for {len(axes)} dimensions")
    shape = list(source.shape)
    for index, axis in enumerate(axes):
        shape[axis] += pads[index] + pads[index + len(axes)]
    return Made(Sized(tuple(shape)), max(0, math.prod(shape)))


def resize(call: Call) -> Made:
    """To the sizes in input 3, or by the scales in input 2."""
    source, scales, sizes = call.input(0).shape, call.optional(2), call.optional(3)
    if call.text("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise ValueError("an aspect ratio to keep")
    axes = [call.axis(axis, len(source)) for axis in call.integers("axes", range(len(source)))]
    if sizes is not None:
        found = sizes.integers()
    elif scales is not None and scales.values is not None and np.isfinite(scales.values).all():
        factors = scales.values.reshape(-1).tolist()
        found = [math.floor(source[axis] * factor) for axis, factor in zip(axes, factors, strict=False)]
    else:
        raise ValueError("neither sizes nor scales are known")
    if len(found) != len(axes):
        raise ValueError(f"{len(found)} sizes for {len(axes)} dimensions")
    shape = list(source)
    for axis, size in zip(axes, found, strict=True):
        shape[axis] = size
    return Made(Sized(tuple(shape)), max(0, math.prod(shape)))


def shape_of(call: Call) -> Made:
    """A shape, or a part of it, as values."""
    source = call.input(0).shape
    part = source[call.integer("start", 0) : call.integer("end", len(source))]
    return Made(Sized((len(part),), np.array(part, np.int64)), 1)


def constant(call: Call) -> Made:
    """A value that stands in the node itself."""
    attributes = call.node.attributes
    if isinstance(tensor := attributes.get("value"), Stored):
        return Made(Sized(tensor.shape, tensor.values), 1)
    for name in ("value_int", "value_ints", "value_float", "value_floats"):
        value = attributes.get(name)
        if isinstance(value, (int, float, tuple)):
            values = np.array(value, np.int64 if "int" in name else np.float64)
            return Made(Sized(values.shape, values), 1)
    raise ValueError("a constant without a value that can be read")
