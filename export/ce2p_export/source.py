"""What an export starts from: a checkpoint file, or a named model with random weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ce2p.checkpoints import load_checkpoint
from ce2p.errors import ConfigError
from ce2p.families import DEFAULT_FAMILY, default_input_size
from ce2p.labels import LabelSet, label_set
from ce2p.models import CE2P, CE2PConfig, parse_model_name, untrained

__all__ = ["Source", "open_source"]


@dataclass(frozen=True)
class Source:
    """A network with the facts that its exported file will state."""

    net: CE2P
    labels: LabelSet
    stem: str
    """Name for output files."""
    folder: Path
    weights: str
    """Where the weights come from, in words."""
    parent_sha256: str | None
    """Of the checkpoint file; None for random weights."""
    notes: tuple[str, ...]
    input_size: tuple[int, int]
    """(height, width) that an export takes unless told otherwise."""
    untrained: bool = False
    """Whether nobody trained these weights: no gate judges the file then."""


def open_source(
    model: str,
    *,
    family: str | None = None,
    dataset: str | None = None,
    output_stride: int | None = None,
    random: bool = False,
    seed: int = 0,
) -> Source:
    """Resolve MODEL: a checkpoint path, or a model name together with `random`.

    A model name without `random` is refused rather than answered with meaningless labels.
    Raises ConfigError or CheckpointError.
    """
    if random:
        name_dataset, backbone, stride = parse_model_name(model)
        labels = label_set(dataset or name_dataset)
        config = CE2PConfig.of(family or DEFAULT_FAMILY, backbone, output_stride or stride, labels.num_classes)
        weights = f"untrained (random, seed {seed})"
        side = default_input_size(config.family, labels.dataset)
        return Source(untrained(config, seed), labels, model, Path(), weights, None, (), (side, side), True)
    if not Path(model).exists():
        parse_model_name(model)  # raises for anything that is no model name either
        raise ConfigError(
            f"{model} names a network but no weights; give a checkpoint file, or --random for an untrained one"
        )
    loaded = load_checkpoint(model, dataset=dataset, output_stride=output_stride)
    if family not in (None, loaded.config.family):
        raise ConfigError(
            f"{model}: holds a {loaded.config.family} network, --family {family} asked for; leave the option out"
        )
    return Source(
        loaded.net,
        loaded.labels,
        loaded.path.stem,
        loaded.path.parent,
        loaded.weights,
        loaded.sha256,
        loaded.notes,
        loaded.input_size,
        loaded.untrained,
    )
