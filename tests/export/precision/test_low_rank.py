"""The context convolution at a lower rank: exact where its input allows it, judged on unseen pictures, else left."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper, shape_inference

from ce2p_export.onnx_facts import product_flops
from ce2p_export.precision.groups import layer_groups
from ce2p_export.precision.low_rank import CONTEXT_WEIGHT, ERROR, LowRankError, decompose, factorise
from tests.export.precision.networks import loaded

SIDE, CHANNELS, OUTPUTS, FEW = 14, 256, 128, 64
Pictures = list[NDArray[np.float32]]


def context(inputs: int, seed: int = 0, weight: str = CONTEXT_WEIGHT) -> bytes:
    """image [1, inputs, s, s] -> 1x1 to CHANNELS -> the context convolution, dilated -> parsing [1, OUTPUTS, s, s]."""
    rng = np.random.default_rng(seed)
    mix = rng.normal(0, 1 / np.sqrt(inputs), (CHANNELS, inputs, 1, 1)).astype(np.float32)
    kernel = rng.normal(0, 1 / np.sqrt(9 * CHANNELS), (OUTPUTS, CHANNELS, 3, 3)).astype(np.float32)
    bias = rng.normal(0, 0.1, OUTPUTS).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["image", "backbone.layer4.0.conv.weight"], ["x5"], "mix"),
        helper.make_node("Conv", ["x5", weight, "pyramid.conv.bias"], ["parsing"], "context", pads=[1] * 4),
    ]
    graph = helper.make_graph(
        nodes,
        "context",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, inputs, SIDE, SIDE])],
        [helper.make_tensor_value_info("parsing", TensorProto.FLOAT, [1, OUTPUTS, SIDE, SIDE])],
        [
            numpy_helper.from_array(mix, "backbone.layer4.0.conv.weight"),
            numpy_helper.from_array(kernel, weight),
            numpy_helper.from_array(bias, "pyramid.conv.bias"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return shape_inference.infer_shapes(model).SerializeToString()


def pictures(count: int, channels: int, seed: int = 1, scales: NDArray[np.float64] | float = 1.0) -> Pictures:
    rng = np.random.default_rng(seed)
    spread = np.broadcast_to(np.asarray(scales, dtype=np.float64), (channels,))[:, None, None]
    return [(rng.normal(0.3, 1, (1, channels, SIDE, SIDE)) * spread).astype(np.float32) for _ in range(count)]


def run(model: bytes, image: NDArray[np.float32]) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    output: NDArray[np.float32] = session.run(["parsing"], {"image": image})[0]
    return output


def distance(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    return float(np.linalg.norm(one - other) / np.linalg.norm(other))


def test_an_input_of_few_dimensions_loses_nothing() -> None:
    model = context(inputs=FEW)
    factorised, tensor, record = factorise(model, pictures(6, FEW))
    onnx.checker.check_model(onnx.load_from_string(factorised), full_check=True)
    assert (record.channels, record.rank) == (CHANNELS, CHANNELS // 2)
    assert record.error < 1e-3
    unseen = pictures(1, FEW, seed=9)[0]
    assert distance(run(factorised, unseen), run(model, unseen)) < 1e-3  # borders included: zeros stay zeros
    groups = layer_groups(loaded(factorised).graph)
    assert len(groups["pyramid.conv"]) == 2
    assert tensor == "pyramid.conv.reduced"

    def operations(content: bytes) -> int:
        return sum(flops for _, flops in product_flops(onnx.load_from_string(content).graph))

    mixing = 2 * FEW * CHANNELS * SIDE * SIDE
    left = (operations(factorised) - mixing) / (operations(model) - mixing)
    assert record.operations == pytest.approx(left)


def test_the_error_said_is_the_error_made() -> None:
    """Dimensions fade out one by one, so that half of them lose something."""
    fading = np.exp(-np.arange(CHANNELS) / 28)
    model = context(inputs=CHANNELS)
    factorised, _, record = factorise(model, pictures(12, CHANNELS, scales=fading))
    assert ERROR / 10 < record.error <= ERROR
    made = [
        distance(run(factorised, image), run(model, image)) for image in pictures(4, CHANNELS, seed=7, scales=fading)
    ]
    # Not the same: what was said leaves out how neighbouring taps add up, and the final fit saw all pictures.
    assert max(made) == pytest.approx(record.error, rel=0.5)


def test_pictures_that_show_other_things_than_those_seen_speak_against_it() -> None:
    """Every other picture lives in another half of the space: what fits the one half fails on the other."""
    half = np.r_[np.ones(CHANNELS // 2), np.zeros(CHANNELS // 2)]  # of the input's channels: each fits into the rank
    even, odd = (pictures(4, CHANNELS, seed, scales) for seed, scales in ((1, half), (2, 1 - half)))
    model = context(inputs=CHANNELS)
    mixed = [picture for pair in zip(even, odd, strict=True) for picture in pair]
    with pytest.raises(LowRankError, match=r"128 of its 256 channels lose \d+\.\d% on pictures left out"):
        factorise(model, mixed)
    assert factorise(model, even)[2].error < 1e-3


@pytest.mark.parametrize(
    ("model", "inputs", "reason"),
    [
        (context(inputs=CHANNELS), pictures(8, CHANNELS), "on pictures left out"),
        (context(inputs=FEW), pictures(4, FEW, scales=0.0), "128 of its 256 channels lose 100.0%"),
        (context(inputs=FEW), pictures(1, FEW), "two pictures at least"),
        (context(inputs=FEW, weight="decoder.conv.weight"), pictures(4, FEW), "has none"),
    ],
    ids=["every dimension is used", "black pictures", "one picture leaves none to test on", "no such convolution"],
)
def test_where_it_cannot_be_the_reason_is_said(model: bytes, inputs: Pictures, reason: str) -> None:
    with pytest.raises(LowRankError, match=reason):
        factorise(model, inputs)


def test_decomposition_at_full_rank_is_the_convolution() -> None:
    rng = np.random.default_rng(3)
    weight = rng.normal(size=(5, 8, 3, 3))
    values = rng.normal(size=(8, 50)) * np.arange(1, 9)[:, None]
    reduce, rest = decompose(weight, values @ values.T, 8)
    assert np.allclose(np.einsum("orhw,rc->ochw", rest, reduce[:, :, 0, 0]), weight, atol=1e-4)


def test_new_channels_are_about_as_large() -> None:
    """So that one 8-bit step for all of them wastes little; the directions themselves differ a thousandfold."""
    rng = np.random.default_rng(4)
    weight = rng.normal(size=(64, 128, 3, 3))
    values = rng.normal(size=(128, 4000)) * np.geomspace(1, 1e-3, 128)[:, None]
    reduce, _ = decompose(weight, values @ values.T, 64)
    sizes = np.sqrt((np.square(reduce[:, :, 0, 0] @ values)).mean(1))
    assert sizes.max() / sizes.min() < 2  # without the rotation 5.8


def test_eight_bits_in_between_cost_little() -> None:
    """With one step for all new channels: no worse than half as much again as 8 bits for the input itself.

    Without the rotation, or with all directions made alike, it is twice as much and more.
    """
    rng = np.random.default_rng(5)
    weight = rng.normal(size=(32, 128, 3, 3))
    values = np.maximum(rng.normal(size=(128, 64)) @ rng.normal(size=(64, 4000)) + 4, 0)
    taps = weight.transpose(2, 3, 0, 1).reshape(-1, 128)
    exact = taps @ values

    def rounded(x: NDArray[np.float64]) -> NDArray[np.float64]:
        step = (max(x.max(), 0) - min(x.min(), 0)) / 255
        return np.round(x / step) * step

    reduce, rest = decompose(weight, values @ values.T, 128)
    through = rest.astype(np.float64).transpose(2, 3, 0, 1).reshape(-1, 128) @ rounded(reduce[:, :, 0, 0] @ values)
    direct = taps @ rounded(values)
    assert np.linalg.norm(through - exact) < 1.5 * np.linalg.norm(direct - exact)
