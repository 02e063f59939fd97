"""PyTorch's ways to what label_map does, on the same GPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from benchmarks.gpu.kernel_cases import SCHP, Scale
from benchmarks.gpu.torch_device import open_torch
from ce2p_runtime.geometry import frame_mapping
from ce2p_runtime.ops import label_map_reference

__all__ = ["ONE_STEP", "torch_label_maps"]

ONE_STEP = "torch interpolate + argmax"
_REPEATS = 10


def torch_label_maps(scale: Scale, logits: NDArray[Any], device: str) -> dict[str, Callable[[], float]]:
    """The same labels with PyTorch: one interpolation and argmax, and the published two steps. Each gives milliseconds.

    Raises SkippedError where PyTorch sees no GPU, AssertionError where its labels are others.
    """
    torch_device = open_torch(device)
    values = torch.from_numpy(logits).to(device)[None]
    mapping = frame_mapping(SCHP, scale.frame, scale.network)
    assert mapping.unwarp is not None
    x = torch.arange(scale.frame[1], device=device) * mapping.unwarp[0, 0] + mapping.unwarp[0, 2]
    y = torch.arange(scale.frame[0], device=device) * mapping.unwarp[1, 1] + mapping.unwarp[1, 2]
    grid = torch.stack(
        torch.meshgrid(2 * x / (scale.network[1] - 1) - 1, 2 * y / (scale.network[0] - 1) - 1, indexing="xy"), -1
    )
    grid = grid.float()[None]

    def one_step() -> torch.Tensor:
        return F.interpolate(values, scale.frame, mode="bilinear", align_corners=True).argmax(1).to(torch.uint8)

    def two_steps() -> torch.Tensor:
        inner = F.interpolate(values, scale.network, mode="bilinear", align_corners=True)
        return F.grid_sample(inner, grid, align_corners=True).argmax(1).to(torch.uint8)

    expected = label_map_reference(logits, mapping.unwarp, scale.network, scale.frame, align_corners=True)
    agreement = float((two_steps()[0].cpu().numpy() == expected).mean())
    assert agreement > 0.999, f"PyTorch's two steps agree on {agreement:.2%} of the labels only"
    return {
        ONE_STEP: lambda: torch_device.milliseconds(one_step, _REPEATS),
        "torch two steps": lambda: torch_device.milliseconds(two_steps, _REPEATS),
    }
