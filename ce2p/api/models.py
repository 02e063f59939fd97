"""Networks to export, verify or score: from a checkpoint file, or built anew with random weights."""

from __future__ import annotations

from pathlib import Path

from ce2p_export import SourceModel, open_model

from .notes import note


def load(checkpoint: str | Path, *, dataset: str | None = None, stride: int | None = None) -> SourceModel:
    """The network of a checkpoint, of any family and in any public layout, with what its exported file will state.

        net = ce2p.load("exp-schp-201908261155-lip.pth")
        net.net, net.labels.names, net.input_size       # torch module in float32, class names, (height, width)

    `dataset`: label set, for checkpoints whose class count several have. `stride`: output stride 8 or 16, for those
    whose keys do not tell. Files are read without unpickling code. Raises CheckpointError and ConfigError.
    """
    return open_model(str(checkpoint), dataset=dataset, output_stride=stride)


def build(
    name: str, *, family: str | None = None, dataset: str | None = None, stride: int | None = None, seed: int = 0
) -> SourceModel:
    """An untrained network by its name, marked untrained in everything that is made of it.

        net = ce2p.build("lip-r101-os16", family="schp")

    `name`: `<data set>-<backbone>-os<stride>`; `family`: one of `ce2p.families.FAMILIES`, default ssseg; `seed`: of the
    weights. Raises ConfigError.
    """
    return open_model(name, family=family, dataset=dataset, output_stride=stride, random=True, seed=seed)


def source_of(model: str | Path | SourceModel, *, dataset: str | None = None, stride: int | None = None) -> SourceModel:
    """`model` itself, or the network of the checkpoint it names."""
    if isinstance(model, SourceModel):
        return model
    source = load(model, dataset=dataset, stride=stride)
    for text in source.notes:
        note(f"note: {text}")
    return source
