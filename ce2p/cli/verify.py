"""`ce2p verify`: whether an exported file is as good as the model it came from. Only checkpoints need torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ce2p_runtime import HumanParser
from ce2p_runtime.gate import Check, GateReport, Reference, judge, thresholds_for

from .console import progress_bar, remark, say, table, write_json
from .gate_pictures import GATE_PICTURES, choose_pictures
from .preflight import check_json, check_pictures, check_report
from .reference import check_reference, open_reference

__all__ = ["VerifyRequest", "report_gate", "run"]

_WRITTEN = ("gate.json", "worst.png")
"""What goes into the folder of `-o`."""


@dataclass(frozen=True)
class VerifyRequest:
    """The command's options."""

    reference: Path
    candidate: Path
    data: Path | None = None
    limit: int = GATE_PICTURES
    backend: str = "auto"
    """Of the candidate, as is `device`; the reference runs where it is exact."""
    device: str = "auto"
    threads: int | None = None
    precision: str | None = None
    """Judge by this precision's limits. None: the candidate's own."""
    dataset: str | None = None
    stride: int | None = None
    """Output stride, for checkpoints that do not tell, as is `dataset`."""
    output: Path | None = None
    json: str | None = None
    trust_engine: bool = False
    overwrite: bool = False


def run(request: VerifyRequest) -> None:
    """Compare and report. Raises GateError where the gate is not passed, CE2PError."""
    limits = thresholds_for(request.precision) if request.precision else None
    _check(request)
    with HumanParser(
        request.candidate, backend=request.backend, device=request.device, threads=request.threads,
        trust_engine=request.trust_engine,
    ) as candidate:  # fmt: skip
        reference, note = _reference(request, candidate)
        remark(f"candidate: {candidate}")
        with _progress("candidate") as advance:
            report = judge(reference, candidate, limits, advance)
    if request.output is not None:
        write_json(_document(report, note), str(request.output / _WRITTEN[0]), "verify")
        report.paint_worst(request.output / _WRITTEN[1])
    if request.json:
        write_json(_document(report, note), request.json, "verify")
    if request.json != "-":
        report_gate(report, note)
        if request.output is not None:
            say(f"figures and the worst picture: {request.output}/")
    report.require()


def _check(request: VerifyRequest) -> None:
    """Raise what would otherwise be raised after the networks were opened or have run."""
    files = [request.reference, request.candidate]
    check_report(request.output, _WRITTEN, files, request.overwrite)
    check_json(request.json, files, request.overwrite)
    check_pictures(request.data)
    check_reference(request.reference, dataset=request.dataset, stride=request.stride)


def report_gate(report: GateReport, note: str) -> None:
    """Print the figures beside their limits, then the classes. `note` says which pictures were compared."""
    say(f"reference: {report.reference}, {report.reference_backend}")
    say(f"candidate: {report.candidate}, {report.backend} on {report.device}")
    say(f"compared on {note}")
    table(
        f"Judged by {report.limits}",
        ("figure", "found", "limit", ""),
        [_check_row(check) for check in report.checks],
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


def _reference(request: VerifyRequest, candidate: HumanParser) -> tuple[Reference, str]:
    """The reference's labels, and which pictures they are of. The network is closed again."""
    with open_reference(
        request.reference, candidate.metadata.input_size, dataset=request.dataset, stride=request.stride,
        threads=request.threads, trust_engine=request.trust_engine,
    ) as parser:  # fmt: skip
        remark(f"reference: {parser}")
        if parser.metadata.untrained:
            remark("note: these weights are untrained: where labels mean nothing, agreement says little")
        pictures, note = choose_pictures(request.data, parser.metadata, request.limit)
        with _progress("reference") as advance:
            return Reference.of(parser, pictures, progress=advance, candidate=candidate.metadata), note


def _check_row(check: Check) -> tuple[str, str, str, str]:
    place = f" ({check.where})" if check.where else ""
    return f"{check.what}{place}", check.shown, check.bound, "held" if check.held else "FAILED"


def _document(report: GateReport, note: str) -> dict[str, Any]:
    return {**report.to_dict(), "compared_on": note}


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.2f}"


@contextmanager
def _progress(title: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar as a function of (done, total)."""
    with progress_bar("pictures") as progress:
        task = progress.add_task(title, total=None, note="")
        yield lambda done, total: progress.update(task, completed=done, total=total)
