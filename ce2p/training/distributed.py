"""One process or several: who this one is, and what all of them do together.

`torchrun` sets RANK, WORLD_SIZE and LOCAL_RANK; without them there is one process and nothing here does anything.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ..errors import ConfigError
from .sync_batchnorm import synchronised


@dataclass(frozen=True)
class Processes:
    """This process among those that train together."""

    device: torch.device
    rank: int = 0
    world: int = 1

    @property
    def leads(self) -> bool:
        """Whether this one writes files and talks to the user."""
        return self.rank == 0

    def reduce_sum(self, value: Tensor) -> Tensor:
        """The sum of `value` over all processes; without gradient."""
        if self.world == 1:
            return value
        total = value.detach().clone()
        dist.all_reduce(total)
        return total

    def wait(self) -> None:
        """Return once every process is here."""
        if self.world > 1:
            dist.barrier()

    def wrap(self, net: nn.Module) -> nn.Module:
        """`net` as its copies in all processes train it: gradients averaged, BatchNorm over the whole batch."""
        if self.world == 1:
            return net
        ids = [self.device] if self.device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(synchronised(net, self.device), device_ids=ids)


@contextmanager
def joined_processes(device: str) -> Iterator[Processes]:
    """Join the processes that torchrun started, if it did.

    `device`: "auto" (a GPU where there is one, and the log says which), "cpu", "cuda" or "cuda:N". Raises ConfigError
    for a device that is not there: training on another one than asked for would take days to notice.
    """
    world, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    chosen = _device(device, int(os.environ.get("LOCAL_RANK", "0")), world)
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    if world == 1:
        yield Processes(chosen)
        return
    # One process validates while the others wait for it.
    dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo", timeout=timedelta(hours=6))
    try:
        yield Processes(chosen, rank, world)
    finally:
        dist.destroy_process_group()


def _device(name: str, local_rank: int, world: int) -> torch.device:
    kind, _, index = name.partition(":")
    if kind not in {"auto", "cpu", "cuda"} or (index and (kind != "cuda" or not index.isdigit())):
        raise ConfigError(f"--device {name}: expected auto, cpu, cuda or cuda:N")
    if kind == "cpu" or (kind == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise ConfigError(f"--device {name}: PyTorch {torch.__version__} finds no GPU; check `ce2p doctor`, or use cpu")
    if index and world > 1:
        raise ConfigError(f"--device {name}: {world} processes cannot share one GPU; use --device cuda")
    number = int(index) if index else local_rank
    if number >= torch.cuda.device_count():
        raise ConfigError(
            f"--device {name}: this machine has {torch.cuda.device_count()} GPUs, number {number} asked for"
        )
    return torch.device("cuda", number)
