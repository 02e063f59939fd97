"""Q/DQ pairs that OpenVINO is better off without.

An int8 file has a pair behind every layer, as ONNX Runtime's kernels want it. OpenVINO makes a convolution, the
activation or sums behind it and the next pair one kernel, but only where nothing stands in between: a pair between a
convolution and its LeakyRelu costs a pass over the tensor (three of 0.45 ms in 160, on two cores), and so does one
behind a sum that is added to something else, or between two convolutions and their sum. So does one behind a
classifier: logits in 8 bits cost one more pass, and tie. Taking such a pair away takes one rounding away; what leaves
the activation is quantised as before.

Kept: pairs behind an upsampling, which OpenVINO then does on bytes (0.4 instead of 1.2 ms), in front of a sum with
something that is no convolution (1 to 2 ms more without), behind a sum to which a convolution is added, whose kernel
then adds bytes instead of float32 (with AMX three of 60 ms), and those of residual sums, whose activation, a Relu, the
file has fused with its sum already (5 ms more).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx


class _Graph:
    """Who makes and who reads each value."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.makers = {value: node for node in graph.node for value in node.output}
        self.outputs = {value.name for value in graph.output}
        self.readers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
        for node in graph.node:
            for value in node.input:
                self.readers[value].append(node)

    def pair(self, value: str) -> tuple[onnx.NodeProto, onnx.NodeProto] | None:
        """QuantizeLinear and DequantizeLinear, where `value` is read through that pair only."""
        quantise = self._only_reader(value, "QuantizeLinear")
        dequantise = quantise and self._only_reader(quantise.output[0], "DequantizeLinear")
        return (quantise, dequantise) if quantise and dequantise else None

    def leads_to_leaky(self, value: str) -> bool:
        """Whether all that happens to `value` is being added to something, pairs left aside, and then LeakyRelu."""
        between = self.pair(value)
        readers = self.readers[between[1].output[0] if between else value]
        if value in self.outputs or len(readers) != 1:
            return False
        reader = readers[0]
        return reader.op_type == "LeakyRelu" or (reader.op_type == "Add" and self.leads_to_leaky(reader.output[0]))

    def separates(self, node: onnx.NodeProto) -> bool:
        """Whether a pair behind `node` would keep it apart from what OpenVINO does in one kernel with it."""
        between = self.pair(node.output[0]) if node.op_type in ("Conv", "Add") else None
        if between is None:
            return False
        result = between[1].output[0]
        if node.op_type == "Conv" and self._leaves(result):
            return True
        if not self.leads_to_leaky(node.output[0]):
            return False
        reader = self.readers[result][0]
        if reader.op_type == "LeakyRelu":
            return True
        beside = [self._from_convolution(value) for value in reader.input if value != result]
        return all(beside) if node.op_type == "Conv" else not any(beside)

    def _leaves(self, result: str) -> bool:
        """Whether this is logits: an output of the graph, or what labels are made of."""
        readers = self.readers[result]
        if result in self.outputs:
            return not readers
        return bool(readers) and all(
            reader.op_type in ("Resize", "ArgMax") and self.pair(reader.output[0]) is None for reader in readers
        )

    def _from_convolution(self, value: str) -> bool:
        maker = self.makers.get(value)
        while maker is not None and maker.op_type in ("QuantizeLinear", "DequantizeLinear"):
            maker = self.makers.get(maker.input[0])
        return maker is not None and maker.op_type == "Conv"

    def _only_reader(self, value: str, op_type: str) -> onnx.NodeProto | None:
        readers = self.readers[value]
        alone = len(readers) == 1 and value not in self.outputs and readers[0].op_type == op_type
        return readers[0] if alone else None


def drop_separating_pairs(model: onnx.ModelProto) -> int:
    """Remove, in place, the pairs that keep OpenVINO from fusing; how many."""
    graph = _Graph(model.graph)
    removed: list[onnx.NodeProto] = []
    for node in filter(graph.separates, model.graph.node):
        between = graph.pair(node.output[0])
        assert between is not None  # noqa: S101  (it separates)
        removed += between
    for quantise, dequantise in zip(removed[::2], removed[1::2], strict=True):
        value, result = quantise.input[0], dequantise.output[0]
        if result in graph.outputs:
            graph.makers[value].output[:] = [result]  # a convolution or a sum, so its only output
        else:
            _read_instead(graph.readers[result], result, value)
    gone = {id(node) for node in removed}
    kept = [node for node in model.graph.node if id(node) not in gone]
    del model.graph.node[:]
    model.graph.node.extend(kept)
    return len(removed) // 2


def _read_instead(readers: Iterable[onnx.NodeProto], old: str, new: str) -> None:
    for reader in readers:
        for index, value in enumerate(reader.input):
            if value == old:
                reader.input[index] = new
