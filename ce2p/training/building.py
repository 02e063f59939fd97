"""From a configuration and a list of pictures to a trainer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..augmentation import build_augmentation
from ..data.dataset import ParsingDataset, make_loader
from ..data.sampler import EpochSampler
from ..data.splits import Sample
from ..labels import LabelSet
from ..models import CE2P, CE2PConfig, parse_model_name
from .distributed import Processes
from .loop import Trainer
from .losses import Criterion, class_weights_from
from .recipe import TrainConfig


def build_network(config: TrainConfig, labels: LabelSet) -> CE2P:
    """The network that `config` names, with random weights that are a function of its seed."""
    torch.manual_seed(config.seed)
    _, backbone, stride = parse_model_name(config.model)
    return CE2P(CE2PConfig.of(config.family, backbone, stride, labels.num_classes))


def build_trainer(
    config: TrainConfig,
    net: CE2P,
    labels: LabelSet,
    samples: Sequence[Sample],
    processes: Processes,
    *,
    workers: int,
    class_pixels: Tensor | None = None,
    compiled: bool = False,
) -> Trainer:
    """A trainer of `net` on `samples`, at the start of its run.

    `class_pixels` [C]: pixels of each class in the training set, needed where the configuration weighs classes by their
    rarity. Raises ConfigError where the batch cannot be shared out, DataError for fewer pictures than one batch.
    """
    augmentation = build_augmentation(
        config.augmentation.name, config.augmentation.parameters(), config.input_size, labels
    )
    sampler = EpochSampler(
        len(samples),
        config.batch,
        micro_batch=config.micro_batch or max(1, config.batch // processes.world),
        seed=config.seed,
        rank=processes.rank,
        world=processes.world,
    )
    on_gpu = processes.device.type == "cuda"
    loader = make_loader(ParsingDataset(samples, labels, augmentation, config.seed), sampler, workers, on_gpu)
    weights = None
    if config.loss.class_weights:
        if class_pixels is None:
            raise ValueError("loss.class_weights needs the pixels of each class")
        weights = class_weights_from(class_pixels).to(processes.device)
    criterion = Criterion(
        config.loss,
        net.config.align_corners,
        labels.num_classes,
        weights,
        reduce_sum=processes.reduce_sum,
        world=processes.world,
    )
    return Trainer(config, net, loader, sampler, criterion, processes=processes, compiled=compiled)
