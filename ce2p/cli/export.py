"""`ce2p export`: resolve the model, export, show folds and proof."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from ce2p_export import Exported, GraphOptions, Proof, default_path, export_onnx, open_source
from ce2p_export.deploy import FoldReport

from .console import remark, say, table, write_json

__all__ = ["ExportRequest", "export_file", "fold_table", "proof_table", "run"]


@dataclass(frozen=True)
class ExportRequest:
    """The command's options."""

    model: str
    size: tuple[int, int] | None
    batch: int | None
    input_kind: str
    output_kind: str
    edge: bool
    fold: bool
    output: Path | None
    dataset: str | None
    stride: int | None
    family: str | None
    random: bool
    seed: int
    json: str | None
    precision: str


def run(request: ExportRequest) -> None:
    """Export and report. Raises CE2PError."""
    exported = export_file(request)
    if request.json:
        write_json({"path": str(exported.path), **dataclasses.asdict(exported.metadata)}, request.json)
    if request.json != "-":
        _report(exported)


def export_file(request: ExportRequest) -> Exported:
    """Export, with remarks on the way. Raises CE2PError."""
    source = open_source(
        request.model, family=request.family, dataset=request.dataset,
        output_stride=request.stride, random=request.random, seed=request.seed,
    )  # fmt: skip
    options = GraphOptions(
        request.size or source.input_size,
        request.batch,
        cast(Literal["float", "uint8"], request.input_kind),
        cast(Literal["logits", "labels"], request.output_kind),
        request.edge,
        cast(Literal["fp32", "fp16"], request.precision),
    )
    path = request.output or default_path(source, options)
    remark(
        f"{request.model}: {source.net.config.name}, {len(source.labels.names)} classes ({source.labels.title}), "
        f"{source.weights}"
    )
    for note in source.notes:
        remark(f"note: {note}")
    return export_onnx(source, options, path, fold=request.fold, progress=lambda step: remark(f"{step} ..."))


def _report(exported: Exported) -> None:
    if exported.folds:
        fold_table(exported.folds)
        fused = (
            "CE2PEdgeFusion inserted"
            if exported.fusion.count
            else f"CE2PEdgeFusion not inserted: {exported.fusion.reason}"
        )
        say(fused)
    proof_table(exported.proof)
    megabytes = exported.path.stat().st_size / 1e6
    say(f"exported {exported.path} ({megabytes:.1f} MB)")
    say(f"next: ce2p parse PICTURE_OR_VIDEO --model {exported.path}")


def fold_table(folds: tuple[FoldReport, ...]) -> None:
    """What each fold did, with GFLOPs before and after."""
    rows = [(f.name, str(f.count), f"{f.flops_before / 1e9:.2f}", f"{f.flops_after / 1e9:.2f}") for f in folds]
    before, after = folds[0].flops_before, folds[-1].flops_after
    rows.append(("together", "", f"{before / 1e9:.2f}", f"{after / 1e9:.2f} ({after / before - 1:+.1%})"))
    table("Exact folds", ("fold", "places", "GFLOP before", "after"), rows)


def proof_table(proof: Proof) -> None:
    """Every comparison of the proof, the worst marked."""
    rows = []
    for row in proof.rows:
        relative = "" if row.relative_l2 is None else f"{row.relative_l2:.1e}"
        max_abs = "" if row.max_abs is None else f"{row.max_abs:.1e}"
        mark = " (worst)" if row is proof.worst else ""
        rows.append((row.picture + mark, relative, max_abs, f"{row.pixel_agreement:.3%}"))
    table(
        f"Proof: {proof.runtime}, against the trained PyTorch network",
        ("input", "relative L2", "max abs", "same label"),
        rows,
    )
