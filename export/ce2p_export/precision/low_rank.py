"""The context convolution at a lower rank: its input goes through half as many channels, where that is enough.

The 3x3 convolution over x5 [C = 2048 channels] is the largest of the network, and what it reads lies close to a
subspace of fewer dimensions. Write its weights as W [9·outputs, C] and the input's second moment over all positions of
the calibration pictures as M = E[x xᵀ] = L Lᵀ. The product of rank r that changes W x the least on average is found by
a singular value decomposition of W L = U S Vᵀ (Eckart and Young; for layers, Zhang et al., "Accelerating Very Deep
Convolutional Networks", TPAMI 2016):

    W x  ≈  B (A x),     A = R √S V_rᵀ L⁻¹  [r, C], a 1x1 convolution,     B = W L V_r √S⁻¹ Rᵀ  [9·outputs, r], 3x3

√S and the rotation R change nothing in exact arithmetic, and decide what 8 bits do to it. A x is quantised with one
step for all channels. A direction made s_i large reaches the output multiplied by S_i / s_i, and so does its rounding;
for a given sum of s_i² these errors are least together at s_i = √S_i, as in transform coding (with all s_i alike, the
gate refused the result). R is a cosine transform. It gives all channels about the same size, for which one step is
right, and spreads B's few large columns, in whose steps the small ones would drown.

r is half of C: 28 % fewer operations in this convolution. Fewer channels are often enough for the pictures at hand, but
pictures to come show more than those, and a subspace that is too small loses what it never saw. Whether half is enough
is measured on pictures that the decomposition did not see: it is made from every other picture and tested on the rest.
Only if that loses no more than ERROR is it made again from all of them. Else nothing is changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from ce2p_runtime.base.progress import StepProgress

from .calibration import session_with_outputs
from .half import array_of

CONTEXT_WEIGHT = "pyramid.conv.weight"
"""Of the convolution, [outputs, channels, 3, 3]; half of the network's largest before the pyramid was folded."""

ERROR = 0.01
"""Relative L2 that the convolution's products may lose on unseen pictures: as much as 8 bits cost its input."""
RIDGE = 1e-6
"""Of the mean of M's diagonal, added to it: directions that no calibration picture shows keep some weight."""
SMALLEST = 1e-12
"""Of the largest energy: smaller ones are rounding errors, and are not divided by."""
_SEED = 190_805

Matrix = NDArray[np.float64]


class LowRankError(Exception):
    """Why the convolution stays as it is; nothing is wrong with the network, so nobody but `proposals.py` sees it."""


@dataclass(frozen=True)
class Factorised:
    """What was done to the convolution."""

    channels: int
    """That it read before."""
    rank: int
    """Channels that it reads now."""
    error: float
    """Relative L2 of its products on pictures that the decomposition did not see."""
    operations: float
    """Share of its operations that is left."""


def factorise(
    model: bytes, inputs: Sequence[NDArray[Any]], progress: StepProgress = lambda done, total: None
) -> tuple[bytes, str, Factorised]:
    """A serialised float32 model with its context convolution factorised, the new tensor's name, and what was done.

    `inputs`: calibration pictures as the model takes them.
    Raises LowRankError: there is no such convolution, fewer than two pictures, or half of the channels are not enough.
    """
    loaded = ir.from_proto(onnx.load_from_string(model))
    node = next((n for n in loaded.graph if n.op_type == "Conv" and _name(n.inputs[1]) == CONTEXT_WEIGHT), None)
    if node is None:
        raise LowRankError("this network has none")
    if sum(map(len, inputs)) < 2:
        raise LowRankError("it takes two pictures at least, one to test on; give --calib more")
    weight = array_of(node.inputs[1]).astype(np.float64)
    seen, unseen = second_moments(model, _name(node.inputs[0]), inputs, progress)
    channels = weight.shape[1]
    rank = channels // 2
    error = unseen_error(weight, seen, unseen, rank)
    if error > ERROR:
        raise LowRankError(
            f"{rank} of its {channels} channels lose {error:.1%} on pictures left out, more than {ERROR:.1%}; more "
            "pictures for --calib may help"
        )
    reduce, rest = decompose(weight, seen + unseen, rank)
    name = _replace(loaded.graph, node, reduce, rest)
    left = (reduce.size + rest.size) / weight.size
    return ir.to_proto(loaded).SerializeToString(), name, Factorised(channels, rank, error, left)


def second_moments(
    model: bytes, tensor: str, inputs: Sequence[NDArray[Any]], progress: StepProgress
) -> tuple[Matrix, Matrix]:
    """Sums of x xᵀ [C, C] over all positions of `tensor` [N, C, h, w]: of the even pictures, and of the odd ones."""
    session = session_with_outputs(model, [tensor])
    name = session.get_inputs()[0].name
    sums: list[Matrix | None] = [None, None]
    index = 0
    for done, batch in enumerate(inputs, 1):
        for value in session.run([tensor], {name: batch})[0]:
            # float64: in float32 rounding alone would make directions of little energy look negative.
            columns = value.reshape(len(value), -1).astype(np.float64)
            own = columns @ columns.T
            before = sums[index % 2]
            sums[index % 2] = own if before is None else before + own
            index += 1
        progress(done, len(inputs))
    even, odd = sums
    assert even is not None and odd is not None  # noqa: S101, PT018  (two pictures at least)
    return even, odd


