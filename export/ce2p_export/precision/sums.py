"""Sums of more than two branches, in the order in which int8 kernels carry them out on their way.

A kernel for int8 convolutions can add one tensor of bytes to its products before it rounds them. The fusion's last sum
is traced as ((P + E) + up(b)) + up(c), with P and E from convolutions: both write their products in float32 (14 MB each
at 473x473), and one more pass reads all four. As P + (E + (up(b) + up(c))) each convolution adds what is there already:
nothing but bytes is read and written.

The sums are the same but for float32's last bit. Files that are not int8 keep the order that edge_fusion looks for.
"""

from __future__ import annotations

import onnx_ir as ir


def chain_sums(graph: ir.Graph) -> list[str]:
    """Reorder, in place, each sum of three branches and more that convolutions are among; the new tensors' names.

    What is no convolution is summed first, then one convolution after the other is added. Sums of other shapes than
    their branches (broadcasts) stay.
    """
    made: list[str] = []
    for root in [node for node in graph if node.op_type == "Add" and not _is_inner(node)]:
        branches, inner = _taken_apart(root)
        convolutions = [value for value in branches if _is_of_convolution(value)]
        alike = all(value.shape is not None and value.shape == root.outputs[0].shape for value in branches)
        if len(branches) < 3 or not convolutions or not alike:
            continue
        first, *others = [value for value in branches if value not in convolutions] + convolutions[::-1]
        for number, value in enumerate(others[:-1]):
            first = _sum(graph, root, value, first, number)
            made.append(first.name or "")
        root.replace_input_with(0, others[-1])
        root.replace_input_with(1, first)
        graph.remove(inner, safe=True)
    return made


def _sum(graph: ir.Graph, root: ir.Node, left: ir.Value, right: ir.Value, number: int) -> ir.Value:
    """left + right, computed before `root`, which sums up more."""
    total = root.outputs[0]
    node = ir.node("Add", [left, right], name=f"{root.name}_part{number}")
    value = node.outputs[0]
    value.name, value.type, value.shape = f"{total.name}_part{number}", total.type, total.shape
    graph.insert_before(root, node)
    return value


def _taken_apart(root: ir.Node) -> tuple[list[ir.Value], list[ir.Node]]:
    """What `root` sums up, and the sums in between that nothing else reads; a reader before what it reads."""
    branches: list[ir.Value] = []
    inner: list[ir.Node] = []
    for value in root.inputs:
        node = value.producer() if value is not None else None
        if node is not None and node.op_type == "Add" and _is_inner(node):
            below = _taken_apart(node)
            branches += below[0]
            inner += [node, *below[1]]
        elif value is not None:
            branches.append(value)
    return branches, inner


def _is_inner(node: ir.Node) -> bool:
    """Whether all that happens to this sum is being added to something."""
    value = node.outputs[0]
    kinds = [use.node.op_type for use in value.uses()]
    return not value.is_graph_output() and kinds == ["Add"]


def _is_of_convolution(value: ir.Value) -> bool:
    node = value.producer()
    return node is not None and node.op_type == "Conv" and len(value.uses()) == 1 and not value.is_graph_output()
