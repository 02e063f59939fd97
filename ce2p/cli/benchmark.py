"""`ce2p benchmark`: the front door's benchmark with its tables, and the comparison of two results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ce2p.api.benchmark import Benchmarked, benchmark, check_report
from ce2p.benchmarking import comparison as comparing
from ce2p.benchmarking import report
from ce2p.benchmarking.comparison import GATE_PASSED, Change, Comparison
from ce2p.benchmarking.document import Result, read_result
from ce2p.errors import ConfigError
from ce2p_runtime.errors import CE2PRuntimeError

from .console import remark, say, step_bars, table, write_json
from .preflight import check_json


def run(
    models: Sequence[Path],
    *,
    output: Path | None = None,
    json: str | None = None,
    compare: Path | None = None,
    tolerance: float = 0.05,
    overwrite: bool = False,
    **options: Any,
) -> bool:
    """Measure, report, compare; False where the comparison found a regression.

    `models` may be one saved result, to be compared. `tolerance`: share by which times may differ before they count as
    changed. `options` are those of `ce2p.benchmark`. Raises what that raises and, after everything else is measured and
    reported, where a model or a backend that was named could not be measured at all.
    """
    saved = [model for model in models if model.suffix == ".json"]
    if saved and (len(models) > 1 or compare is None):
        raise ConfigError(
            f"{saved[0]}: a saved result is compared with one other: `ce2p benchmark NEW.json --compare OLD.json`"
        )
    if tolerance < 0:
        raise ConfigError(f"--tolerance {tolerance}: expected 0 or more, in per cent")
    inputs = [path for path in (*models, compare, options.get("reference"), options.get("source")) if path]
    check_json(json, inputs, overwrite)
    if output is not None:
        check_report(output, inputs, overwrite=overwrite)
    # Read before anything is measured: a bad file should not cost the minutes that measuring takes.
    old = read_result(compare) if compare else None
    unmet: tuple[CE2PRuntimeError, ...] = ()
    if saved:
        result = read_result(saved[0])
    else:
        made = _measured(models, options)
        result, unmet = made.result, made.unmet
        if output is not None:
            remark(f"report: {made.save(output, overwrite=True)}")  # whether it may be replaced is settled above
    comparison = comparing.compare(old, result, tolerance) if old else None
    document = result.to_dict() if comparison is None else {**result.to_dict(), "comparison": comparison.to_dict()}
    if json:
        write_json(document, json, "benchmark")
    if json != "-":
        if not saved:
            _show(result)
        if comparison:
            _show_comparison(comparison)
    for error in unmet[1:]:
        remark(f"also: {error}")
    if unmet:
        raise unmet[0]
    return not (comparison and comparison.regressions)


def _measured(models: Sequence[Path], options: dict[str, Any]) -> Benchmarked:
    with step_bars() as progress:
        return benchmark(models, progress=progress, **options)


def _show(result: Result) -> None:
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


def _show_comparison(comparison: Comparison) -> None:
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
