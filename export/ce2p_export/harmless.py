"""What makes an int8 file for CPUs faster still, each kept only where the gate finds it harmless.

Groups that int8 spares by itself are converted: with results in 8 bits, or, where those do harm, from 8-bit products to
float results. The context convolution is thinned. Every change is an attempt of its own, judged on every backend like
any other.
"""

from __future__ import annotations

from dataclasses import replace

from .attempts import Attempt, Candidates
from .precision import HIGH_PRECISION, Quantisation, ThinningError, activation_ranges, calibrate, thin

__all__ = ["HARMLESS", "with_harmless_changes"]

HARMLESS = 0.1
"""Share of the gate's allowance that one change may use up."""


def with_harmless_changes(candidates: Candidates, attempt: Attempt, quantisation: Quantisation | None) -> Attempt:
    """`attempt` with every change that a trained network's labels do not miss; `candidates` is left as it made that."""
    if candidates.options.precision != "int8" or candidates.plan.target != "cpu":
        return attempt
    for group in sorted(candidates.plan.keep & set(HIGH_PRECISION)):
        spared = attempt
        for unrounded in (False, True):
            if attempt is spared:
                attempt = _converted(candidates, attempt, group, unrounded)
    return attempt if quantisation is None or not quantisation.may_thin else _thinned(candidates, attempt, quantisation)


def _converted(candidates: Candidates, attempt: Attempt, group: str, unrounded: bool) -> Attempt:
    """With `group` in 8 bits, too; with `unrounded`, its products alone."""
    if attempt.harm is None:
        return attempt
    before = candidates.plan
    results = before.unrounded | ({group} if unrounded else set())
    candidates.plan = replace(before, keep=before.keep - {group}, unrounded=results)
    other = candidates.attempt(attempt.keep - {group})
    if _harmless(other, attempt):
        return other
    candidates.plan = before
    return attempt


def _thinned(candidates: Candidates, attempt: Attempt, quantisation: Quantisation) -> Attempt:
    """With the context convolution thinned."""
    if attempt.harm is None:
        return attempt
    before = candidates.pure, candidates.plan, candidates.provenance
    told = candidates.counting("thinning the context convolution")
    try:
        candidates.pure, tensor, record = thin(candidates.pure, quantisation.inputs, told)
    except ThinningError as reason:
        candidates.provenance = {**candidates.provenance, "not_thinned": str(reason)}
        return attempt
    statistics, _ = calibrate(candidates.pure, [tensor], quantisation.inputs, candidates.counting("calibrating it"))
    ranges = {**candidates.plan.ranges, **activation_ranges(statistics, quantisation.method)}
    candidates.plan = replace(candidates.plan, ranges=ranges)
    candidates.provenance = {**candidates.provenance, "thinned": record.to_dict()}
    other = candidates.attempt(attempt.keep)
    if _harmless(other, attempt):
        return other
    candidates.pure, candidates.plan, provenance = before
    candidates.provenance = {**provenance, "not_thinned": _harm_of(other, attempt)}
    return attempt


def _harm_of(other: Attempt, attempt: Attempt) -> str:
    """Why `other` is not taken, in words."""
    if other.failure is not None or other.harm is None or attempt.harm is None:
        return f"its labels do not pass the gate: {other.failure}"
    lost = sorted(set(attempt.passed_on) - set(other.passed_on))
    if lost:
        return f"its labels do not pass the gate on {', '.join(lost)}"
    return f"it would use up {other.harm:.0%} of what the gate allows instead of {attempt.harm:.0%}"


def _harmless(other: Attempt, attempt: Attempt) -> bool:
    """Whether `other` passes wherever `attempt` does, and uses up hardly more of the gate's allowance."""
    if other.failure is not None or other.harm is None or attempt.harm is None:
        return False
    return other.harm <= attempt.harm + HARMLESS and set(other.passed_on) >= set(attempt.passed_on)