def decompose(weight: Matrix, moment: Matrix, rank: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A [rank, C, 1, 1] and B [outputs, rank, 3, 3] for W [outputs, C, 3, 3] and M [C, C], or any multiple of it."""
    rows = _rows(weight)
    root, vectors, energies = _spectrum(rows, moment)
    vectors = vectors[:, :rank]
    sizes = np.maximum(energies[:rank], SMALLEST * energies[0]) ** 0.25
    rotation = _cosines(rank)
    reduce = rotation @ (sizes[:, None] * np.linalg.solve(root.T, vectors).T)
    rest = rows @ (root @ vectors / sizes) @ rotation.T
    scale = np.sqrt(np.abs(rest).max() / np.abs(reduce).max())  # M's multiple leaves both
    outputs, _, height, width = weight.shape
    back = rest.reshape(height, width, outputs, rank).transpose(2, 3, 0, 1)
    return (
        np.ascontiguousarray(reduce[:, :, None, None] * scale, dtype=np.float32),
        np.ascontiguousarray(back / scale, dtype=np.float32),
    )


def _cosines(rank: int) -> Matrix:
    """An orthogonal [rank, rank] without large entries: a cosine transform with random signs of what it takes."""
    row, column = np.ogrid[:rank, :rank]
    signs = np.random.default_rng(_SEED).choice([-1.0, 1.0], rank)
    cosines: Matrix = np.cos(np.pi * (row + 0.5) * column / rank) * np.sqrt(2 / rank) * signs
    cosines[:, 0] /= np.sqrt(2)
    return cosines


def unseen_error(weight: Matrix, seen: Matrix, unseen: Matrix, rank: int) -> float:
    """Relative L2 of W x at `rank` over positions with moment `unseen`, decomposed for those with moment `seen`."""
    root, vectors, energies = _spectrum(_rows(weight), seen)
    directions = np.linalg.solve(root.T, vectors).T  # every row one channel of A x, the most important first
    # The columns of W L V are orthogonal, so each channel adds its own share to the energy of W x, however correlated
    # the channels are on other pictures.
    shares = energies * np.einsum("rc,rc->r", directions @ unseen, directions)
    total = shares.sum()
    return float(np.sqrt(shares[rank:].sum() / total)) if total > 0 else 1.0  # nothing seen says nothing


def _spectrum(rows: Matrix, moment: Matrix) -> tuple[Matrix, Matrix, Matrix]:
    """L [C, C], V [C, C] and S² [C] of W L = U S Vᵀ, the largest first."""
    ridge = RIDGE * np.trace(moment) / len(moment)
    root = np.linalg.cholesky(moment + max(ridge, np.finfo(np.float64).tiny) * np.eye(len(moment)))
    product = rows @ root
    energies, vectors = np.linalg.eigh(product.T @ product)
    return root, vectors[:, ::-1], np.maximum(energies[::-1], 0.0)


def _rows(weight: Matrix) -> Matrix:
    """[outputs, C, 3, 3] as [9·outputs, C], ordered (tap, output)."""
    return weight.transpose(2, 3, 0, 1).reshape(-1, weight.shape[1])


def _replace(graph: ir.Graph, node: ir.Node, reduce: NDArray[np.float32], rest: NDArray[np.float32]) -> str:
    """Put the 1x1 convolution before `node` and give that its new weights; the name of the value in between."""
    value, old = node.inputs[0], node.inputs[1]
    assert value is not None and old is not None and value.shape is not None  # noqa: S101, PT018  (shapes are inferred)
    stem = CONTEXT_WEIGHT.removesuffix(".weight")
    weights = [
        ir.Value(name=f"{stem}.{part}.weight", const_value=ir.tensor(array, name=f"{stem}.{part}.weight"))
        for part, array in (("reduce", reduce), ("rest", rest))
    ]
    for weight in weights:
        graph.register_initializer(weight)
    first = ir.node("Conv", [value, weights[0]], {"kernel_shape": [1, 1]}, name=f"{node.name}_reduce")
    reduced = first.outputs[0]
    reduced.name = f"{stem}.reduced"
    reduced.type, reduced.shape = value.type, ir.Shape([value.shape[0], len(reduce), *value.shape[2:]])
    graph.insert_before(node, first)
    node.replace_input_with(0, reduced)
    node.replace_input_with(1, weights[1])
    if not old.uses():
        graph.initializers.pop(CONTEXT_WEIGHT)
    return reduced.name


def _name(value: ir.Value | None) -> str:
    return (value.name or "") if value is not None else ""
