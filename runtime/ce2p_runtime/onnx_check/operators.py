"""The operators that a network of ours may be made of, each with the rule that tells the size of what it makes.

Others are refused: what cannot be sized cannot be limited, and files of ours hold none. To admit one, add its rule.
"""

from __future__ import annotations

import numpy as np

from . import layer_rules as layers
from . import shape_rules as shapes
from .model import Node
from .sizes import Call, Made, Rule, Sized

_LARGEST_SIZE = 1 << 40
"""Of one dimension. Beyond, values and sizes would leave 64 bits after a few steps."""

_SAME_SHAPE = (
    "Abs",
    "BatchNormalization",
    "Ceil",
    "Clip",
    "DequantizeLinear",
    "Elu",
    "Erf",
    "Exp",
    "Floor",
    "HardSigmoid",
    "HardSwish",
    "LeakyRelu",
    "Log",
    "Neg",
    "PRelu",
    "QuantizeLinear",
    "Reciprocal",
    "Relu",
    "Round",
    "Selu",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Sqrt",
    "Tanh",
)

OPERATORS: dict[str, Rule] = {
    **dict.fromkeys(_SAME_SHAPE, layers.same_shape),
    **dict.fromkeys(("Max", "Min", "Pow", "Sum"), layers.broadcasting),
    "Add": layers.arithmetic(np.add),
    "Sub": layers.arithmetic(np.subtract),
    "Mul": layers.arithmetic(np.multiply),
    "Div": layers.arithmetic(layers.divided),
    "Conv": layers.convolution,
    **dict.fromkeys(("AveragePool", "MaxPool"), layers.pooling),
    **dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool"), layers.global_pooling),
    "MatMul": layers.product,
    **dict.fromkeys(("ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum"), layers.reduction),
    "ArgMax": layers.best_index,
    "Cast": shapes.cast,
    "Identity": shapes.identity,
    "Transpose": shapes.transpose,
    "Reshape": shapes.reshape,
    "Squeeze": shapes.squeeze,
    "Unsqueeze": shapes.unsqueeze,
    "Slice": shapes.slicing,
    "Concat": shapes.concatenation,
    "Gather": shapes.gather,
    "GatherND": shapes.gather_nd,
    "Pad": shapes.padding,
    "Resize": shapes.resize,
    "Shape": shapes.shape_of,
    "Constant": shapes.constant,
}


def made_by(node: Node, inputs: tuple[Sized | None, ...]) -> Made:
    """What a node makes of its inputs. Raises ValueError, naming the node, for what cannot be sized."""
    if node.domain not in ("", "ai.onnx") or node.op_type not in OPERATORS:
        name = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
        raise ValueError(f"the operator {name!r:.80} is none of those that files of ours hold")
    try:
        made = OPERATORS[node.op_type](Call(node, inputs))
        if any(not 0 <= size <= _LARGEST_SIZE for size in made.output.shape):
            raise ValueError(f"its output would be {list(made.output.shape)}")
    except ValueError as error:
        raise ValueError(f"{node.op_type} of {', '.join(node.outputs)!r:.80}: {error}") from None
    return made
