"""An ONNX file read into an `OnnxModel`, without any ONNX library and without its weights.

Only what tells how large everything is gets read: of weights their shapes, of small integer and float tensors their
values too, since those hold sizes. What files of ours never hold is refused as it is met, since nothing behind it would
be checked: weights in other files, sparse weights, training graphs, and graphs within nodes, which are the bodies of
If, Loop and Scan. So is what two readers of protobuf might take for different things.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from .model import FLOAT, Attribute, Function, Node, OnnxModel, Port, Reference, Stored
from .protobuf import FIXED32, LENGTH, VARINT, Buffer, Field, fields, packed, signed

# Field numbers of onnx.proto.
MODEL_GRAPH, MODEL_TRAINING, MODEL_FUNCTIONS = 7, 20, 25
GRAPH_NODES, GRAPH_STORED, GRAPH_INPUTS, GRAPH_OUTPUTS, GRAPH_SPARSE = 1, 5, 11, 12, 15
FUNCTION_NAME, FUNCTION_INPUTS, FUNCTION_OUTPUTS, FUNCTION_NODES, FUNCTION_DOMAIN, FUNCTION_OVERLOAD = (
    1,
    4,
    5,
    7,
    10,
    13,
)
NODE_INPUTS, NODE_OUTPUTS, NODE_OPERATOR, NODE_ATTRIBUTES, NODE_DOMAIN, NODE_OVERLOAD = 1, 2, 4, 5, 7, 8
ATTRIBUTE_NAME, ATTRIBUTE_GRAPH, ATTRIBUTE_GRAPHS, ATTRIBUTE_KIND, ATTRIBUTE_REFERENCE = 1, 6, 11, 20, 21
ATTRIBUTE_FLOAT, ATTRIBUTE_INT, ATTRIBUTE_TEXT, ATTRIBUTE_TENSOR, ATTRIBUTE_FLOATS, ATTRIBUTE_INTS = 2, 3, 4, 5, 7, 8
TENSOR_SHAPE, TENSOR_TYPE, TENSOR_NAME, TENSOR_RAW, TENSOR_ELSEWHERE, TENSOR_LOCATION = 1, 2, 8, 9, 13, 14
TENSOR_VALUES = (4, 5, 6, 7, 9, 10, 11)
"""Floats, int32, text, int64, raw bytes, doubles, uint64."""
PORT_NAME, PORT_TYPE, TYPE_TENSOR, TENSOR_TYPE_ELEMENT, TENSOR_TYPE_SHAPE, SHAPE_SIZES, SIZE_VALUE = 1, 2, 1, 1, 2, 1, 1

_READ_TYPES: dict[int, tuple[str, int]] = {FLOAT: ("<f4", 4), 6: ("<i4", 5), 7: ("<i8", 7)}
"""Element type -> how raw bytes hold it, and the field of values that are not stored as raw bytes."""
_MOST_VALUES = 64
"""Values of a stored tensor that are read: sizes, axes and scales have as many as a tensor has dimensions."""
_MOST_FIELDS = 500_000
"""Fields of all messages together, a second's reading and 100 MB; the int8 file of a ResNet-18 has about 8,000."""
_MOST_DIMENSIONS = 8
"""Of a tensor; files of ours have at most 5."""

T = TypeVar("T")
Fields = dict[int, list[Field]]


def read_model(data: Buffer) -> OnnxModel:
    """Read a whole file. Raises ValueError where it is damaged, or holds what files of ours never hold."""
    return _Reader(data).model()


