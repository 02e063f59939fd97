"""Cast nodes, for passes that change types."""

from __future__ import annotations

import onnx_ir as ir

__all__ = ["cast_of", "producer_of"]


def cast_of(value: ir.Value, dtype: ir.DataType, name: str | None) -> ir.Value:
    """The output, called `name`, of a new Cast of `value`; its node is not in a graph yet."""
    output = ir.Value(name=name, shape=value.shape, type=ir.TensorType(dtype))
    ir.Node("", "Cast", [value], [ir.AttrInt64("to", dtype)], outputs=[output], name=f"cast_{name}")
    return output


def producer_of(value: ir.Value) -> ir.Node:
    """The node that makes `value`, which must be a node's output."""
    node = value.producer()
    assert node is not None  # noqa: S101  (what callers promise)
    return node
