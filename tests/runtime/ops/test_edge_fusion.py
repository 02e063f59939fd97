"""edge_fusion's reference against the unfused computation in PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from ce2p_runtime.ops import edge_fusion_reference

Arrays = dict[str, NDArray[np.float32]]


def inputs(
    classes: int, channels: int, sizes: tuple[tuple[int, int], tuple[int, int], tuple[int, int]], items: int = 2
) -> Arrays:
    rng = np.random.default_rng(classes * channels)
    shapes = {name: (items, channels, *size) for name, size in zip("abc", sizes, strict=True)}
    shapes |= {"weight": (classes, channels), "bias": (classes,)}
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize("slope", [0.01, 0.0])
@pytest.mark.parametrize(
    ("classes", "channels", "sizes"),
    [
        (20, 64, ((24, 17), (12, 9), (6, 5))),
        (7, 16, ((13, 13), (7, 7), (7, 7))),
        (59, 8, ((9, 30), (5, 15), (1, 1))),
        (2, 3, ((1, 1), (1, 1), (1, 1))),
    ],
)
def test_equals_torch(
    classes: int, channels: int, sizes: tuple[tuple[int, int], ...], slope: float, align_corners: bool
) -> None:
    arrays = inputs(classes, channels, sizes)  # type: ignore[arg-type]
    a, b, c, weight, bias = (torch.from_numpy(arrays[name]) for name in ("a", "b", "c", "weight", "bias"))
    size = a.shape[-2:]
    up = [F.interpolate(x, size, mode="bilinear", align_corners=align_corners) for x in (b, c)]
    expected = F.conv2d(F.leaky_relu(a + up[0] + up[1], slope), weight[:, :, None, None], bias)
    logits = edge_fusion_reference(**arrays, slope=slope, align_corners=align_corners)
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, expected.numpy(), rtol=1e-4, atol=1e-4)


def test_equals_the_unfused_head() -> None:
    """Per-branch 1x1 convolutions before upsampling equal one convolution of the concatenation after it."""
    rng = np.random.default_rng(0)
    branches = [torch.from_numpy(rng.standard_normal((1, 6, s, s)).astype(np.float32)) for s in (16, 8, 4)]
    joint = torch.from_numpy(rng.standard_normal((5, 18, 1, 1)).astype(np.float32))
    weight, bias = rng.standard_normal((3, 5)).astype(np.float32), rng.standard_normal(3).astype(np.float32)
    large = [F.interpolate(x, (16, 16), mode="bilinear", align_corners=True) for x in branches]
    hidden = F.leaky_relu(F.conv2d(torch.cat(large, 1), joint), 0.01)
    expected = F.conv2d(hidden, torch.from_numpy(weight)[:, :, None, None], torch.from_numpy(bias))
    a, b, c = (F.conv2d(x, w).numpy() for x, w in zip(branches, joint.split(6, dim=1), strict=True))
    logits = edge_fusion_reference(a, b, c, weight, bias, slope=0.01, align_corners=True)
    np.testing.assert_allclose(logits, expected.numpy(), rtol=1e-4, atol=1e-4)


def test_negative_values_are_scaled_by_the_slope() -> None:
    a = np.array([-2.0, 3.0], np.float32).reshape(1, 1, 1, 2)
    zero, one = np.zeros((1, 1, 1, 1), np.float32), np.ones((1, 1), np.float32)
    bias = np.zeros(1, np.float32)
    logits = edge_fusion_reference(a, zero, zero, one, bias, slope=0.25, align_corners=False)
    assert logits.ravel().tolist() == [-0.5, 3.0]


@pytest.mark.parametrize("name", ["a", "b", "weight", "bias"])
def test_shapes_that_do_not_fit_are_refused(name: str) -> None:
    arrays = inputs(4, 6, ((8, 8), (4, 4), (2, 2)))
    arrays[name] = arrays[name][..., :1] if name in ("weight", "bias") else arrays[name][:, :1]
    with pytest.raises(ValueError, match="fit together"):
        edge_fusion_reference(**arrays, slope=0.01, align_corners=True)


@pytest.mark.parametrize("name", ["c", "bias"])
def test_other_types_are_refused(name: str) -> None:
    arrays = inputs(4, 6, ((8, 8), (4, 4), (2, 2)))
    arrays[name] = arrays[name].astype(np.float64)
    with pytest.raises(ValueError, match="float32"):
        edge_fusion_reference(**arrays, slope=0.01, align_corners=True)
