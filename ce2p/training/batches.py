"""From a batch of pixels to the network's input, on the device: bytes travel, floats are made where they are used."""

from __future__ import annotations

import torch
from torch import Tensor

from ce2p_runtime.model_files.metadata import Normalisation


def to_network_input(pixels: Tensor, how: Normalisation) -> Tensor:
    """BGR pixels uint8 [N, 3, H, W] -> normalised float32 of the same shape and device, channels last in memory."""
    ordered = pixels.flip(1) if how.colour_order == "rgb" else pixels
    mean, std = (torch.tensor(v, device=pixels.device).view(3, 1, 1) for v in (how.mean, how.std))
    normalised = (ordered.float() * how.scale - mean) / std
    return normalised.contiguous(memory_format=torch.channels_last)
