"""The steps of an export, start to end: plan, write, judge, search, improve, and only then a file under its name."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from ce2p.errors import ConfigError
from ce2p_runtime.base.files import atomic_path
from ce2p_runtime.base.progress import Progress, without_progress
from ce2p_runtime.judge import GateError, GateOutcome, Proof
from ce2p_runtime.model_files.metadata import ModelMetadata
from ce2p_runtime.precisions import PRECISIONS

from .deploy import FoldReport
from .export_candidates import CandidateMaker, ExportCandidate
from .fusions import FusionResult
from .judging import ExportJudge, GateSettings, Verdict
from .onnx_graph import GraphOptions
from .plan import ExportPlan, plan_export
from .precision.calibration import too_large_for_half
from .precision.converters import Quantisation
from .proof_pictures import ProofError
from .proposals import improved, proposals
from .search import GroupHarm, Sensitivity, Trials, leave_one_out, search
from .source import SourceModel

MIN_SIDE = 33
"""Smallest input side in pixels: below it the coarsest feature map is a point or two, and pooling is meaningless."""
MAX_SIDE = 4096
"""Largest input side in pixels: the first layer's output alone is 1 GiB at 4096x4096. Beyond that a size is a slip."""


@dataclass(frozen=True)
class Exported:
    """A proven file and the account of how it came about."""

    path: Path
    metadata: ModelMetadata
    folds: tuple[FoldReport, ...]
    fusion: FusionResult
    proof: Proof | None
    """None for int8, whose logits are not those of float32; there the gate judges the labels."""
    gate: GateOutcome | None = None
    """None where no gate was asked for."""
    sensitivity: Sensitivity | None = None
    """How the groups that stay in higher precision were found; None where nothing was searched."""

    @property
    def kept(self) -> tuple[str, ...]:
        """Layer groups in higher precision, in the network's order."""
        return tuple(self.metadata.extra["kept"])


def default_path(source: SourceModel, options: GraphOptions) -> Path:
    """`<stem>_<precision>_<H>x<W>.onnx` beside the checkpoint (model names: in the working folder)."""
    height, width = options.size
    return source.folder / f"{source.stem}_{options.precision}_{height}x{width}.onnx"


def export_onnx(
    source: SourceModel,
    options: GraphOptions,
    path: Path,
    *,
    fold: bool = True,
    gate: GateSettings | None = None,
    quantisation: Quantisation | None = None,
    may_search: bool = True,
    progress: Progress = without_progress,
) -> Exported:
    """Write `source` as a proven ONNX file at `path`; `progress` is told each step.

    Nothing appears under `path` unless checker, proof and gate passed. int8 wants `quantisation`. With `may_search`,
    layers of a low-precision file that fails go back to higher precision, as few as the search finds (search.py).
    Raises ProofError, GateError, ConfigError, and CE2PError for weights that the precision asked for cannot hold.
    """
    _check(options, fold, quantisation)
    with atomic_path(path) as final:
        plan = plan_export(source, options, fold=fold, quantisation=quantisation, progress=progress)
        judge = ExportJudge.of(source, options, gate, progress)
        with tempfile.TemporaryDirectory(prefix=f".{path.stem}.", dir=path.parent) as folder:
            maker = CandidateMaker(source, judge, path, Path(folder), progress)
            candidate, sensitivity = _good_enough(plan, maker, may_search)
            candidate = improved(candidate, proposals(candidate.plan, quantisation, progress), maker.candidate)
            judge.paint_worst(candidate.verdict)
            metadata = maker.finish(candidate, final)
    fusion, found = candidate.fusion, candidate.verdict
    return Exported(path, metadata, plan.folds, fusion, proof=found.proof, gate=found.gate, sensitivity=sensitivity)


def check_size(size: tuple[int, int]) -> None:
    """Raise ConfigError for an input size (height, width) that no file is exported for."""
    if min(size) < MIN_SIDE:
        raise ConfigError(f"input size {size[0]}x{size[1]} is too small; at least {MIN_SIDE} pixels per side")
    if max(size) > MAX_SIDE:
        raise ConfigError(f"input size {size[0]}x{size[1]} is too large; at most {MAX_SIDE} pixels per side")


