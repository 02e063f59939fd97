"""What the terminal shows of a result and of a comparison."""

from __future__ import annotations

from ce2p.benchmarking import report
from ce2p.benchmarking.comparison import GATE_PASSED, Change, Comparison
from ce2p.benchmarking.document import Result

from .console import remark, say, table

__all__ = ["show", "show_comparison"]


def show(result: Result) -> None:
    """Conditions on standard error; tables, failures, what was not measured, method and noise on standard output."""
    for line in report.conditions(result):
        remark(line)
    table("Latency: milliseconds per frame at p50", *report.latency_table(result))
    if report.p99_note(result):
        say(report.p99_note(result))
    for title, found in (
        ("Throughput at p50", report.throughput_table(result)),
        ("Accuracy against the reference", report.accuracy_table(result)),
    ):
        if found:
            table(title, *found)
    for line in report.remarks(result):
        say(line)
    if result.skipped:
        table("Not measured", ("candidate", "why"), list(result.skipped.items()), numbers=False)
    for line in report.method(result):
        say(line)
    for text in result.warnings:
        say(f"NOISY: {text}", "bold")


def show_comparison(comparison: Comparison) -> None:
    """Every figure, old and new, with its verdict."""
    for text in comparison.differences:
        remark(f"differs: {text}")
    if comparison.differences:
        remark("so times are not comparable; labels are")
    for text in comparison.remarks:
        remark(f"note: {text}")
    table(
        f"Old and new, differences beyond {comparison.tolerance:.0%} of a time",
        ("candidate", "figure", "old", "new", "new / old", "verdict"),
        [
            (c.candidate, c.what, _figure(c, c.old), _figure(c, c.new), str(c.ratio or ""), c.verdict)
            for c in comparison.changes
        ],
    )
    regressions, improvements = comparison.regressions, [c for c in comparison.changes if c.verdict == "improvement"]
    say(f"{len(regressions)} regressions, {len(improvements)} improvements")


def _figure(change: Change, value: float | None) -> str:
    if value is None:
        return ""
    if change.what == GATE_PASSED:
        return "yes" if value else "no"
    return f"{value:.2f}" if change.ratio else report.share_text(value)
