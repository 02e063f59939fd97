"""From a plan to a file that was judged: a candidate for the export."""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir

from ce2p_runtime.backends import BACKENDS, backend_versions
from ce2p_runtime.base.progress import Progress
from ce2p_runtime.model_files.metadata import METADATA_KEY, ModelMetadata
from ce2p_runtime.model_files.onnx_file import onnx_digest

from .fusions import FusionResult
from .judging import ExportJudge, Verdict
from .onnx_graph import finish_graph
from .plan import ExportPlan
from .precision.converters import convert
from .search import Trial
from .source import SourceModel, build_metadata


@dataclass(frozen=True)
class ExportCandidate:
    """A file that was written for a plan, and what was found about it."""

    plan: ExportPlan
    file: Path
    """Its own temporary file."""
    model: ir.Model = field(repr=False)
    """What is in the file."""
    fusion: FusionResult
    verdict: Verdict = field(repr=False)


@dataclass(frozen=True)
class CandidateMaker:
    """What all candidates of one export have in common."""

    source: SourceModel
    judge: ExportJudge
    path: Path
    """The file to come; candidates have its name, so that errors tell it."""
    folder: Path
    """For temporary files."""
    progress: Progress

    def candidate(self, plan: ExportPlan) -> ExportCandidate:
        """Write, check and judge; nothing is raised for a bad outcome."""
        file, model, fusion = self._write(plan)
        onnx.checker.check_model(str(file), full_check=True)
        verdict = self.judge.verdict(file, half=plan.half, progress=self.progress)
        return ExportCandidate(plan, file, model, fusion, verdict)

    def trial(self, plan: ExportPlan, backend: str | None) -> Trial:
        """Write and judge for a search, see `ExportJudge.trial`; the file is gone afterwards."""
        file, _, _ = self._write(plan)
        try:
            return self.judge.trial(file, half=plan.half, backend=backend)
        finally:
            file.unlink()

    def trial_key(self, plan: ExportPlan, backend: str | None) -> dict[str, Any]:
        """Everything but the kept groups that decides about the outcome of a trial."""
        return {
            "format": 2,
            "graph": hashlib.sha256(plan.graph).hexdigest(),
            "options": repr(plan.options),
            "target": plan.layers.target,
            "unrounded": sorted(plan.layers.unrounded),
            "ranges": sorted(plan.layers.ranges.items()),
            "backend": backend,
            "versions": backend_versions(BACKENDS),
            "judge": self.judge.key,
        }

    def finish(self, candidate: ExportCandidate, path: Path) -> ModelMetadata:
        """Move a candidate's file to `path`, with everything that was found about it in its metadata."""
        settings = self.judge.settings
        found = candidate.verdict.record("" if settings is None else settings.note)
        metadata = self._metadata(candidate.model, candidate.plan.noting(**found))
        # The digest leaves out the metadata, so it may go in there afterwards.
        metadata = replace(metadata, digest=onnx_digest(candidate.file))
        _save(candidate.model, candidate.file, metadata)
        candidate.file.replace(path)
        return metadata

    def _write(self, plan: ExportPlan) -> tuple[Path, ir.Model, FusionResult]:
        model = convert(plan.graph, plan.options.precision, plan.layers)
        align_corners = self.source.net.config.align_corners
        fusion = finish_graph(model, plan.options, align_corners, fused_ops=bool(plan.folds))
        file = Path(tempfile.mkdtemp(dir=self.folder), self.path.name)
        _save(model, file, self._metadata(model, plan))
        return file, model, fusion

    def _metadata(self, model: ir.Model, plan: ExportPlan) -> ModelMetadata:
        layers = plan.layers
        ours = [node.op_type for node in model.graph if node.domain == "ce2p"]
        provenance: dict[str, Any] = {
            "fused_ops": {op: ours.count(op) for op in sorted(set(ours))},
            "kept": [group for group in plan.groups if group in layers.keep],
            **plan.provenance,
        }
        if layers.unrounded:
            provenance["unrounded"] = [group for group in plan.groups if group in layers.unrounded]
        return build_metadata(self.source, plan.options, plan.folds, provenance)


def _save(model: ir.Model, file: Path, metadata: ModelMetadata) -> None:
    model.metadata_props.clear()
    model.metadata_props[METADATA_KEY] = metadata.to_json()
    ir.save(model, file)
