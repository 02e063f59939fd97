"""What an export starts from (a checkpoint file, or a named model with random weights), and what its file states."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ce2p import __version__
from ce2p.checkpoints import load_checkpoint
from ce2p.errors import CE2PError, ConfigError
from ce2p.families import DEFAULT_FAMILY, Preprocessing, default_input_size, palette_for, preprocessing_for
from ce2p.labels import LabelSet, label_set
from ce2p.models import CE2P, CE2PConfig, parse_model_name, untrained
from ce2p_runtime.errors import ModelFileError
from ce2p_runtime.measuring.machine import versions
from ce2p_runtime.model_files.metadata import Geometry, ModelMetadata

from .deploy import FoldReport
from .onnx_graph import GraphOptions


@dataclass(frozen=True, kw_only=True)
class SourceModel:
    """A network with the facts that its exported file will state."""

    net: CE2P
    labels: LabelSet
    stem: str
    """Name for output files."""
    folder: Path = Path()
    weights: str
    """Where the weights come from, in words."""
    parent_sha256: str | None = None
    """Of the checkpoint file; None for random weights."""
    notes: tuple[str, ...] = ()
    input_size: tuple[int, int]
    """(height, width) that an export takes unless told otherwise."""
    untrained: bool = False
    """Whether nobody trained these weights: no gate judges the file then."""


def open_model(
    model: str,
    *,
    family: str | None = None,
    dataset: str | None = None,
    output_stride: int | None = None,
    random: bool = False,
    seed: int = 0,
) -> SourceModel:
    """Resolve MODEL: a checkpoint path, or a model name together with `random`.

    A model name without `random` is refused rather than answered with meaningless labels.
    Raises ConfigError or CheckpointError.
    """
    if random:
        name_dataset, backbone, stride = parse_model_name(model)
        labels = label_set(dataset or name_dataset)
        config = CE2PConfig.of(family or DEFAULT_FAMILY, backbone, output_stride or stride, labels.num_classes)
        side = default_input_size(config.family, labels.dataset)
        return SourceModel(
            net=untrained(config, seed),
            labels=labels,
            stem=model,
            weights=f"untrained (random, seed {seed})",
            input_size=(side, side),
            untrained=True,
        )
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
    return SourceModel(
        net=loaded.net,
        labels=loaded.labels,
        stem=loaded.path.stem,
        folder=loaded.path.parent,
        weights=loaded.weights,
        parent_sha256=loaded.sha256,
        notes=loaded.notes,
        input_size=loaded.input_size,
        untrained=loaded.untrained,
    )


def build_metadata(
    source: SourceModel,
    options: GraphOptions,
    folds: tuple[FoldReport, ...] = (),
    provenance: Mapping[str, Any] = MappingProxyType({}),
) -> ModelMetadata:
    """Metadata of an export. `provenance` adds what only the export knows (parity, fused ops).

    Raises CE2PError where the runtime would not read it again, as with a control character in a class's name.
    """
    config, labels = source.net.config, source.labels
    preprocessing = preprocessing_for(config.family)
    made = ModelMetadata(
        family=config.family,
        dataset=labels.dataset,
        class_names=labels.names,
        palette=palette_for(labels, config.family),
        flip_pairs=labels.flip_pairs,
        normalisation=preprocessing.normalisation,
        geometry=_geometry(preprocessing, options),
        align_corners=config.align_corners,
        input_size=options.size,
        output_stride=config.output_stride,
        input_kind=options.input_kind,
        output_kind=options.output_kind,
        precision=options.precision,
        weights=source.weights,
        untrained=source.untrained,
        edge=options.edge,
        io=options.io,
        extra={
            "backbone": config.backbone,
            "batch": options.batch or "dynamic",
            "parent_sha256": source.parent_sha256,
            "folds": [dataclasses.asdict(fold) for fold in folds],
            "tools": {"ce2p": __version__, **versions("torch", "onnx", "onnxscript")},
            **provenance,
        },
    )
    try:
        ModelMetadata.from_json(made.to_json(), source.stem)
    except ModelFileError as error:
        raise CE2PError(
            f"not exported, since the file could not be used: {error.__cause__}; change it first"
        ) from error
    return made


def _geometry(preprocessing: Preprocessing, options: GraphOptions) -> Geometry:
    # A graph that ends in labels leaves only labels to warp; nearest neighbour is the one meaning that remains.
    own = preprocessing.geometry
    return dataclasses.replace(own, unwarp="labels") if options.output_kind == "labels" else own