class _Reader:
    """Reads the messages of one file, and counts their fields."""

    def __init__(self, data: Buffer) -> None:
        self._data = data
        self._left = _MOST_FIELDS
        self._kinds: dict[int, Callable[[Fields], Attribute]] = {
            1: lambda found: _last(self._floats(found.get(ATTRIBUTE_FLOAT, [])), 0.0),
            2: lambda found: _last(list(self._integers(found.get(ATTRIBUTE_INT, []))), 0),
            3: lambda found: _last([self._bytes(each) for each in found.get(ATTRIBUTE_TEXT, [])], b""),
            4: lambda found: self._tensor(_only(found, ATTRIBUTE_TENSOR, "tensor of an attribute")),
            6: lambda found: tuple(self._floats(found.get(ATTRIBUTE_FLOATS, []))),
            7: lambda found: tuple(self._integers(found.get(ATTRIBUTE_INTS, []))),
        }

    def model(self) -> OnnxModel:
        found = self._collected(None)
        if MODEL_TRAINING in found:
            raise ValueError("a training graph, which files of ours never hold")
        functions = [self._function(each) for each in found.get(MODEL_FUNCTIONS, [])]
        graph = self._collected(_only(found, MODEL_GRAPH, "graph"))
        if GRAPH_SPARSE in graph:
            raise ValueError("sparse weights, which files of ours never hold")
        stored = [self._tensor(each) for each in graph.get(GRAPH_STORED, [])]
        by_name = {tensor.name: tensor for tensor in stored}
        if len(by_name) < len(stored):
            raise ValueError("two stored tensors of one name")
        return OnnxModel(
            inputs=tuple(self._port(each) for each in graph.get(GRAPH_INPUTS, [])),
            outputs=tuple(self._port(each) for each in graph.get(GRAPH_OUTPUTS, [])),
            nodes=tuple(self._node(each) for each in graph.get(GRAPH_NODES, [])),
            stored=by_name,
            functions=tuple(functions),
        )

    def _function(self, message: Field) -> Function:
        found = self._collected(message)
        if FUNCTION_OVERLOAD in found:
            raise ValueError("overloads of a function, which files of ours never hold")
        return Function(
            name=self._text(_only(found, FUNCTION_NAME, "name of a function")),
            domain=self._text(_only(found, FUNCTION_DOMAIN, "domain of a function")),
            inputs=self._texts(found, FUNCTION_INPUTS),
            outputs=self._texts(found, FUNCTION_OUTPUTS),
            nodes=tuple(self._node(each) for each in found.get(FUNCTION_NODES, [])),
        )

    def _node(self, message: Field) -> Node:
        found = self._collected(message)
        operator = self._text(_only(found, NODE_OPERATOR, "operator of a node"))
        if NODE_OVERLOAD in found:
            raise ValueError(f"an overload of {operator!r:.80}, which files of ours never hold")
        attributes = [self._attribute(each) for each in found.get(NODE_ATTRIBUTES, [])]
        if len({name for name, _ in attributes}) < len(attributes):
            raise ValueError(f"two attributes of one name at a node {operator!r:.80}")
        domain = _last(self._texts(found, NODE_DOMAIN), "")
        inputs, outputs = self._texts(found, NODE_INPUTS), self._texts(found, NODE_OUTPUTS)
        return Node(operator, domain, inputs, outputs, dict(attributes))

    def _attribute(self, message: Field) -> tuple[str, Attribute]:
        found = self._collected(message)
        name = self._text(_only(found, ATTRIBUTE_NAME, "name of an attribute"))
        if found.keys() & {ATTRIBUTE_GRAPH, ATTRIBUTE_GRAPHS}:
            raise ValueError(f"a graph within a node ({name!r:.80}): control flow, which files of ours never hold")
        if ATTRIBUTE_REFERENCE in found:
            return name, Reference(self._text(_only(found, ATTRIBUTE_REFERENCE, "reference of an attribute")))
        kind = self._kinds.get(self._integer(_only(found, ATTRIBUTE_KIND, f"kind of the attribute {name!r:.80}")))
        return name, kind(found) if kind is not None else None

    def _tensor(self, message: Field) -> Stored:
        found = self._collected(message)
        name = _last(self._texts(found, TENSOR_NAME), "")
        if TENSOR_ELSEWHERE in found or any(self._integers(found.get(TENSOR_LOCATION, []))):
            raise ValueError(f"weights in another file (tensor {name!r:.80}), which files of ours never have")
        shape = tuple(self._integers(found.get(TENSOR_SHAPE, [])))
        if len(shape) > _MOST_DIMENSIONS or any(size < 0 for size in shape):
            raise ValueError(f"the shape {list(shape)!s:.80} of the tensor {name!r:.80}")
        payload = sum(each.end - each.start for number in TENSOR_VALUES for each in found.get(number, []))
        if math.prod(shape) > 2 * payload:  # 4-bit values are two to a byte, all others take more
            raise ValueError(f"tensor {name!r:.80} is said to be {list(shape)}, but {payload} bytes are stored of it")
        elem_type = _last(list(self._integers(found.get(TENSOR_TYPE, []))), 0)
        return Stored(name, elem_type, shape, self._values(found, elem_type, shape))

    def _values(self, found: Fields, elem_type: int, shape: tuple[int, ...]) -> NDArray[Any] | None:
        if elem_type not in _READ_TYPES or math.prod(shape) > _MOST_VALUES:
            return None
        dtype, number = _READ_TYPES[elem_type]
        values: Any
        if TENSOR_RAW in found:
            raw = self._bytes(found[TENSOR_RAW][-1])
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
        name = self._text(_only(found, PORT_NAME, "name of an input or output"))
        what = f"of the input or output {name!r:.80}"
        tensor = self._collected(_only(self._collected(_only(found, PORT_TYPE, f"type {what}")), TYPE_TENSOR, "tensor"))
        elem_type = self._integer(_only(tensor, TENSOR_TYPE_ELEMENT, f"element type {what}"))
        sizes = self._collected(_only(tensor, TENSOR_TYPE_SHAPE, f"shape {what}")).get(SHAPE_SIZES, [])
        return Port(name, elem_type, tuple(self._size(each) for each in sizes))

    def _size(self, message: Field) -> int | None:
        sizes = self._collected(message).get(SIZE_VALUE, [])
        return self._integer(sizes[-1]) if sizes else None

    def _collected(self, message: Field | None) -> Fields:
        """The fields of a message, or of the whole file, by number."""
        if message is not None and message.wire_type != LENGTH:
            raise ValueError(f"a number at byte {message.tag}, expected a message")
        start, end = (0, len(self._data)) if message is None else (message.start, message.end)
        found: Fields = {}
        for each in fields(self._data, start, end):
            self._left -= 1
            if self._left < 0:
                raise ValueError(f"more than {_MOST_FIELDS:,} fields")
            found.setdefault(each.number, []).append(each)
        return found

    def _bytes(self, found: Field) -> bytes:
        if found.wire_type != LENGTH:
            raise ValueError(f"a number at byte {found.tag}, expected text")
        return self._data[found.start : found.end]

    def _text(self, found: Field) -> str:
        return self._bytes(found).decode()

    def _texts(self, found: Fields, number: int) -> tuple[str, ...]:
        return tuple(self._text(each) for each in found.get(number, []))

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
        values: list[float] = np.frombuffer(raw, "<f4").tolist()
        return values


def _only(found: Fields, number: int, what: str) -> Field:
    """The one there is: one reader would merge a message in two parts, another take the last."""
    there = found.get(number, [])
    if len(there) != 1:
        raise ValueError(f"{len(there)} times a {what}, expected 1")
    return there[0]


def _last(values: list[T] | tuple[T, ...], default: T) -> T:
    """Of a field that may be left out; where it is there twice, the last counts."""
    return values[-1] if values else default
