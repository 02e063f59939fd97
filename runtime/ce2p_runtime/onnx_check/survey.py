"""What running a graph takes: memory, work, and the shapes that come out, for one batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

from .model import Attribute, Function, Node, OnnxModel, Reference
from .operators import made_by
from .sizes import Shape, Sized

_MOST_NODES = 20_000
"""With functions expanded. The int8 file of a ResNet-18 has 358, that of a ResNet-101 about three times as many."""
_MOST_FUNCTION_NODES = 32
"""In the body of one of our two functions, which have 7."""
_DOMAIN = "ce2p"


@dataclass(frozen=True)
class Survey:
    """Of a graph with its functions expanded, a dynamic batch taken as 1."""

    outputs: tuple[Shape, ...]
    peak: int
    """Values alive at once, weights apart, where each is dropped after its last use."""
    work: int
    """Values computed, or multiplications where these are more, all nodes together."""
    products: int
    """Multiplications of convolutions and matrix products."""


def survey(model: OnnxModel) -> Survey:
    """Go through a graph in its order. Raises ValueError where something has no size, is missing, or is not ours."""
    nodes = inlined(model)
    known = {port.name: Sized(tuple(1 if size is None else size for size in port.shape)) for port in model.inputs}
    uses = Counter(name for node in nodes for name in node.inputs)
    uses.update(port.name for port in model.outputs)
    alive = peak = sum(tensor.count for tensor in known.values())
    work = products = 0
    for node in nodes:
        inputs = tuple(_looked_up(name, known, model) for name in node.inputs)
        made = made_by(node, inputs)
        work, products = work + made.work, products + made.products
        outputs = [name for name in node.outputs if name]  # optional ones may be left out
        for name in outputs:
            if name in known or name in model.stored:
                raise ValueError(f"two values are called {name!r:.80}")
            known[name] = made.output
            alive += made.output.count
        peak = max(peak, alive)
        for name in (*set(node.inputs), *outputs):
            uses[name] -= node.inputs.count(name)
            if uses[name] <= 0 and name in known:
                alive -= known[name].count
    return Survey(tuple(_output(port.name, known) for port in model.outputs), peak, work, products)


def _looked_up(name: str, known: dict[str, Sized], model: OnnxModel) -> Sized | None:
    if not name:
        return None
    if name in model.stored:
        tensor = model.stored[name]
        return Sized(tensor.shape, tensor.values)
    if name not in known:
        raise ValueError(f"{name!r:.80} is used before it is made")
    return known[name]


def _output(name: str, known: dict[str, Sized]) -> Shape:
    if name not in known:
        raise ValueError(f"the output {name!r:.80} is made by no node")
    return known[name].shape


def inlined(model: OnnxModel) -> list[Node]:
    """The nodes with calls of functions expanded. They are counted before they are made."""
    functions = {function.name: function for function in model.functions}
    for function in model.functions:
        _check_function(function)
    if len(functions) < len(model.functions):
        raise ValueError("two functions of one name")
    calls = Counter(node.op_type for node in model.nodes if node.domain == _DOMAIN)
    count = len(model.nodes) + sum(calls[name] * len(function.nodes) for name, function in functions.items())
    if count > _MOST_NODES:
        raise ValueError(f"{count:,} nodes, expected at most {_MOST_NODES:,}")
    found: list[Node] = []
    for index, node in enumerate(model.nodes):
        if node.domain == _DOMAIN and node.op_type in functions:
            found.extend(_expanded(node, functions[node.op_type], f"{index}/"))
        else:
            found.append(node)
    return found


def _check_function(function: Function) -> None:
    if function.domain != _DOMAIN:
        raise ValueError(f"a function of the domain {function.domain!r:.80}, files of ours have their own alone")
    if len(function.nodes) > _MOST_FUNCTION_NODES:
        raise ValueError(f"the function {function.name!r:.80} has {len(function.nodes)} nodes")
    if any(node.domain == _DOMAIN for node in function.nodes):
        raise ValueError(f"the function {function.name!r:.80} calls functions, which those of ours never do")


def _expanded(call: Node, function: Function, prefix: str) -> Iterator[Node]:
    """The body for one call, with names of its own inside."""
    if len(call.inputs) > len(function.inputs) or len(call.outputs) > len(function.outputs):
        raise ValueError(f"a call of {function.name!r:.80} with {len(call.inputs)} inputs")
    names = dict(zip(function.inputs, call.inputs, strict=False))
    names.update(zip(function.outputs, call.outputs, strict=False))
    names[""] = ""

    def resolved(attributes: dict[str, Attribute]) -> dict[str, Attribute]:
        return {
            name: call.attributes.get(value.name) if isinstance(value, Reference) else value
            for name, value in attributes.items()
        }

    for node in function.nodes:
        yield replace(
            node,
            inputs=tuple(names.get(name, prefix + name) for name in node.inputs),
            outputs=tuple(names.get(name, prefix + name) for name in node.outputs),
            attributes=resolved(node.attributes),
        )
