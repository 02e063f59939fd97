"""The folded network through fused convolutions: exactly the same on the CPU, where the calls are their definition.

That the calls mean their definition on a GPU, the kill test holds against the float32 network there."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.gpu.fused_convolutions import FusedConvolution, fuse_convolutions
from ce2p.models import CE2P
from ce2p_export import deploy

Tiny = Callable[..., CE2P]


@pytest.mark.parametrize(
    ("family", "size"), [("schp", (65, 65)), ("ce2p", (97, 65)), ("mce2p", (65, 65)), ("ssseg", (65, 65))]
)
def test_the_rewritten_network_computes_the_same_bit_by_bit(tiny: Tiny, family: str, size: tuple[int, int]) -> None:
    folded = deploy(tiny(family), size).net
    before = copy.deepcopy(folded.state_dict())
    fused, coverage = fuse_convolutions(folded, size)
    image = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(fused(image).parsing, folded(image).parsing)
    assert coverage.fused_with_sum == 8, "each of the eight residual blocks ends in a sum"
    assert 0.5 < coverage.share_of_work < 1
    for name, value in folded.state_dict().items():
        assert torch.equal(value, before[name]), f"{name} of the folded network was changed"


def test_every_convolution_is_counted_once(tiny: Tiny) -> None:
    folded = deploy(tiny("schp"), (65, 65)).net
    fused, coverage = fuse_convolutions(folded, (65, 65))
    assert coverage.convolutions == sum(isinstance(module, nn.Conv2d) for module in folded.modules())
    assert coverage.fused + coverage.fused_with_sum == sum(isinstance(m, FusedConvolution) for m in fused.modules())
    assert coverage.leaky > 0
    assert f"of {coverage.convolutions} convolutions fused" in str(coverage)


def test_a_network_that_is_not_folded_is_refused(tiny: Tiny) -> None:
    with pytest.raises(RuntimeError, match="this one has BatchNorm left"):
        fuse_convolutions(tiny("schp"), (65, 65))


@pytest.mark.parametrize("with_sum", [False, True])
@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (1, 2)])
def test_a_fused_convolution_is_convolution_sum_and_relu(with_sum: bool, stride: int, dilation: int) -> None:
    conv = nn.Conv2d(3, 5, 3, stride, padding=dilation, dilation=dilation)
    x = torch.randn(2, 3, 9, 8)
    plain = conv(x)
    z = torch.randn_like(plain) if with_sum else None
    expected = F.relu(plain + z) if z is not None else F.relu(plain)
    assert torch.equal(FusedConvolution(conv)(x, z), expected)


class _Fake(nn.Module):
    """A convolution whose result two readers need: fusing it would take it away from one of them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.other = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv(x)
        return F.relu(y) + y + F.relu(self.other(x))


def test_a_result_that_others_read_too_is_left_alone() -> None:
    net = _Fake()
    fused, coverage = fuse_convolutions(net, (8, 8))  # type: ignore[arg-type]
    x = torch.randn(1, 3, 8, 8)
    assert (coverage.fused, coverage.plain) == (1, 1)
    assert torch.equal(fused(x), net(x))
