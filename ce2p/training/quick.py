"""A short training run on a folder of small pictures: enough for the demo's tiny network to follow a figure.

It holds the whole set in memory and knows one recipe. It is no substitute for a real training run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from ..errors import CE2PError
from ..labels import LabelSet
from ..models import CE2P, CE2PConfig
from ..preprocessing import Preprocessing
from .losses import ce2p_loss

__all__ = ["PictureSet", "load_lip_split", "quick_train"]


MIN_ITERATIONS = 10


@dataclass(frozen=True)
class PictureSet:
    """Pictures of one size with their labels, in memory."""

    images: Tensor
    """uint8 [N, 3, H, W], BGR."""
    labels: Tensor
    """uint8 [N, H, W]."""


def load_lip_split(root: Path, split: str) -> PictureSet:
    """Read `root/{split}_images` and `_segmentations` as listed in `{split}_id.txt`. Raises CE2PError."""
    images, labels = [], []
    for stem in (root / f"{split}_id.txt").read_text().split():
        image = cv2.imread(str(root / f"{split}_images" / f"{stem}.jpg"), cv2.IMREAD_COLOR)
        label = cv2.imread(str(root / f"{split}_segmentations" / f"{stem}.png"), cv2.IMREAD_UNCHANGED)
        if image is None or label is None or label.shape != image.shape[:2]:
            raise CE2PError(f"{root}: {stem} lacks a readable picture or a label map of its size")
        images.append(torch.from_numpy(image.transpose(2, 0, 1).copy()))
        labels.append(torch.from_numpy(np.asarray(label, np.uint8)))
    return PictureSet(torch.stack(images), torch.stack(labels))


def quick_train(
    config: CE2PConfig,
    labels: LabelSet,
    preprocessing: Preprocessing,
    data: PictureSet,
    *,
    iterations: int,
    batch: int = 8,
    peak_rate: float = 4e-3,
    seed: int = 0,
    progress: Callable[[int, float], None] = lambda iteration, loss: None,
) -> CE2P:
    """Train a network from scratch and return it in eval mode; deterministic on one machine for one seed.

    AdamW with a one-cycle schedule, classes weighted by rarity, random mirroring (with left and right exchanged) and
    brightness. `progress` is told each iteration's number and loss. Raises CE2PError when the loss is not finite.
    """
    if iterations < MIN_ITERATIONS:
        raise ValueError(f"{iterations} iterations, expected at least {MIN_ITERATIONS}: the schedule needs a warm-up")
    torch.manual_seed(seed)
    net = CE2P(config).to(memory_format=torch.channels_last).train()
    weights = _class_weights(data.labels, labels.num_classes)
    optimiser = torch.optim.AdamW(net.parameters(), peak_rate, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, peak_rate, iterations, pct_start=0.2)
    order = torch.randperm(len(data.images))
    for iteration in range(iterations):
        picked = order[torch.arange(iteration * batch, (iteration + 1) * batch) % len(order)]
        images, targets = _augmented(data.images[picked], data.labels[picked].long(), labels)
        outputs = net(_normalised(images, preprocessing).contiguous(memory_format=torch.channels_last))
        loss = ce2p_loss(outputs, targets, config.align_corners, weights)
        if not torch.isfinite(loss):
            raise CE2PError(
                f"training diverged: the loss is {loss.item()} at iteration {iteration + 1}; lower the learning rate"
            )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        progress(iteration + 1, loss.item())
    return net.to(memory_format=torch.contiguous_format).eval()


def _class_weights(labels: Tensor, num_classes: int) -> Tensor:
    """[C]: rarer classes count more, by the root of their rarity, since small parts weigh as much in the mean IoU."""
    frequency = torch.bincount(labels.flatten().long(), minlength=num_classes)[:num_classes].float()
    return (frequency.median() / frequency.clamp(min=1)).sqrt().clamp(0.2, 4)


def _augmented(images: Tensor, targets: Tensor, labels: LabelSet) -> tuple[Tensor, Tensor]:
    """Mirror half of the pictures, exchanging left and right; vary brightness and contrast by up to a fifth."""
    swapped = torch.arange(256)
    for left, right in labels.flip_pairs:
        swapped[left], swapped[right] = right, left
    mirror = torch.rand(len(images)) < 0.5
    images, targets = images.float(), targets.clone()
    images[mirror] = images[mirror].flip(-1)
    targets[mirror] = swapped[targets[mirror].flip(-1)]
    contrast = torch.empty(len(images), 1, 1, 1).uniform_(0.8, 1.2)
    brightness = torch.empty(len(images), 1, 1, 1).uniform_(-25, 25)
    return (images * contrast + brightness).clamp(0, 255), targets


def _normalised(images: Tensor, preprocessing: Preprocessing) -> Tensor:
    """BGR pixels [N, 3, H, W] in 0..255 -> network input."""
    pixels = images.flip(1) if preprocessing.colour_order == "rgb" else images
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (preprocessing.mean, preprocessing.std))
    return (pixels * preprocessing.scale - mean) / std
