"""The metadata an exported file carries: everything the runtime and a curious user need, gathered from its sources."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from ce2p import __version__
from ce2p.errors import CE2PError
from ce2p.families import Preprocessing, palette_for, preprocessing_for
from ce2p_runtime.errors import ModelFileError
from ce2p_runtime.measuring.machine import versions
from ce2p_runtime.model_files.metadata import Geometry, ModelMetadata

from .deploy import FoldReport
from .onnx_graph import GraphOptions
from .source import Source

__all__ = ["build_metadata"]


def build_metadata(
    source: Source,
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
