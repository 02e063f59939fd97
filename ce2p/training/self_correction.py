"""The self-correction teacher: the running mean of the networks at the ends of the cycles.

Source: utils/schp.py and train.py of SCHP (Li et al., TPAMI 2020). After cycle n the teacher holds the mean of n
networks' parameters. A mean of networks needs statistics of its own, so every BatchNorm's are estimated anew over the
training set. From then on the teacher's probabilities are soft labels (`losses.py`), and at the end it is the network
to deploy.

What the public code does otherwise:

- train.py leaves the teacher in train mode after bn_re_estimate: its soft labels come from batch statistics and with
  dropout, and each batch moves the statistics that were just estimated. Here it is in eval mode.
- schp.py (reset_bn) and modules/: statistics are those of one GPU's share of each batch, and of the first GPU's alone
  in what is saved. Here the sums go over all processes.
- schp.py (moving_average) multiplies the teacher's old values by 0 in the first cycle, which keeps a NaN or infinity
  that was there. Here the first network is copied.
- train.py restores the teacher and the cycle count from log/schp_checkpoint.pth.tar, a name it never writes: a run
  that was interrupted late goes on without soft labels and with an empty mean. Here they are part of the snapshot.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..models.network import CE2P, CE2POutputs


class Teacher:
    """A copy of a network that takes in the network's parameters, cycle by cycle."""

    def __init__(self, student: CE2P) -> None:
        self.net = copy.deepcopy(student).requires_grad_(False).eval()
        self.cycle = 0
        """Networks taken in so far. At 0 the teacher knows nothing yet and is not to be used."""

    def outputs(self, images: Tensor) -> CE2POutputs:
        """Logits for normalised pictures [N, 3, H, W], without a gradient."""
        with torch.no_grad():
            return self.net(images)

    @torch.no_grad()
    def update(self, student: nn.Module) -> None:
        """Take in the student's parameters: with n networks in the mean, the new one's share is 1 / (n + 1).

        The teacher's BatchNorm statistics do not fit its weights until `estimate_statistics` has run.
        """
        theirs = dict(student.named_parameters())
        for name, mine in self.net.named_parameters():
            if self.cycle == 0:
                mine.copy_(theirs[name])
            else:
                mine.lerp_(theirs[name], 1 / (self.cycle + 1))
        self.cycle += 1

    @torch.no_grad()
    def estimate_statistics(
        self, batches: Iterable[Tensor], reduce_sum: Callable[[Tensor], Tensor] = lambda value: value
    ) -> None:
        """Estimate every BatchNorm's mean and variance over `batches` of normalised pictures [N, 3, H, W].

        Each batch is normalised by its own statistics on the way, and counts by its number of pictures. `reduce_sum`
        adds over all processes, each of which brings its own batches. Raises ValueError without any picture.
        """
        norms = [module for module in self.net.modules() if isinstance(module, _BatchNorm)]
        usual = [norm.momentum for norm in norms]
        pictures = 0
        try:
            for norm in norms:
                norm.reset_running_stats()
                norm.train()  # these alone: dropout stays off
            for images in batches:
                pictures += len(images)
                for norm in norms:
                    norm.momentum = len(images) / pictures  # the running mean over all pictures so far
                self.net(images)
        finally:
            for norm, momentum in zip(norms, usual, strict=True):
                norm.momentum = momentum
            self.net.eval()
        _average_over_processes(norms, pictures, reduce_sum)

    def state_dict(self) -> dict[str, Any]:
        """All that changes, for a snapshot."""
        return {"cycle": self.cycle, "net": self.net.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back to what `state_dict` returned."""
        self.net.load_state_dict(state["net"])
        self.cycle = int(state["cycle"])


def _average_over_processes(norms: list[_BatchNorm], pictures: int, reduce_sum: Callable[[Tensor], Tensor]) -> None:
    """Statistics of all processes' pictures, from each process's own: one exchange for all layers."""
    buffers = [buffer for norm in norms for buffer in (norm.running_mean, norm.running_var) if buffer is not None]
    flat = torch.cat([buffer.double() for buffer in buffers])
    total = reduce_sum(torch.cat([flat * pictures, flat.new_tensor([pictures])]))
    if total[-1] == 0:
        raise ValueError("no pictures to estimate BatchNorm statistics from")
    means = (total[:-1] / total[-1]).split([len(buffer) for buffer in buffers])
    for buffer, mean in zip(buffers, means, strict=True):
        buffer.copy_(mean)
