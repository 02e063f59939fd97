"""What `ce2p export` shows about a file it wrote: folds, proof, gate, sensitivity."""

from __future__ import annotations

from ce2p_export import Exported
from ce2p_export.deploy import FoldReport
from ce2p_export.search import Sensitivity, Trial
from ce2p_runtime.judge import GateOutcome, Proof

from .console import remark, say, table

SHOWN = 12
"""Rows of the sensitivity table; --json has all that were kept."""


def report(exported: Exported) -> None:
    """Everything, and what to do next."""
    if exported.folds:
        fold_table(exported.folds)
        fused = (
            "CE2PEdgeFusion inserted"
            if exported.fusion.count
            else f"CE2PEdgeFusion not inserted: {exported.fusion.reason}"
        )
        say(fused)
    if exported.proof is not None:
        proof_table(exported.proof)
    if exported.sensitivity is not None:
        sensitivity_table(exported.sensitivity)
    if exported.kept:
        say(f"kept in higher precision: {', '.join(exported.kept)}")
    if found := exported.metadata.extra.get("low_rank"):
        say(
            f"context convolution factorised: it reads {found['rank']} channels instead of {found['channels']}, "
            f"{found['operations']:.0%} of its operations; error {found['error']:.1%} on pictures left out"
        )
    if reason := exported.metadata.extra.get("no_low_rank"):
        say(f"context convolution not factorised: {reason}")
    if exported.gate is not None:
        gate_table(exported.gate)
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


def gate_table(outcome: GateOutcome) -> None:
    """The figures on every backend beside their limits, and what follows for who may run the file."""
    checks = {title: {check.what: check for check in report.checks} for title, report in outcome.titled.items()}
    figures = list(dict.fromkeys(what for own in checks.values() for what in own))
    rows = []
    for what in figures:
        found = [own.get(what) for own in checks.values()]
        bound = next(check.bound for check in found if check is not None)
        cells = ["" if check is None else check.shown + ("" if check.held else " !") for check in found]
        rows.append((what, bound, *cells))
    table("Gate: labels against the trained network's; ! is beyond the limit", ("figure", "limit", *checks), rows)
    for backend, reason in outcome.refused.items():
        remark(f"note: {backend} does not run this file: {reason}")
    for title, found_report in outcome.titled.items():
        if not found_report.passed:
            remark(f"note: the gate is not passed on {title}; `auto` will not choose it for this file")


def sensitivity_table(found: Sensitivity) -> None:
    """Which layers cost how much."""
    rows = [("(everything converted)", *_trial_cells(found.base), "")]
    for entry in found.groups[:SHOWN]:
        mark = "kept" if entry.group in found.keep else ""
        rows.append((f"{entry.group} kept by itself", *_trial_cells(entry.trial), mark))
    rows.append(("(the file)", *_trial_cells(found.final), ""))
    more = f", the {SHOWN} most harmful of {len(found.groups)} groups" if len(found.groups) > SHOWN else ""
    table(
        f"Sensitivity: 1.00 of the gate's allowance is the limit ({found.trials} trials{more})",
        ("layers", "allowance used", "same label", "boundary band", ""),
        rows,
    )


def _trial_cells(trial: Trial) -> tuple[str, str, str]:
    pixels, band = (trial.figures.get(name) for name in ("pixel_agreement", "boundary_agreement"))
    return f"{trial.harm:.2f}", "" if pixels is None else f"{pixels:.3%}", "" if band is None else f"{band:.3%}"
