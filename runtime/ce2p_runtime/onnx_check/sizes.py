"""The size of a tensor, and a node with its inputs' sizes: what the rules of the operators are written in."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from .model import Node

Shape = tuple[int, ...]
FEW = 64
"""Values of a tensor that is followed with them; shapes have a handful."""


@dataclass(frozen=True)
class Sized:
    """A tensor: its shape, and its values (int64 or float64) where they are few and known."""

    shape: Shape
    values: NDArray[Any] | None = None

    @property
    def count(self) -> int:
        return math.prod(self.shape)

    def integers(self) -> list[int]:
        """Its values in a list. Raises ValueError where they are not known."""
        if self.values is None or self.values.dtype.kind != "i":
            raise ValueError("its sizes depend on values that are not known")
        return [int(value) for value in self.values.reshape(-1)]

    def reshaped(self, shape: Shape) -> Sized:
        """The same values in another shape of as many."""
        return Sized(shape, self.values.reshape(shape) if self.values is not None else None)


@dataclass(frozen=True)
class Made:
    """What a node makes."""

    output: Sized
    work: int
    """Values computed, or multiplications, whichever are more."""
    products: int = 0
    """Multiplications of convolutions and matrix products."""


@dataclass(frozen=True)
class Call:
    """A node with its inputs. Its methods raise ValueError where something is missing or of another kind."""

    node: Node
    inputs: tuple[Sized | None, ...]

    def input(self, index: int) -> Sized:
        found = self.optional(index)
        if found is None:
            raise ValueError(f"its input {index} is missing")
        return found

    def optional(self, index: int) -> Sized | None:
        return self.inputs[index] if index < len(self.inputs) else None

    def integer(self, name: str, default: int) -> int:
        value = self.node.attributes.get(name, default)
        if not isinstance(value, int):
            raise ValueError(f"its attribute {name} is no integer")
        return value

    def integers(self, name: str, default: Sequence[int], count: int | None = None) -> list[int]:
        """A list of integers, `count` of them where that is settled."""
        value = self.node.attributes.get(name, tuple(default))
        if not isinstance(value, tuple) or not all(isinstance(each, int) for each in value):
            raise ValueError(f"its attribute {name} is no list of integers")
        if count is not None and len(value) != count:
            raise ValueError(f"its attribute {name} has {len(value)} values, expected {count}")
        return [int(each) for each in value]

    def text(self, name: str, default: str) -> str:
        value = self.node.attributes.get(name, default.encode())
        if not isinstance(value, bytes):
            raise ValueError(f"its attribute {name} is no text")
        return value.decode()

    def axis(self, value: int, rank: int) -> int:
        """Counted from the front."""
        if not -rank <= value < rank:
            raise ValueError(f"axis {value} of {rank} dimensions")
        return value % rank

    def axes(self, rank: int, index: int) -> list[int]:
        """From input `index` or, in older operator sets, an attribute; all of them where neither is there."""
        given = self.optional(index)
        axes = given.integers() if given is not None else self.integers("axes", range(rank))
        found = [self.axis(axis, rank) for axis in axes]
        if len(set(found)) < len(found):
            raise ValueError(f"axes {axes} of {rank} dimensions")
        return found


Rule = Callable[[Call], Made]
"""Of one operator. Raises ValueError where the inputs do not fit or a size cannot be known."""


def broadcast(*shapes: Shape) -> Shape:
    """NumPy's broadcasting. Raises ValueError for shapes that do not fit."""
    rank = max((len(shape) for shape in shapes), default=0)
    result = [1] * rank
    for shape in shapes:
        for axis, size in enumerate(shape, rank - len(shape)):
            if size != 1 and result[axis] not in (1, size):
                raise ValueError(f"shapes {', '.join(str(list(shape)) for shape in shapes):.200} do not fit")
            result[axis] = size if size != 1 else result[axis]
    return tuple(result)