def _check(options: GraphOptions, fold: bool, quantisation: Quantisation | None) -> None:
    check_size(options.size)
    precision = PRECISIONS[options.precision]
    if precision.calibrated and quantisation is None:
        raise ConfigError(f"{options.precision} needs pictures to calibrate on, none were given")
    if quantisation is not None and not precision.calibrated:
        raise ConfigError(f"pictures to calibrate on were given, but {options.precision} is not calibrated; leave out")
    if precision.calibrated and not fold:
        raise ConfigError(f"{options.precision} wants BatchNorm inside the convolutions; leave --no-fold out")
    half = precision.half_for("cpu" if quantisation is None else quantisation.target)
    if options.io == "float16" and half != "float16":
        raise ConfigError(
            f"float16 inputs and outputs asked for, but the inside is {options.precision}; expected --precision fp16, "
            "or int8 with --target tensorrt"
        )


def _good_enough(
    plan: ExportPlan, maker: CandidateMaker, may_search: bool
) -> tuple[ExportCandidate, Sensitivity | None]:
    """A candidate that holds proof and gate, and how its kept groups were found. Raises ProofError and GateError."""
    precision = PRECISIONS[plan.options.precision]
    candidate = maker.candidate(plan)
    if candidate.verdict.failure and precision.half == "float16":
        too_large = too_large_for_half(plan.graph, [picture.image for picture in maker.judge.logits])
        wider = plan.keeping_nodes(too_large)
        if wider.layers != plan.layers:
            candidate = maker.candidate(wider)
    sensitivity = None
    if candidate.verdict.failure and not precision.exact:
        sensitivity = _searched(candidate, maker, may_search)
        candidate = maker.candidate(candidate.plan.keeping(sensitivity.keep))
    if candidate.verdict.failure:
        raise _refusal(candidate.verdict, maker, candidate.verdict.failure)
    return candidate, sensitivity


def _searched(candidate: ExportCandidate, maker: CandidateMaker, may_search: bool) -> Sensitivity:
    """The groups to keep. Raises GateError or ProofError where nothing is found, or the search is not wanted."""
    plan, backend = candidate.plan, _deciding_backend(candidate)
    trials = Trials(
        lambda keep: maker.trial(plan.keeping(keep), backend), maker.trial_key(plan, backend), always=plan.layers.keep
    )
    groups = list(plan.groups)
    found = search(groups, trials, maker.progress) if may_search else None
    if found is not None:
        return found
    free = [group for group in groups if group not in trials.always]
    harms = leave_one_out(free, trials, trials(()), maker.progress)
    worst = ", ".join(map(_harm_text, harms[:5]))
    cure = "no set of layers to keep was found: use --precision fp16" if may_search else "leave --no-search out"
    raise _refusal(candidate.verdict, maker, f"{candidate.verdict.failure}; the layers that cost most: {worst}; {cure}")


def _deciding_backend(candidate: ExportCandidate) -> str | None:
    """Where trials are judged: None for the copy with roundings, where there is one, else a backend."""
    gate = candidate.verdict.gate
    if candidate.plan.half or gate is None:
        return None
    # All of the named ones have to pass, so the furthest off decides; else one is enough, the nearest.
    used = {name: report.used for name, report in gate.reports.items() if name in (gate.required or gate.reports)}
    return (max if gate.required else min)(used, key=lambda name: used[name])


def _harm_text(entry: GroupHarm) -> str:
    agreement = entry.trial.figures.get("pixel_agreement")
    return entry.group if agreement is None else f"{entry.group} ({agreement:.2%} of the pixels agree without it)"


def _refusal(verdict: Verdict, maker: CandidateMaker, reason: str) -> ProofError | GateError:
    """The error for a file that is not good enough; what it would have done is painted first."""
    maker.judge.paint_worst(verdict)
    if verdict.proof is not None and not verdict.proof.passed:
        return ProofError(f"{maker.path}: not written, the export differs from the trained network: {reason}")
    return GateError(f"{maker.path}: not written, its labels are not those of the trained network: {reason}")
