"""Files of one network in one precision, with any choice of layer groups kept higher: written, proved, judged."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir

from ce2p.preprocessing import preprocessing_for
from ce2p_runtime.measuring.machine import versions
from ce2p_runtime.model_files.metadata import METADATA_KEY, ModelMetadata
from ce2p_runtime.model_files.onnx_file import onnx_digest

from .deploy import FoldReport
from .fusions import FusionResult
from .gating import ROUNDED, ExportGate, GateOutcome, trial_of
from .metadata import build_metadata
from .onnx_graph import GraphOptions, finish_graph
from .precision import PrecisionPlan, convert, layer_groups
from .proof import LIMITS, Proof, prove
from .sensitivity import HOPELESS, Trial
from .source import Source

__all__ = ["Attempt", "Candidates", "Progress"]

Progress = Callable[[str, int, int], None]
"""(what is being done, steps done, steps in all); 0 of 0 where there are no steps."""


@dataclass(frozen=True)
class Attempt:
    """A file that was written, and what was found about it."""

    model: ir.Model
    fusion: FusionResult
    keep: frozenset[str]
    """Groups that stayed in higher precision."""
    proof: Proof | None
    outcome: GateOutcome | None
    judged: bool
    """Whether the gate's verdict counts: it does not for untrained networks."""

    @property
    def failure(self) -> str | None:
        """Why this is not good enough, in one line, or None."""
        if self.proof is not None and self.proof.failure:
            return self.proof.failure
        if self.outcome is None or self.outcome.passed or not self.judged:
            return None
        report = self.outcome.decisive
        return "; ".join(self.outcome.refused.values()) if report is None else "; ".join(report.failures)

    @property
    def passed_on(self) -> tuple[str, ...]:
        """Backends that passed a gate whose verdict counts."""
        return self.outcome.passed_on if self.outcome is not None and self.judged else ()

    @property
    def harm(self) -> float | None:
        """The largest share of the gate's allowance that is used up on a backend that passed; None where none did."""
        if self.outcome is None:
            return None
        return max((trial_of(self.outcome.reports[name]).harm for name in self.passed_on), default=None)


