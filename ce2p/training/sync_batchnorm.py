"""BatchNorm whose statistics are those of the whole batch, over all processes.

On GPUs torch's own SyncBatchNorm does it; that one refuses CPU tensors. This is the same arithmetic through
torch.distributed alone, for gloo: how tests hold two processes against one, and how a small cluster of CPUs trains.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


def synchronised(net: nn.Module, device: torch.device) -> nn.Module:
    """`net` with every BatchNorm2d replaced by a synchronised one that shares its parameters and buffers."""
    if device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(net)
    for name, child in net.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(net, name, HostSyncBatchNorm2d.of(child))
        else:
            synchronised(child, device)
    return net


class HostSyncBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm2d over [N, C, H, W] of all processes; in eval mode, or in one process, nothing but BatchNorm2d."""

    @classmethod
    def of(cls, norm: nn.BatchNorm2d) -> HostSyncBatchNorm2d:
        """A synchronised layer around the tensors of `norm`."""
        made = cls(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats, device="meta")
        made.load_state_dict(norm.state_dict(), assign=True)
        made.weight, made.bias = norm.weight, norm.bias
        return made.train(norm.training)

    def forward(self, x: Tensor) -> Tensor:
        if not (self.training and dist.is_initialized() and dist.get_world_size() > 1):
            return super().forward(x)
        values = x.to(torch.promote_types(x.dtype, torch.float32))
        count = _AllReduce.apply(values.new_tensor(x.numel() // x.shape[1]))
        mean = _AllReduce.apply(values.sum((0, 2, 3))) / count
        centred = values - mean[:, None, None]  # two passes: squares of large means would cancel
        variance = _AllReduce.apply(centred.square().sum((0, 2, 3))) / count
        self._track(mean.detach(), variance.detach() * count / (count - 1))
        normalised = centred * torch.rsqrt(variance + self.eps)[:, None, None]
        return (normalised * self.weight[:, None, None] + self.bias[:, None, None]).to(x.dtype)

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor) -> None:
        """Running statistics, as BatchNorm2d keeps them; momentum None is the cumulative average."""
        assert self.running_mean is not None  # noqa: S101  (as this class is only made from tracking layers)
        assert self.running_var is not None  # noqa: S101
        assert self.num_batches_tracked is not None  # noqa: S101
        self.num_batches_tracked.add_(1)
        momentum = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, momentum)
        self.running_var.lerp_(variance, momentum)


class _AllReduce(torch.autograd.Function):
    """Sum over all processes, and its gradient: each process's input reaches every process's output."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        total = value.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.contiguous().clone()
        dist.all_reduce(total)
        return total
