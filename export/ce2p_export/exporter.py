"""Export, start to end: fold, trace, convert, check, prove, judge, and only then a file under its final name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx_ir as ir

from ce2p.errors import ConfigError
from ce2p.preprocessing import preprocessing_for
from ce2p_runtime.base.files import atomic_path
from ce2p_runtime.gate import GateError
from ce2p_runtime.model_files.metadata import ModelMetadata

from .attempts import Attempt, Candidates, Progress
from .deploy import FoldReport, deploy
from .fusions import FusionResult
from .gating import ExportGate, GateOutcome, GateSettings
from .harmless import with_harmless_changes
from .onnx_graph import GraphOptions, trace_graph
from .precision import (
    TARGETS,
    PrecisionPlan,
    Quantisation,
    activation_ranges,
    calibrate,
    chain_sums,
    high_precision_groups,
    tensors_to_calibrate,
    too_large_for_half,
    unfit_weights,
)
from .proof import Proof, ProofError, proof_inputs
from .sensitivity import GroupHarm, Sensitivity, Trials, leave_one_out, search
from .source import Source

__all__ = ["Exported", "Progress", "check_size", "default_path", "export_onnx"]

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
    gate: GateSettings | None = None,
    quantisation: Quantisation | None = None,
    may_search: bool = True,
    progress: Progress = lambda step, done, total: None,
) -> Exported:
    """Write `source` as a proven ONNX file at `path`; `progress` is told each step.

    Nothing appears under `path` unless checker, proof and gate passed. int8 wants `quantisation`. With `may_search`,
    layers of a low-precision file that fails go back to higher precision, as few as the search finds (sensitivity.py).
    Raises ProofError, GateError, ConfigError, and CE2PError for weights that the precision asked for cannot hold.
    """
    _check(options, fold, quantisation)
    with atomic_path(path) as temporary:
        candidates = _candidates(source, options, temporary, fold, gate, quantisation, progress)
        attempt, sensitivity = _good_enough(candidates, path, may_search)
        attempt = with_harmless_changes(candidates, attempt, quantisation)
        metadata = candidates.finish(attempt)
    return Exported(path, metadata, candidates.folds, attempt.fusion, attempt.proof, attempt.outcome, sensitivity)


def check_size(size: tuple[int, int]) -> None:
    """Raise ConfigError for an input size (height, width) that no file is exported for."""
    if min(size) < MIN_SIDE:
        raise ConfigError(f"input size {size[0]}x{size[1]} is too small; at least {MIN_SIDE} pixels per side")
    if max(size) > MAX_SIDE:
        raise ConfigError(f"input size {size[0]}x{size[1]} is too large; at most {MAX_SIDE} pixels per side")


def _check(options: GraphOptions, fold: bool, quantisation: Quantisation | None) -> None:
    check_size(options.size)
    half = options.precision == "fp16" or (quantisation is not None and quantisation.target == "tensorrt")
    if options.io == "float16" and not half:
        raise ConfigError(
            f"float16 inputs and outputs asked for, but the inside is {options.precision}; expected --precision fp16, "
            "or int8 with --target tensorrt"
        )
    if options.precision == "int8" and quantisation is None:
        raise ConfigError("int8 needs pictures to calibrate on, none were given")
    if options.precision == "int8" and not fold:
        raise ConfigError("int8 wants BatchNorm inside the convolutions; leave --no-fold out")


def _candidates(
    source: Source,
    options: GraphOptions,
    file: Path,
    fold: bool,
    gate: GateSettings | None,
    quantisation: Quantisation | None,
    progress: Progress,
) -> Candidates:
    """The traced network, with what is settled before the first attempt."""
    net = source.net
    folds: tuple[FoldReport, ...] = ()
    if fold:
        progress("folding", 0, 0)
        deployed = deploy(net, options.size, keep_edge=options.edge)
        net, folds = deployed.net, deployed.folds
    progress("tracing", 0, 0)
    traced = trace_graph(net, preprocessing_for(net.config.family), options)
    if quantisation is not None and options.precision == "int8" and TARGETS[quantisation.target].chained_sums:
        chain_sums(traced.graph)
    tensors = tensors_to_calibrate(traced.graph)
    pure = ir.to_proto(traced).SerializeToString()
    plan = PrecisionPlan(options.precision)
    provenance: dict[str, Any] = {}
    if quantisation is not None and options.precision == "int8":
        statistics, _ = calibrate(pure, tensors, quantisation.inputs, lambda d, t: progress("calibrating", d, t))
        ranges = activation_ranges(statistics, quantisation.method)
        plan = PrecisionPlan("int8", high_precision_groups(traced.graph), quantisation.target, ranges)
        provenance["quantisation"] = {
            "target": plan.target,
            "method": quantisation.method,
            "calibrated_on": quantisation.note,
        }
    judge = None
    if gate is not None:
        judge = ExportGate.of(source, options, gate, lambda d, t: progress("reference labels", d, t))
    candidates = Candidates(
        source,
        options,
        pure,
        plan,
        file,
        folds=folds,
        fused_ops=fold,
        gate=judge,
        provenance=provenance,
        progress=progress,
    )
    if options.precision == "fp16":
        _keep_too(candidates, unfit_weights(traced.graph))
    return candidates


def _good_enough(candidates: Candidates, path: Path, may_search: bool) -> tuple[Attempt, Sensitivity | None]:
    """An attempt that holds proof and gate, and how its kept groups were found. Raises ProofError and GateError."""
    attempt = candidates.attempt(frozenset())
    if attempt.failure and candidates.options.precision == "fp16":
        inputs = list(proof_inputs(candidates.preprocessing, candidates.options))
        if _keep_too(candidates, too_large_for_half(candidates.pure, inputs)):
            attempt = candidates.attempt(frozenset())
    sensitivity = None
    if attempt.failure and candidates.options.precision != "fp32":
        sensitivity = _searched(candidates, attempt, path, may_search)
        attempt = candidates.attempt(frozenset(sensitivity.keep))
    if attempt.failure:
        raise _error(attempt, path, attempt.failure)
    return attempt, sensitivity


def _keep_too(candidates: Candidates, nodes: Iterable[str]) -> bool:
    """Keep the groups of these nodes in every attempt from now on; whether that changes anything."""
    wanted = set(nodes)
    keep = candidates.plan.keep | {group for group, members in candidates.groups.items() if wanted & set(members)}
    changed = keep != candidates.plan.keep
    candidates.plan = replace(candidates.plan, keep=keep)
    return changed


def _searched(candidates: Candidates, attempt: Attempt, path: Path, may_search: bool) -> Sensitivity:
    """The groups to keep. Raises GateError or ProofError where nothing is found, or the search is not wanted."""
    place = candidates.trial_place(attempt.outcome)
    trials = Trials(
        lambda keep: candidates.trial(keep, place), candidates.trial_key(place), always=candidates.plan.keep
    )
    groups = list(candidates.groups)
    found = search(groups, trials, candidates.progress) if may_search else None
    if found is not None:
        return found
    free = [group for group in groups if group not in trials.always]
    harms = leave_one_out(free, trials, trials(()), candidates.progress)
    worst = ", ".join(map(_harm_text, harms[:5]))
    cure = "no set of layers to keep was found: use --precision fp16" if may_search else "leave --no-search out"
    raise _error(attempt, path, f"{attempt.failure}; the layers that cost most: {worst}; {cure}")


def _harm_text(entry: GroupHarm) -> str:
    agreement = entry.trial.figures.get("pixel_agreement")
    return entry.group if agreement is None else f"{entry.group} ({agreement:.2%} of the pixels agree without it)"


def _error(attempt: Attempt, path: Path, reason: str) -> ProofError | GateError:
    if attempt.proof is not None and attempt.proof.failure:
        return ProofError(f"{path}: not written, the export differs from the trained network: {reason}")
    return GateError(f"{path}: not written, its labels are not those of the trained network: {reason}")
