"""What makes an int8 file for CPUs faster still: changes to its plan, each kept only where the judge finds no loss.

Groups that int8 spares by itself are converted: with results in 8 bits, or, where those lose too much, from 8-bit
products to float results. The context convolution is factorised to a lower rank. Every changed plan becomes a candidate
of its own, judged on every backend like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial

from ce2p_runtime.base.progress import Progress

from .export_candidates import ExportCandidate
from .plan import ExportPlan
from .precision.calibration import calibrate
from .precision.converters import Quantisation
from .precision.groups import HIGH_PRECISION
from .precision.low_rank import LowRankError, factorise
from .precision.ranges import activation_ranges

MAX_COST = 0.1
"""Share of the gate's allowance that one change may use up."""


@dataclass(frozen=True)
class Proposal:
    """A change that may be tried."""

    change: Callable[[ExportPlan], ExportPlan | str]
    """The changed plan, or why there is none."""
    reason_key: str = ""
    """Under which the metadata say why the change was not made; empty: they do not."""


def proposals(plan: ExportPlan, quantisation: Quantisation | None, progress: Progress) -> list[Proposal]:
    """What may be tried on top of `plan`, in this order; nothing unless it is int8 for CPUs."""
    if quantisation is None or plan.layers.target != "cpu":
        return []
    spared = sorted(plan.layers.keep.intersection(HIGH_PRECISION))
    found = [Proposal(partial(_converted, group, unrounded)) for group in spared for unrounded in (False, True)]
    if quantisation.low_rank:
        found.append(Proposal(partial(_factorised, quantisation, progress), "no_low_rank"))
    return found


def improved(
    candidate: ExportCandidate, changes: Sequence[Proposal], make: Callable[[ExportPlan], ExportCandidate]
) -> ExportCandidate:
    """`candidate` with every change that a trained network's labels do not miss; itself where nobody judges them."""
    for proposal in changes:
        if candidate.verdict.harm is None:
            return candidate
        changed = proposal.change(candidate.plan)
        if isinstance(changed, ExportPlan):
            other = make(changed)
            reason = _loss(other, candidate)
            (other if reason else candidate).file.unlink()  # hundreds of megabytes
            if reason is None:
                candidate = other
                continue
        else:
            reason = changed
        if proposal.reason_key:
            candidate = replace(candidate, plan=candidate.plan.noting(**{proposal.reason_key: reason}))
    return candidate


def _converted(group: str, unrounded: bool, plan: ExportPlan) -> ExportPlan | str:
    """With `group` in 8 bits, too; with `unrounded`, its products alone."""
    layers = plan.layers
    if group not in layers.keep:
        return "it is converted already"
    results = layers.unrounded | ({group} if unrounded else set())
    return replace(plan, layers=replace(layers, keep=layers.keep - {group}, unrounded=results))


def _factorised(quantisation: Quantisation, progress: Progress, plan: ExportPlan) -> ExportPlan | str:
    """With the context convolution as two of lower rank."""
    told = partial(progress, "factorising the context convolution")
    try:
        graph, tensor, record = factorise(plan.graph, quantisation.inputs, told)
    except LowRankError as reason:
        return str(reason)
    statistics, _ = calibrate(graph, [tensor], quantisation.inputs, partial(progress, "calibrating its new channels"))
    ranges = {**plan.layers.ranges, **activation_ranges(statistics, quantisation.method)}
    changed = replace(plan, graph=graph, layers=replace(plan.layers, ranges=ranges))
    return changed.noting(low_rank=asdict(record))


def _loss(other: ExportCandidate, candidate: ExportCandidate) -> str | None:
    """Why `other` is not taken; None where it passes wherever `candidate` does, and uses up hardly more."""
    found, before = other.verdict, candidate.verdict
    if found.failure is not None or found.harm is None or before.harm is None:
        return f"its labels do not pass the gate: {found.failure}"
    lost = sorted(set(before.passed_on) - set(found.passed_on))
    if lost:
        return f"its labels do not pass the gate on {', '.join(lost)}"
    if found.harm <= before.harm + MAX_COST:
        return None
    return f"it would use up {found.harm:.0%} of what the gate allows instead of {before.harm:.0%}"
