"""The graph of an ONNX file as plain data: what `reading` reads and the checks look at."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

FLOAT, UINT8, FLOAT16 = 1, 2, 10
"""Element types, as TensorProto.DataType numbers them."""


@dataclass(frozen=True)
class Port:
    """An input or an output of the graph."""

    name: str
    elem_type: int
    shape: tuple[int | None, ...]
    """None for a dynamic dimension."""


@dataclass(frozen=True)
class Stored:
    """A tensor whose values are in the file."""

    name: str
    elem_type: int
    shape: tuple[int, ...]
    values: NDArray[Any] | None
    """Of this shape, where there are few enough to be read."""


@dataclass(frozen=True)
class Reference:
    """Stands in a function's body for the attribute of this name at the node that calls it."""

    name: str


Attribute = int | float | bytes | tuple[int, ...] | tuple[float, ...] | Stored | Reference | None
"""A node's setting; None for one of another kind, which no operator of ours looks at."""


@dataclass(frozen=True)
class Node:
    """One operation."""

    op_type: str
    domain: str
    """Empty for ONNX's own operators."""
    inputs: tuple[str, ...]
    """Names; an empty one is an optional input left out."""
    outputs: tuple[str, ...]
    attributes: dict[str, Attribute] = field(default_factory=dict)


@dataclass(frozen=True)
class Function:
    """The body of an operator in terms of others."""

    name: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: tuple[Node, ...]


@dataclass(frozen=True)
class OnnxModel:
    """What an ONNX file holds besides its weights."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    nodes: tuple[Node, ...]
    stored: dict[str, Stored]
    functions: tuple[Function, ...]
