"""A thinner context convolution: its input goes through half as many channels, where real pictures need no more.

The 3x3 convolution over x5 [C = 2048 channels] is the largest of the network, and what it reads lies close to a
subspace of fewer dimensions. Write its weights as W [9·outputs, C] and the input's second moment over all positions of
the calibration pictures as M = E[x xᵀ] = L Lᵀ. The product of rank r that changes W x the least on average is found by
a singular value decomposition of W L = U S Vᵀ (Eckart and Young; for layers, Zhang et al., "Accelerating Very Deep
Convolutional Networks", TPAMI 2016):

    W x  ≈  B (A x),     A = R V_rᵀ L⁻¹  [r, C], a 1x1 convolution,     B = W L V_r Rᵀ  [9·outputs, r], 3x3 as before

A x has second moment 1 in every direction, so one step of 8 bits suits all of its channels. R is a random rotation: it
spreads the few large columns of W L V over all channels, or they would set the step of the quantised weights and the
small ones would drown in it.

r is half of C: 28 % fewer operations in this convolution. Fewer channels are often enough for the pictures at hand, but
pictures to come show more than those, and a subspace that is too small loses what it never saw. Whether half is enough
is measured on pictures that the decomposition did not see: it is made from every other picture and tested on the rest.
Only if that loses no more than ERROR is it made again from all of them. Else nothing is changed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from .calibration import session_with_outputs

__all__ = ["CONTEXT_WEIGHT", "ERROR", "Thinned", "thin"]

CONTEXT_WEIGHT = "pyramid.conv.weight"
"""Of the convolution, [outputs, channels, 3, 3]; half of the network's largest before the pyramid was folded."""

ERROR = 0.01
"""Relative L2 that the convolution's products may lose on unseen pictures: as much as 8 bits cost its input."""
RIDGE = 1e-6
"""Of the mean of M's diagonal, added to it: directions that no calibration picture shows keep some weight."""
_SEED = 190_805

Progress = Callable[[int, int], None]
Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Thinned:
    """What was done to the convolution."""

    channels: int
    """That it read before."""
    rank: int
    """Channels that it reads now."""
    error: float
    """Relative L2 of its products on pictures that the decomposition did not see."""
    operations: float
    """Share of its operations that is left."""

    def to_dict(self) -> dict[str, Any]:
        """For the metadata."""
        return asdict(self)


def thin(
    model: bytes, inputs: Sequence[NDArray[Any]], progress: Progress = lambda done, total: None
) -> tuple[bytes, str, Thinned] | None:
    """A serialised float32 model with its context convolution thinned, the new tensor's name, and what was done.

    None where that cannot be: there is no such convolution, fewer than two pictures, or half of the channels are not
    enough. `inputs`: calibration pictures as the model takes them, batches of one.
    """
    loaded = ir.from_proto(onnx.load_from_string(model))
    node = next((n for n in loaded.graph if n.op_type == "Conv" and _name(n.inputs[1]) == CONTEXT_WEIGHT), None)
    if node is None or len(inputs) < 2:
        return None
    weight = _array(node.inputs[1]).astype(np.float64)
    seen, unseen = second_moments(model, _name(node.inputs[0]), inputs, progress)
    channels = weight.shape[1]
    rank = channels // 2
    error = unseen_error(weight, seen, unseen, rank)
    if error > ERROR:
        return None
    reduce, rest = decompose(weight, seen + unseen, rank)
    name = _replace(loaded.graph, node, reduce, rest)
    left = (reduce.size + rest.size) / weight.size
    return ir.to_proto(loaded).SerializeToString(), name, Thinned(channels, rank, error, left)


def second_moments(
    model: bytes, tensor: str, inputs: Sequence[NDArray[Any]], progress: Progress
) -> tuple[Matrix, Matrix]:
    """Sums of x xᵀ [C, C] over all positions of `tensor` [1, C, h, w]: of the even pictures, and of the odd ones."""
    session = session_with_outputs(model, [tensor])
    name = session.get_inputs()[0].name
    sums: list[Matrix | None] = [None, None]
    for index, batch in enumerate(inputs):
        value = session.run([tensor], {name: batch})[0]
        # float64: in float32 rounding alone would make directions of little energy look negative.
        columns = value[0].reshape(value.shape[1], -1).astype(np.float64)
        own = columns @ columns.T
        before = sums[index % 2]
        sums[index % 2] = own if before is None else before + own
        progress(index + 1, len(inputs))
    even, odd = sums
    assert even is not None and odd is not None  # noqa: S101, PT018  (two pictures at least)
    return even, odd


def decompose(weight: Matrix, moment: Matrix, rank: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A [rank, C, 1, 1] and B [outputs, rank, 3, 3] for W [outputs, C, 3, 3] and M [C, C], up to a factor."""
    rows = _rows(weight)
    root, vectors, _ = _spectrum(rows, moment)
    vectors = vectors[:, :rank]
    # A x shall have moment 1; M is a sum over positions, whose number does not matter: only A's scale depends on it.
    reduce = np.linalg.solve(root.T, vectors).T
    rotation, _ = np.linalg.qr(np.random.default_rng(_SEED).normal(size=(rank, rank)))
    rest = rows @ (root @ vectors) @ rotation.T
    outputs, _, height, width = weight.shape
    back = rest.reshape(height, width, outputs, rank).transpose(2, 3, 0, 1)
    scale = np.sqrt(np.trace(moment) / len(moment))  # keeps A's and B's values near those of W
    return (
        np.ascontiguousarray((rotation @ reduce)[:, :, None, None] * scale, dtype=np.float32),
        np.ascontiguousarray(back / scale, dtype=np.float32),
    )


def unseen_error(weight: Matrix, seen: Matrix, unseen: Matrix, rank: int) -> float:
    """Relative L2 of W x at `rank` over positions with moment `unseen`, decomposed for those with moment `seen`."""
    root, vectors, energies = _spectrum(_rows(weight), seen)
    directions = np.linalg.solve(root.T, vectors).T  # every row one channel of A x, the most important first
    # The columns of W L V are orthogonal, so each channel adds its own share to the energy of W x, however correlated
    # the channels are on other pictures.
    shares = energies * np.einsum("rc,rc->r", directions @ unseen, directions)
    return float(np.sqrt(shares[rank:].sum() / shares.sum()))


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
    weights = [ir.Value(name=f"{stem}.{part}.weight", const_value=ir.tensor(array, name=f"{stem}.{part}.weight"))
               for part, array in (("reduce", reduce), ("rest", rest))]  # fmt: skip
    for weight in weights:
        graph.register_initializer(weight)
    first = ir.node("Conv", [value, weights[0]], {"kernel_shape": [1, 1]}, name=f"{node.name}_reduce")
    thinned = first.outputs[0]
    thinned.name = f"{stem}.reduced"
    thinned.type, thinned.shape = value.type, ir.Shape([value.shape[0], len(reduce), *value.shape[2:]])
    graph.insert_before(node, first)
    node.replace_input_with(0, thinned)
    node.replace_input_with(1, weights[1])
    if not old.uses():
        graph.initializers.pop(CONTEXT_WEIGHT)
    return thinned.name


def _name(value: ir.Value | None) -> str:
    return (value.name or "") if value is not None else ""


def _array(value: ir.Value | None) -> NDArray[Any]:
    assert value is not None and value.const_value is not None  # noqa: S101, PT018  (a convolution's weight)
    return value.const_value.numpy()