class Candidates:
    """Turns choices of kept groups into files at `file`, one after the other.

    `pure`: the traced float32 graph, serialised. `plan`: what is the same in all of them; its `keep` is always kept.
    """

    def __init__(
        self,
        source: Source,
        options: GraphOptions,
        pure: bytes,
        plan: PrecisionPlan,
        file: Path,
        *,
        folds: tuple[FoldReport, ...],
        fused_ops: bool,
        gate: ExportGate | None,
        provenance: dict[str, Any],
        progress: Progress,
    ) -> None:
        self.source, self.options, self.pure, self.plan, self.file = source, options, pure, plan, file
        self.folds, self.gate, self.progress = folds, gate, progress
        self.preprocessing = preprocessing_for(source.net.config.family)
        self.groups = layer_groups(ir.from_proto(onnx.load_from_string(pure)).graph)
        self._fused_ops, self.provenance = fused_ops, provenance

    @property
    def judged(self) -> bool:
        """Whether there is a gate whose verdict counts."""
        return self.gate is not None and self.gate.settings.judged

    @property
    def half(self) -> bool:
        """Whether files hold half precision, whose roundings CPU backends leave out."""
        return self.options.precision in ("fp16", "bf16") or self.plan.target == "tensorrt"

    def attempt(self, keep: frozenset[str]) -> Attempt:
        """Write, check, prove and judge; nothing is raised for a bad outcome."""
        model, fusion = self._write(keep)
        onnx.checker.check_model(str(self.file), full_check=True)
        proof = outcome = None
        if self.options.precision in LIMITS:
            self.progress("proving", 0, 0)
            proof = prove(self.file, self.source.net, self.preprocessing, self.options)
        if self.gate is not None:
            outcome = self.gate.judge(self.file, half=self.half, progress=self.counting("judging labels"))
            self._paint_worst(outcome)
        return Attempt(model, fusion, keep | self.plan.keep, proof, outcome, self.judged)

    def trial(self, keep: frozenset[str], place: str) -> Trial:
        """The same as a trial of a search, judged at one place: a backend, or ROUNDED."""
        self._write(keep)
        trial = Trial(0.0, True, {})
        if self.gate is not None and self.judged:
            trial = trial_of(self.gate.judge(self.file, half=self.half, only=place).reports[place])
        if self.options.precision in LIMITS:
            trial = _with_proof(trial, prove(self.file, self.source.net, self.preprocessing, self.options))
        return trial

    def trial_key(self, place: str) -> dict[str, Any]:
        """Everything that decides about the outcome of a trial."""
        return {
            "format": 1,
            "graph": hashlib.sha256(self.pure).hexdigest(),
            "options": repr(self.options),
            "target": self.plan.target,
            "unrounded": sorted(self.plan.unrounded),
            "ranges": sorted(self.plan.ranges.items()),
            "place": place,
            "versions": versions("ce2p", "onnxruntime", "openvino"),
            "gate": [self.gate.fingerprint, repr(self.gate.settings.thresholds)] if self.gate and self.judged else [],
            "proof": repr(LIMITS),
        }

    def trial_place(self, outcome: GateOutcome | None) -> str:
        """Where trials are judged: with roundings where there are some, else where the first attempt decides."""
        if self.half or outcome is None:
            return ROUNDED
        harms = {name: trial_of(report).harm for name, report in outcome.reports.items()}
        named = {name: harm for name, harm in harms.items() if name in outcome.required}
        # All of the named ones have to pass, so the furthest off decides; else one is enough, the nearest.
        return max(named, key=lambda name: named[name]) if named else min(harms, key=lambda name: harms[name])

    def finish(self, attempt: Attempt) -> ModelMetadata:
        """Write an attempt once more, with everything that was found about it in its metadata."""
        found: dict[str, Any] = {}
        if attempt.proof is not None:
            found["parity"] = attempt.proof.to_dict()
        if attempt.outcome is not None and self.gate is not None:
            # The labels of an untrained network cannot decide where its file may run.
            name = "gate" if self.judged else "gate_not_judged"
            found[name] = {**attempt.outcome.to_dict(), "compared_on": self.gate.settings.note}
            self._paint_worst(attempt.outcome)  # the last one tried may have been another
        metadata = self._metadata(attempt.model, attempt.keep, found)
        _save(attempt.model, self.file, metadata)
        # The digest leaves out the metadata, so it may go in there afterwards.
        metadata = replace(metadata, digest=onnx_digest(self.file))
        _save(attempt.model, self.file, metadata)
        return metadata

    def _paint_worst(self, outcome: GateOutcome) -> None:
        path = self.gate.settings.worst_picture if self.gate is not None else None
        if path is not None and outcome.decisive is not None:
            outcome.decisive.paint_worst(path)

    def _write(self, keep: frozenset[str]) -> tuple[ir.Model, FusionResult]:
        model = convert(self.pure, replace(self.plan, keep=keep | self.plan.keep))
        align_corners = self.source.net.config.align_corners
        fusion = finish_graph(model, self.options, align_corners, fused_ops=self._fused_ops)
        _save(model, self.file, self._metadata(model, keep | self.plan.keep, {}))
        return model, fusion

    def _metadata(self, model: ir.Model, keep: frozenset[str], found: dict[str, Any]) -> ModelMetadata:
        kept = [group for group in self.groups if group in keep]
        unrounded = [group for group in self.groups if group in self.plan.unrounded - keep]
        provenance = {"fused_ops": _fused_ops(model), "kept": kept, **self.provenance, **found}
        if unrounded:
            provenance["unrounded"] = unrounded
        return build_metadata(self.source, self.preprocessing, self.options, self.folds, provenance)

    def counting(self, step: str) -> Callable[[int, int], None]:
        """What tells `progress` how far a step is."""
        return lambda done, total: self.progress(step, done, total)


def _with_proof(trial: Trial, proof: Proof) -> Trial:
    """A trial that must hold the proof, too."""
    worst, limits = proof.worst, proof.limits
    harms = [trial.harm, proof.max_relative_l2 / limits.relative_l2]
    harms.append((1 - worst.pixel_agreement) / (1 - limits.pixel_agreement))
    passed = trial.passed and proof.failure is None
    harm = min(max(harms), HOPELESS) if all(harm == harm for harm in harms) else HOPELESS
    if not passed and harm <= 1:
        harm = HOPELESS
    return Trial(harm, passed, {**trial.figures, "relative_l2": proof.max_relative_l2})


def _save(model: ir.Model, file: Path, metadata: ModelMetadata) -> None:
    model.metadata_props.clear()
    model.metadata_props[METADATA_KEY] = metadata.to_json()
    ir.save(model, file)


def _fused_ops(model: ir.Model) -> dict[str, int]:
    ours = [node.op_type for node in model.graph if node.domain == "ce2p"]
    return {op: ours.count(op) for op in sorted(set(ours))}
