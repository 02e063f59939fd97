"""The folded network with its convolutions through cuDNN's fused calls, as far as PyTorch offers them.

    relu(conv(x) + bias)            torch.cudnn_convolution_relu
    relu(conv(x) + bias + z)        torch.cudnn_convolution_add_relu

Unfused, bias, sum and activation are passes over memory of their own. Leaky activations have no such call: their
convolutions stay as they are, and are counted.
"""

from __future__ import annotations

import copy
import operator
from collections import Counter
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.fx import GraphModule, Node
from torch.fx.passes.shape_prop import ShapeProp

from ce2p.models import CE2P


@dataclass(frozen=True)
class Coverage:
    """Which convolutions of a network were fused."""

    fused: int
    fused_with_sum: int
    leaky: int
    """Left plain, because a leaky activation follows."""
    plain: int
    """Left plain, because none follows, or not at once."""
    share_of_work: float
    """Of all convolutions' operations, in those that were fused."""

    @property
    def convolutions(self) -> int:
        return self.fused + self.fused_with_sum + self.leaky + self.plain

    def __str__(self) -> str:
        covered = self.fused + self.fused_with_sum
        return (
            f"{covered} of {self.convolutions} convolutions fused ({self.fused_with_sum} with a sum), "
            f"{self.share_of_work:.0%} of their operations; {self.leaky} leaky and {self.plain} others stay plain"
        )


class FusedConvolution(nn.Module):
    """relu(conv(x) [+ z]) in one call on a GPU; on the CPU by its definition."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, x: Tensor, z: Tensor | None = None) -> Tensor:
        """x [N, inputs, H, W], z of the result's shape -> [N, outputs, h, w]."""
        conv = self.conv
        if not x.is_cuda:
            y = conv(x)
            return F.relu(y if z is None else y + z)
        weight, bias, padding = conv.weight, conv.bias, conv.padding
        assert not isinstance(padding, str)  # ours are numbers
        shape = {"stride": conv.stride, "padding": padding, "dilation": conv.dilation, "groups": conv.groups}
        if z is None:
            return torch.cudnn_convolution_relu(x, weight, bias, **shape)  # type: ignore[arg-type]
        return torch.cudnn_convolution_add_relu(x, weight, z, 1.0, bias, **shape)  # type: ignore[arg-type]


def fuse_convolutions(folded: CE2P, size: tuple[int, int]) -> tuple[GraphModule, Coverage]:
    """The same function of images of `size` (height, width), and what of it was fused; `folded` stays as it is.

    Raises RuntimeError where a BatchNorm is left: a network must be folded first.
    """
    if any(isinstance(module, nn.BatchNorm2d) for module in folded.modules()):
        raise RuntimeError("convolutions can be fused in a folded network; this one has BatchNorm left")
    traced = torch.fx.symbolic_trace(folded)
    _drop_identities(traced)
    work = _operations(traced, size)
    counts: Counter[str] = Counter()
    fused_work = 0
    for node in list(traced.graph.nodes):
        if node.op == "call_module" and isinstance(traced.get_submodule(node.target), nn.Conv2d):
            fate = _fuse(traced, node)
            counts[fate] += 1
            fused_work += work[node.name] if fate.startswith("fused") else 0
    traced.graph.eliminate_dead_code()
    traced.graph.lint()
    traced.recompile()
    share = fused_work / sum(work.values())
    return traced, Coverage(counts["fused"], counts["fused_with_sum"], counts["leaky"], counts["plain"], share)


def _drop_identities(traced: GraphModule) -> None:
    """What folding left behind stands between convolutions and their activations."""
    for node in list(traced.graph.nodes):
        if node.op == "call_module" and isinstance(traced.get_submodule(node.target), (nn.Identity, nn.Dropout2d)):
            node.replace_all_uses_with(node.args[0])
            traced.graph.erase_node(node)


def _operations(traced: GraphModule, size: tuple[int, int]) -> dict[str, int]:
    """Name of a convolution's node -> its operations for one image. On meta tensors: no arithmetic."""
    shadow = copy.deepcopy(traced).to("meta")
    ShapeProp(shadow).propagate(torch.empty(1, 3, *size, device="meta"))
    work = {}
    for node in shadow.graph.nodes:
        if node.op == "call_module" and isinstance(conv := shadow.get_submodule(node.target), nn.Conv2d):
            work[node.name] = 2 * node.meta["tensor_meta"].shape.numel() * conv.weight[0].numel()
    return work


def _fuse(traced: GraphModule, node: Node) -> str:
    """Fuse one convolution if what follows allows it; says what became of it."""
    user = _only_user(node)
    if user is None:
        return "plain"
    if _is(traced, user, nn.LeakyReLU, F.leaky_relu):
        return "leaky"
    if _is(traced, user, nn.ReLU, F.relu):
        _replace(traced, node, user, ())
        return "fused"
    relu = _only_user(user)
    if user.target in (operator.add, torch.add) and relu is not None and _is(traced, relu, nn.ReLU, F.relu):
        others = [argument for argument in user.args if argument is not node]
        if len(others) == 1 and isinstance(others[0], Node):
            _replace(traced, node, relu, (others[0],))
            return "fused_with_sum"
    return "plain"


def _replace(traced: GraphModule, node: Node, last: Node, sums: tuple[Node, ...]) -> None:
    """One fused call in the place of the convolution `node` and all up to `last`."""
    assert isinstance(node.target, str)  # a module's
    conv = traced.get_submodule(node.target)
    assert isinstance(conv, nn.Conv2d)
    traced.set_submodule(node.target, FusedConvolution(conv))
    with traced.graph.inserting_before(last):
        call = traced.graph.call_module(node.target, (*node.args, *sums))
    last.replace_all_uses_with(call)


def _only_user(node: Node) -> Node | None:
    users = list(node.users)
    return users[0] if len(users) == 1 else None


def _is(traced: GraphModule, node: Node, module: type[nn.Module], function: object) -> bool:
    if node.op == "call_module" and isinstance(node.target, str):
        return isinstance(traced.get_submodule(node.target), module)
    return node.op == "call_function" and node.target is function
