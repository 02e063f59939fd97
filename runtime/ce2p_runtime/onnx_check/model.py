"""The graph of an ONNX file as plain data: nodes, stored tensors, inputs and outputs, read without any ONNX library.

Only what tells how large everything is gets read: of weights their shapes, of small integer and float tensors their
values too, since those hold sizes. Field numbers are those of onnx.proto. What files of ours never hold is refused as
it is met, since nothing behind it would be checked: weights in other files, sparse weights, training graphs, and graphs
within nodes, which are the bodies of If, Loop and Scan.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from .protobuf import FIXED32, LENGTH, VARINT, Buffer, Field, fields, packed, signed

__all__ = ["FLOAT", "FLOAT16", "UINT8", "Attribute", "Function", "Node", "OnnxModel", "Port", "Reference", "Stored"]

FLOAT, UINT8, FLOAT16 = 1, 2, 10
"""Element types, as TensorProto.DataType numbers them."""
_READ_TYPES: dict[int, tuple[str, int]] = {1: ("<f4", 4), 6: ("<i4", 5), 7: ("<i8", 7)}
"""Element type -> how it is stored, and the field that holds values which are not stored as raw bytes."""
_MOST_VALUES = 64
"""Values of a stored tensor that are read: sizes, axes and scales have as many as a tensor has dimensions."""
_MOST_FIELDS = 2_000_000
"""Fields of all messages together, two seconds of reading; the int8 file of a ResNet-18 has about 8,000."""
_MOST_DIMENSIONS = 8
"""Of a tensor; files of ours have at most 5."""
_PAYLOADS = (4, 5, 6, 7, 9, 10, 11)
"""Fields of a tensor that hold its values, by type."""

Fields = dict[int, list[Field]]

T = TypeVar("T")


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

    @classmethod
    def read(cls, data: Buffer) -> OnnxModel:
        """Read a whole file. Raises ValueError where it is damaged, or holds what files of ours never hold."""
        return _Reader(data).model()


class _Reader:
    """Reads messages of one file, and counts what it reads."""

    def __init__(self, data: Buffer) -> None:
        self._data = data
        self._left = _MOST_FIELDS

    def model(self) -> OnnxModel:
        functions, graphs = [], []
        for found in self._fields(None):
            if found.number == 7:
                graphs.append(found)
            elif found.number == 25:
                functions.append(self._function(found))
            elif found.number == 20:
                raise ValueError("a training graph, which files of ours never hold")
        graph = _only(graphs, "graphs")
        nodes, stored, inputs, outputs = [], [], [], []
        for found in self._fields(graph):
            if found.number == 1:
                nodes.append(self._node(found))
            elif found.number == 5:
                stored.append(self._tensor(found))
            elif found.number == 11:
                inputs.append(self._port(found))
            elif found.number == 12:
                outputs.append(self._port(found))
            elif found.number == 15:
                raise ValueError("sparse weights, which files of ours never hold")
        by_name = {tensor.name: tensor for tensor in stored}
        if len(by_name) < len(stored):
            raise ValueError("two stored tensors of one name")
        return OnnxModel(tuple(inputs), tuple(outputs), tuple(nodes), by_name, tuple(functions))

    def _function(self, message: Field) -> Function:
        texts: dict[int, list[str]] = {1: [], 4: [], 5: [], 10: [], 13: []}
        nodes = []
        for found in self._fields(message):
            if found.number in texts:
                texts[found.number].append(self._text(found))
            elif found.number == 7:
                nodes.append(self._node(found))
        if texts[13]:
            raise ValueError("overloads of a function, which files of ours never hold")
        name, domain = _only(texts[1], "names of a function"), _only(texts[10], "domains of a function")
        return Function(name, domain, tuple(texts[4]), tuple(texts[5]), tuple(nodes))

    def _node(self, message: Field) -> Node:
        texts: dict[int, list[str]] = {1: [], 2: [], 4: [], 7: [], 8: []}
        attributes: dict[str, Attribute] = {}
        for found in self._fields(message):
            if found.number in texts:
                texts[found.number].append(self._text(found))
            elif found.number == 5:
                name, value = self._attribute(found)
                if name in attributes:
                    raise ValueError(f"two attributes {name} of a node")
                attributes[name] = value
        operator = _only(texts[4], "operators of a node")
        if texts[8]:
            raise ValueError(f"an overload of {operator}, which files of ours never hold")
        return Node(operator, "".join(texts[7][-1:]), tuple(texts[1]), tuple(texts[2]), attributes)

    def _attribute(self, message: Field) -> tuple[str, Attribute]:
        found = self._collected(message)
        name = self._text(_only(found.get(1, []), "names of an attribute"))
        if found.keys() & {6, 11}:
            raise ValueError(f"a graph within a node (attribute {name}): control flow, which files of ours never hold")
        if 21 in found:
            return name, Reference(self._text(_only(found[21], "references of an attribute")))
        kind = self._integer(_only(found.get(20, []), f"kinds of attribute {name}"))
        if kind == 1:
            return name, (*self._floats(found.get(2, [])), 0.0)[0]
        if kind == 2:
            return name, self._integer(found[3][-1]) if 3 in found else 0
        if kind == 3:
            return name, self._bytes(found[4][-1]) if 4 in found else b""
        if kind == 4:
            return name, self._tensor(_only(found.get(5, []), f"tensors of attribute {name}"))
        if kind == 6:
            return name, tuple(self._floats(found.get(7, [])))
        if kind == 7:
            return name, tuple(self._integers(found.get(8, [])))
        return name, None

    def _tensor(self, message: Field) -> Stored:
        found = self._collected(message)
        name = self._text(found[8][-1]) if 8 in found else ""
        if 13 in found or any(self._integer(each) for each in found.get(14, [])):
            raise ValueError(f"weights in another file (tensor {name:.80}), which files of ours never have")
        shape = tuple(self._integers(found.get(1, [])))
        elem_type = self._integer(found[2][-1]) if 2 in found else 0
        if len(shape) > _MOST_DIMENSIONS or any(size < 0 for size in shape):
            raise ValueError(f"the shape {list(shape)} of tensor {name:.80}")
        payload = sum(each.end - each.start for number in _PAYLOADS for each in found.get(number, []))
        if math.prod(shape) > 2 * payload:  # 4-bit values are two to a byte, all others take more
            raise ValueError(f"tensor {name:.80} is said to be {list(shape)}, but {payload} bytes are stored of it")
        return Stored(name, elem_type, shape, self._values(found, elem_type, shape))

    def _values(self, found: Fields, elem_type: int, shape: tuple[int, ...]) -> NDArray[Any] | None:
        if elem_type not in _READ_TYPES or math.prod(shape) > _MOST_VALUES:
            return None
        dtype, number = _READ_TYPES[elem_type]
        values: Any
        if 9 in found:
            raw = self._bytes(found[9][-1])
            values = np.frombuffer(raw, dtype) if len(raw) % np.dtype(dtype).itemsize == 0 else ()
        elif elem_type == FLOAT:
            values = self._floats(found.get(number, []))
        else:
            values = list(self._integers(found.get(number, [])))
        if len(values) != math.prod(shape):
            raise ValueError(f"{len(values)} values for a tensor {list(shape)}")
        return np.array(values, np.float64 if elem_type == FLOAT else np.int64).reshape(shape)

    def _port(self, message: Field) -> Port:
        found = self._collected(message)
        name = self._text(_only(found.get(1, []), "names of an input or output"))
        kinds = self._collected(_only(found.get(2, []), f"types of {name:.80}"))
        tensor = self._collected(_only(kinds.get(1, []), f"tensor types of {name:.80}"))
        elem_type = self._integer(_only(tensor.get(1, []), f"element types of {name:.80}"))
        shape = self._collected(_only(tensor.get(2, []), f"shapes of {name:.80}"))
        return Port(name, elem_type, tuple(self._dimension(each) for each in shape.get(1, [])))

    def _dimension(self, message: Field) -> int | None:
        sizes = self._collected(message).get(1, [])
        return self._integer(sizes[-1]) if sizes else None

    def _fields(self, message: Field | None) -> Iterator[Field]:
        """Those of a message, or of the whole file."""
        if message is not None and message.wire_type != LENGTH:
            raise ValueError(f"a number at byte {message.tag}, expected a message")
        start, end = (0, len(self._data)) if message is None else (message.start, message.end)
        for found in fields(self._data, start, end):
            self._left -= 1
            if self._left < 0:
                raise ValueError(f"more than {_MOST_FIELDS:,} fields")
            yield found

    def _collected(self, message: Field) -> Fields:
        """Those of a message by number."""
        found: Fields = {}
        for each in self._fields(message):
            found.setdefault(each.number, []).append(each)
        return found

    def _bytes(self, found: Field) -> bytes:
        if found.wire_type != LENGTH:
            raise ValueError(f"a number at byte {found.tag}, expected text")
        return self._data[found.start : found.end]

    def _text(self, found: Field) -> str:
        return self._bytes(found).decode()

    def _integer(self, found: Field) -> int:
        # Other readers leave out a number of another wire type without a word, and would see another one than we do.
        if found.wire_type != VARINT:
            raise ValueError(f"wire type {found.wire_type} at byte {found.tag}, expected a number")
        return signed(found.value)

    def _integers(self, found: list[Field]) -> Iterator[int]:
        """Repeated integers, one to a field or many packed into one."""
        for each in found:
            if each.wire_type == LENGTH:
                yield from packed(self._data, each.start, each.end)
            else:
                yield self._integer(each)

    def _floats(self, found: list[Field]) -> list[float]:
        """Repeated floats, likewise."""
        if any(each.wire_type not in (FIXED32, LENGTH) or (each.end - each.start) % 4 for each in found):
            raise ValueError("numbers that are no floats")
        raw = b"".join(self._data[each.start : each.end] for each in found)
        return np.frombuffer(raw, "<f4").tolist()


def _only(found: list[T], what: str) -> T:
    """The one there is: a message in two parts would be merged by one reader and replaced by another."""
    if len(found) != 1:
        raise ValueError(f"{len(found)} {what}, expected 1")
    return found[0]
