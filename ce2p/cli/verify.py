"""`ce2p verify`: whether an exported file is as good as the model it came from, on the screen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ce2p.api.verify import verify
from ce2p_runtime.judge import Check, GateReport

from .console import say, step_bars, table, write_json
from .preflight import check_json, check_report

_WRITTEN = ("gate.json", "worst.png")
"""What goes into the folder of `-o`."""


def run(
    reference: Path,
    candidate: Path,
    *,
    output: Path | None = None,
    json: str | None = None,
    overwrite: bool = False,
    **options: Any,
) -> None:
    """Compare and report; `options` are those of `ce2p.verify`.

    Raises GateError where the gate is not passed, CE2PError.
    """
    files = [reference, candidate]
    check_report(output, _WRITTEN, files, overwrite)
    check_json(json, files, overwrite)
    with step_bars("pictures") as progress:
        verified = verify(reference, candidate, progress=progress, **options)
    if output is not None:
        write_json(verified.to_dict(), str(output / _WRITTEN[0]), "verify")
        verified.report.paint_worst(output / _WRITTEN[1])
    if json:
        write_json(verified.to_dict(), json, "verify")
    if json != "-":
        report_gate(verified.report, verified.compared_on)
        if output is not None:
            say(f"figures and the worst picture: {output}/")
    verified.require()


def report_gate(report: GateReport, note: str) -> None:
    """Print the figures beside their limits, then the classes. `note` says which pictures were compared."""
    say(f"reference: {report.reference}, {report.reference_backend}")
    say(f"candidate: {report.candidate}, {report.backend} on {report.device}")
    say(f"compared on {note}")
    table(
        f"Judged by {report.limits}", ("figure", "found", "limit", ""), [_check_row(check) for check in report.checks]
    )
    judged = frozenset(report.judged_classes)
    table(
        "Classes against the reference; those marked * hold too few of its pixels to be judged",
        ("class", "IoU %", "share of pixels %"),
        [
            (name if name in judged else f"{name} *", _percent(iou), _percent(report.class_share[name]))
            for name, iou in report.class_iou.items()
        ],
    )
    if report.truth_miou is not None and report.reference_truth_miou is not None:
        say(
            f"mIoU against the truth: {report.truth_miou:.4f}, the reference's {report.reference_truth_miou:.4f} "
            "(over the classes that occur in it)"
        )
    worst = report.worst
    say(f"worst picture: {worst.name}, {_percent(worst.agreement)} % of its pixels agree")
    for text in report.remarks:
        say(f"note: {text}")
    say("passed" if report.passed else "not passed", style="bold")


def _check_row(check: Check) -> tuple[str, str, str, str]:
    place = f" ({check.where})" if check.where else ""
    return f"{check.what}{place}", check.shown, check.bound, "held" if check.held else "FAILED"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.2f}"
