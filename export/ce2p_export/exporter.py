"""Export, start to end: fold, trace, check, prove, and only then a file under its final name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import onnx
import onnx_ir as ir

from ce2p.errors import ConfigError
from ce2p.preprocessing import preprocessing_for
from ce2p_runtime.files import atomic_path
from ce2p_runtime.metadata import METADATA_KEY, ModelMetadata

from .deploy import FoldReport, deploy
from .fusions import FusionResult
from .metadata import build_metadata
from .onnx_graph import GraphOptions, build_graph
from .proof import Proof, ProofError, prove
from .source import Source

__all__ = ["Exported", "default_path", "export_onnx"]

MIN_SIDE = 33
"""Smallest input side in pixels: below it the coarsest feature map is a point or two, and pooling is meaningless."""


@dataclass(frozen=True)
class Exported:
    """A proven file and the account of how it came about."""

    path: Path
    metadata: ModelMetadata
    folds: tuple[FoldReport, ...]
    fusion: FusionResult
    proof: Proof


def default_path(source: Source, options: GraphOptions) -> Path:
    """`<stem>_<precision>_<H>x<W>.onnx` beside the checkpoint (model names: in the working folder)."""
    height, width = options.size
    return source.folder / f"{source.stem}_{options.precision}_{height}x{width}.onnx"


def export_onnx(
    source: Source,
    options: GraphOptions,
    path: Path,
    *,
    fold: bool = True,
    progress: Callable[[str], None] = lambda step: None,
) -> Exported:
    """Write `source` as a proven ONNX file at `path`; `progress` is told each step.

    Nothing appears under `path` unless checker and proof passed. Raises ProofError, ConfigError, and CE2PError for
    weights that the precision asked for cannot hold.
    """
    if min(options.size) < MIN_SIDE:
        raise ConfigError(
            f"input size {options.size[0]}x{options.size[1]} is too small; at least {MIN_SIDE} pixels per side"
        )
    preprocessing = preprocessing_for(source.net.config.family)
    net = source.net
    folds: tuple[FoldReport, ...] = ()
    if fold:
        progress("folding")
        deployed = deploy(source.net, options.size, keep_edge=options.edge)
        net, folds = deployed.net, deployed.folds
    progress("tracing")
    model, fusion = build_graph(net, preprocessing, options, fused_ops=fold)
    with atomic_path(path) as temporary:
        _write(model, temporary, {})
        progress("proving")
        onnx.checker.check_model(str(temporary), full_check=True)
        proof = prove(temporary, source.net, preprocessing, options)
        if proof.failure:
            cure = "" if options.precision == "fp32" else "; use --precision fp32"
            raise ProofError(f"{path}: not written, the export differs from the trained network: {proof.failure}{cure}")
        provenance = {"parity": proof.to_dict(), "fused_ops": _fused_ops(model)}
        metadata = build_metadata(source, preprocessing, options, folds, provenance)
        _write(model, temporary, {METADATA_KEY: metadata.to_json()})
    return Exported(path, metadata, folds, fusion, proof)


def _write(model: ir.Model, path: Path, properties: dict[str, str]) -> None:
    model.metadata_props.clear()
    model.metadata_props.update(properties)
    ir.save(model, path)


def _fused_ops(model: ir.Model) -> dict[str, int]:
    ours = [node.op_type for node in model.graph if node.domain == "ce2p"]
    return {op: ours.count(op) for op in sorted(set(ours))}
