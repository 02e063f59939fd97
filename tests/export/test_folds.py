"""Every fold is algebra: the folded network computes the same function, with fewer operations."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ce2p.families import FAMILIES
from ce2p.flops import count_flops
from ce2p.models import CE2P, CE2PConfig, untrained
from ce2p.models.heads import PYRAMID_BINS, EdgeFeatures
from ce2p_export import deploy
from ce2p_export.folds import drop_heads, fold_batchnorm, fold_pyramid, split_decoder, split_fusion
from ce2p_export.folds.pyramid import pooling_matrix, shifted_upsampling_matrix

Tiny = Callable[..., CE2P]

MAX_RELATIVE_L2 = 1e-5
"""Folding reorders float32 sums, no more. Measured: 1e-6 to 7e-6 through a whole network, against 1e-4 and more for the
smallest real mistake (see ce2p_runtime.precisions)."""


def relative_l2(found: Tensor, expected: Tensor) -> float:
    return ((found - expected).norm() / expected.norm()).item()


def batchnorm_folded(net: CE2P) -> CE2P:
    folded = copy.deepcopy(net).requires_grad_(False)
    fold_batchnorm(folded)
    return folded


@pytest.mark.parametrize("family", FAMILIES)
def test_folding_batchnorm_keeps_every_output_and_leaves_no_norm(tiny: Tiny, family: str) -> None:
    net = tiny(family)
    folded = copy.deepcopy(net).requires_grad_(False)
    norms = sum(isinstance(module, nn.BatchNorm2d) for module in net.modules())
    assert fold_batchnorm(folded) == norms
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    image = torch.randn(2, 3, 65, 81, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        for found, expected in zip(folded(image), net(image), strict=True):
            assert relative_l2(found, expected) < MAX_RELATIVE_L2


def test_folding_batchnorm_refuses_a_norm_it_cannot_reach(tiny: Tiny) -> None:
    net = copy.deepcopy(tiny("schp"))
    net.backbone.pool = nn.Sequential(net.backbone.pool, nn.BatchNorm2d(64))  # type: ignore[assignment]
    with pytest.raises(RuntimeError, match=r"backbone\.pool\.1"):
        fold_batchnorm(net)


def test_dropping_heads_keeps_the_parsing_bit_for_bit(tiny: Tiny) -> None:
    net = tiny("schp")
    image = torch.randn(1, 3, 65, 65)
    for keep_edge, count in ((False, 2), (True, 1)):
        dropped = copy.deepcopy(net)
        assert drop_heads(dropped, keep_edge) == count
        with torch.no_grad():
            found, expected = dropped(image), net(image)
        assert found.stage1 is None
        assert (found.edge is not None) == keep_edge
        assert torch.equal(found.parsing, expected.parsing)


@pytest.mark.parametrize("length", [6, 8, 13, 30, 32])
@pytest.mark.parametrize("bins", PYRAMID_BINS)
def test_pooling_matrix_is_adaptive_average_pooling(length: int, bins: int) -> None:
    x = torch.randn(3, 5, length, length, dtype=torch.float64)
    P = pooling_matrix(length, bins)
    found = torch.einsum("nchw,hi,wj->ncij", x, P, P)
    assert torch.allclose(found, F.adaptive_avg_pool2d(x, bins), atol=1e-13)


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize("bins", PYRAMID_BINS)
def test_shifted_upsampling_is_what_a_3_tap_convolution_sees(bins: int, align_corners: bool) -> None:
    length = 11
    values, taps = torch.randn(1, 1, bins, dtype=torch.float64), torch.randn(1, 1, 3, dtype=torch.float64)
    upsampled = F.interpolate(values[:, :, None], size=(1, length), mode="bilinear", align_corners=align_corners)[
        :, :, 0
    ]
    expected = F.conv1d(upsampled, taps, padding=1)[0, 0]
    U = shifted_upsampling_matrix(length, bins, align_corners)
    found = torch.outer(taps[0, 0], values[0, 0]).flatten() @ U
    assert torch.allclose(found, expected, atol=1e-13)


@pytest.mark.parametrize("size", [(30, 30), (8, 8), (7, 9), (36, 30), (33, 32), (3, 5)], ids=str)
@pytest.mark.parametrize("family", ["schp", "ssseg"])  # input last and align_corners; input first and half-pixel
def test_folded_pyramid_equals_the_pyramid_for_even_and_uneven_bins(
    tiny: Tiny, family: str, size: tuple[int, int]
) -> None:
    net = batchnorm_folded(tiny(family))
    x5 = torch.randn(2, 256, *size, generator=torch.Generator().manual_seed(2))
    expected = net.pyramid(x5)
    assert fold_pyramid(net, *size) == 1
    assert relative_l2(net.pyramid(x5), expected) < 3e-6


def test_a_pyramid_folded_for_one_size_refuses_another(tiny: Tiny) -> None:
    net = batchnorm_folded(tiny("schp"))
    fold_pyramid(net, 8, 8)
    with pytest.raises(RuntimeError):
        net.pyramid(torch.randn(1, 256, 9, 9))


@pytest.mark.parametrize("family", FAMILIES)
def test_split_decoder_equals_the_decoder(tiny: Tiny, family: str) -> None:
    net = batchnorm_folded(tiny(family))
    context, x2 = torch.randn(2, 128, 7, 9), torch.randn(2, 32, 28, 33)
    expected = net.decoder(context, x2)
    assert split_decoder(net) == 1
    assert relative_l2(net.decoder(context, x2), expected) < 3e-6


@pytest.mark.parametrize("family", FAMILIES)
def test_split_fusion_equals_the_fusion(tiny: Tiny, family: str) -> None:
    net = batchnorm_folded(tiny(family))
    edge = EdgeFeatures(torch.randn(2, 64, 28, 33), torch.randn(2, 64, 14, 17), torch.randn(2, 64, 7, 9))
    parsing = torch.randn(2, net.config.decoder_width, 28, 33)
    expected = net.fusion(parsing, edge)
    assert split_fusion(net) == 1
    assert relative_l2(net.fusion(parsing, edge), expected) < 3e-6


@pytest.mark.parametrize("fold", [lambda net: fold_pyramid(net, 8, 8), split_decoder, split_fusion])
def test_folds_refuse_a_network_whose_batchnorm_is_not_folded(tiny: Tiny, fold: Callable[[CE2P], int]) -> None:
    with pytest.raises(RuntimeError, match="BatchNorm folded"):
        fold(copy.deepcopy(tiny("schp")))


@pytest.mark.parametrize("size", [(97, 97), (128, 96), (65, 130)], ids=str)
@pytest.mark.parametrize("stride", [8, 16])
@pytest.mark.parametrize("family", FAMILIES)
def test_deployed_network_equals_the_trained_one(tiny: Tiny, family: str, stride: int, size: tuple[int, int]) -> None:
    net = tiny(family, stride)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    deployed = deploy(net, size, keep_edge=True)
    image = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        found, expected = deployed.net(image), net(image)
    assert found.stage1 is None
    assert relative_l2(found.parsing, expected.parsing) < MAX_RELATIVE_L2
    assert found.edge is not None
    assert relative_l2(found.edge, expected.edge) < MAX_RELATIVE_L2
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items()), "the original changed"


def test_the_report_counts_what_each_fold_did(tiny: Tiny) -> None:
    net = tiny("schp")
    deployed = deploy(net, (128, 128))
    assert [fold.count for fold in deployed.folds] == [2, 36, 1, 1, 1]
    assert deployed.flops_before == count_flops(net, 128, 128)
    assert deployed.flops_after == count_flops(deployed.net, 128, 128)
    for earlier, later in zip(deployed.folds, deployed.folds[1:], strict=False):
        assert earlier.flops_after == later.flops_before
    pyramid = next(fold for fold in deployed.folds if fold.name == "pyramid pooling")
    assert pyramid.flops_after < pyramid.flops_before


@pytest.mark.parametrize(
    ("family", "stride", "size", "before", "at_most"),
    [
        ("schp", 16, 473, 152.97, 131.7),
        ("schp", 8, 473, 477.51, 477.51 * 0.85),
        ("schp", 16, 512, 174.81, 174.81 * 0.86),
        ("ssseg", 16, 473, 173.07, 173.07 * 0.83),
        ("ssseg", 8, 473, 496.91, 496.91 * 0.85),
    ],
)
def test_published_networks_lose_the_promised_operations(
    family: str, stride: int, size: int, before: float, at_most: float
) -> None:
    with torch.device("meta"):
        net = CE2P(CE2PConfig.of(family, "r101", stride, 20))
    deployed = deploy(net, (size, size))
    assert deployed.flops_before / 1e9 == pytest.approx(before, abs=0.01)
    assert deployed.flops_after / 1e9 <= at_most


@pytest.mark.parametrize(("family", "size"), [("schp", 473), ("ssseg", 512)])
def test_resnet101_at_its_published_size_keeps_its_logits(family: str, size: int) -> None:
    net = untrained(CE2PConfig.of(family, "r101", 16, 20))
    deployed = deploy(net, (size, size))
    image = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        found, expected = deployed.net(image).parsing, net(image).parsing
    assert relative_l2(found, expected) < MAX_RELATIVE_L2
    assert float((found.argmax(1) == expected.argmax(1)).float().mean()) > 0.9999
