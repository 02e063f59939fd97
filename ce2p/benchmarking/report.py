"""A result in words: the method, tables for the terminal, Markdown, and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from ce2p_runtime.measuring.samples import FEWEST_FOR_P99
from ce2p_runtime.measuring.timing import Timing

from .candidates import COMPONENTS
from .document import Result, Row
from .throughput import IN_TURN, OVERLAPPED

__all__ = [
    "accuracy_table",
    "conditions",
    "csv_text",
    "latency_table",
    "machine_line",
    "markdown",
    "method",
    "p99_note",
    "remarks",
    "share_text",
    "throughput_table",
]

Cells = tuple[str, ...]
Table = tuple[Cells, list[Cells]]
_OTHER_SHOWN = 0.01
"""`other` gets a column where it is a larger share of a frame."""


def method(result: Result) -> list[str]:
    """How it was measured, in a few lines."""
    settings, gate = result.settings, result.settings["gate"]
    checked = (
        f"Labels: the gate, {gate['count']} pictures ({gate['pictures']}) against {gate['reference']}, each candidate "
        "on the backend that was timed."
        if gate
        else "Labels: NOT compared (--no-gate), so no speed here says anything about a usable result."
    )
    return [
        f"Times: {settings['rounds']} rounds after {settings['warmup']} that do not count; each runs every candidate "
        f"once, in a new order, after {settings['rest_ms']:.0f} ms of rest. Milliseconds per frame; p50 is the median, "
        "p95 and p99 are nearest ranks.",
        "Stages: decode a frame, prepare = crop and normalise, network, labels = logits to labels of the frame's size, "
        "copy = to and from a GPU; frame = from decoded pixels to labels; whole = with decode. Not counted: loading, "
        "compiling, writing results.",
        "Ratios: median over paired rounds, 95 % bootstrap interval; one that spans 1 is no difference.",
        checked,
    ]


def machine_line(result: Result) -> str:
    """The machine in one line."""
    machine, threads = result.machine, result.settings["threads"]
    gpus = "".join(f", {gpu['name']} (driver {gpu['driver']})" for gpu in machine["gpus"])
    return f"{machine['cpu']}, {machine['cores']} cores, threads {threads}{gpus}"


def conditions(result: Result) -> list[str]:
    """What the figures depend on, in a few lines."""
    machine, settings = result.machine, result.settings
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    commit = "not from a checkout"
    if result.source:
        commit = f"commit {result.source['commit'][:12]}{' with changes' if result.source['dirty'] else ''}"
    return [
        machine_line(result),
        f"{machine['system']}, kernel {machine['kernel']}, Python {machine['python']}, "
        f"memory {machine['memory_gib']} GiB, governor {machine['governor'] or 'unknown'}, "
        f"clocks {_clocks(result.state)}",
        f"{versions}; {commit}",
        f"{settings['footage']}; {result.date}",
    ]


def _clocks(state: dict[str, Any]) -> str:
    medians = [state[when]["clocks"] for when in ("before", "after")]
    if None in medians:
        return "unknown"
    return f"{medians[0]['median']:.0f} MHz before and {medians[1]['median']:.0f} MHz after"


def latency_table(result: Result) -> Table:
    """Stages, percentiles, ratio and agreement of every candidate."""
    stages = _shown_stages(result)
    mark = "" if _enough_for_p99(result) else "*"
    columns = ("model", *stages, "frame p50", "p95", f"p99{mark}", "whole p50", "frame / first", "pixels", "gate")
    rows = []
    for row in result.rows:
        frame = row.stages["frame"]
        batch = f", batch {row.batch}" if row.batch > 1 else ""
        rows.append(
            (
                f"{row.model}\n{row.backend} on {row.device}{batch}",
                *(_ms(row.stages.get(stage)) for stage in stages),
                _ms(frame),
                f"{frame.p95_ms:.1f}",
                f"{frame.p99_ms:.1f}",
                _ms(row.stages["whole"]),
                "\n".join((*str(result.ratio(row)).split(" ", 1), result.verdict(row))),
                share_text(row.judgement.share("pixel_agreement")),
                _gate(row),
            )
        )
    return columns, rows


def remarks(result: Result) -> list[str]:
    """What is to be known of single candidates: why the gate failed or did not judge, and weights that mean nothing."""
    failures = [f"{row.name}: {text}" for row in result.rows for text in row.judgement.failures]
    notes = [f"{row.name}: {row.judgement.note}" for row in result.rows if row.judgement.note]
    untrained = list(dict.fromkeys(row.model for row in result.rows if row.untrained))
    meaningless = [
        f"{model}: its weights are untrained, so its labels, and the gate on them, mean nothing" for model in untrained
    ]
    return [*failures, *notes, *meaningless]


def p99_note(result: Result) -> str:
    """The footnote of p99; empty where there are enough rounds."""
    rounds = len(result.rows[0].stages["frame"].samples)
    return "" if _enough_for_p99(result) else f"* of {rounds} rounds (fewer than {FEWEST_FOR_P99}) p99 is the slowest"


def throughput_table(result: Result) -> Table | None:
    """Frames per second over batch sizes, and of the stream; None where neither was measured."""
    sizes = sorted({size for row in result.rows for size in row.throughput})
    if not sizes and not any(row.stream for row in result.rows):
        return None
    columns = ("frames/s", *(f"batch {size}" for size in sizes), "stream", "not overlapped", "gate")
    rows = []
    for row in result.rows:
        rates = [_rate(row.throughput.get(size)) for size in sizes]
        stream = [_rate(row.stream.get(way)) for way in (OVERLAPPED, IN_TURN)]
        rows.append((row.name, *rates, *stream, _gate(row)))
    return columns, rows


def accuracy_table(result: Result) -> Table | None:
    """The gate's figures; None without a gate."""
    if not result.settings["gate"]:
        return None
    names = ("pixel_agreement", "boundary_agreement", "mean_iou", "truth_miou")
    columns = ("gate", "precision", "pixels", "boundary band", "mean IoU", "mIoU of truth", "worst picture", "verdict")
    rows = [
        (
            row.name,
            row.precision,
            *(share_text(row.judgement.share(name)) for name in names),
            str(row.judgement.figures.get("worst", "")),
            _gate(row),
        )
        for row in result.rows
    ]
    return columns, rows


def csv_text(result: Result) -> str:
    """One line for each candidate and stage."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        (
            "candidate",
            "model",
            "backend",
            "device",
            "precision",
            "batch",
            "stage",
            "p50_ms",
            "p95_ms",
            "p99_ms",
            "rounds",
            "p99_is_slowest",
            "gate",
            "pixel_agreement",
            "boundary_agreement",
            "mean_iou",
        )
    )
    for row in result.rows:
        shares = [row.judgement.share(name) for name in ("pixel_agreement", "boundary_agreement", "mean_iou")]
        for stage, timing in row.stages.items():
            rounds = len(timing.samples)
            writer.writerow(
                (
                    row.name,
                    row.model,
                    row.backend,
                    row.device,
                    row.precision,
                    row.batch,
                    stage,
                    *(f"{value:.4f}" for value in (timing.median_ms, timing.p95_ms, timing.p99_ms)),
                    rounds,
                    rounds < FEWEST_FOR_P99,
                    row.judgement.standing,
                    *("" if share is None else f"{share:.6f}" for share in shares),
                )
            )
    return text.getvalue()


def markdown(result: Result, pictures: Sequence[str] = ()) -> str:
    """The whole report. `pictures`: file names beside it."""
    lines = ["# ce2p benchmark", "", *(f"- {line}" for line in conditions(result)), ""]
    if result.warnings:
        lines += ["**This run was noisy:**", "", *(f"- {text}" for text in result.warnings), ""]
    lines += ["## Latency, ms per frame", "", *_markdown_table(latency_table(result)), ""]
    if p99_note(result):
        lines += [p99_note(result).replace("*", "\\*"), ""]
    for title, table in (("Throughput", throughput_table(result)), ("Accuracy", accuracy_table(result))):
        if table is not None:
            lines += [f"## {title}", "", *_markdown_table(table), ""]
    skipped = [f"not measured: {name}: {reason}" for name, reason in result.skipped.items()]
    if told := [*remarks(result), *skipped]:
        lines += ["## Remarks", "", *(f"- {line}" for line in told), ""]
    for picture in pictures:
        lines += [f"![{picture}]({picture})", ""]
    lines += ["## Method", "", *(f"- {line}" for line in method(result)), ""]
    lines += ["## Files", "", *(f"- {row.name}: {row.file}, sha256 {row.sha256}" for row in result.rows), ""]
    return "\n".join(lines)


def _markdown_table(table: Table) -> list[str]:
    columns, rows = table
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return lines + ["| " + " | ".join(cell.replace("\n", "<br>") for cell in row) + " |" for row in rows]


def _shown_stages(result: Result) -> list[str]:
    """Components that some candidate has; `other` where it matters."""
    there = {stage for row in result.rows for stage in row.stages}
    if all(row.stages["other"].median_ms < _OTHER_SHOWN * row.stages["frame"].median_ms for row in result.rows):
        there.discard("other")
    return [stage for stage in COMPONENTS if stage in there]


def _enough_for_p99(result: Result) -> bool:
    return len(result.rows[0].stages["frame"].samples) >= FEWEST_FOR_P99


def _ms(timing: Timing | None) -> str:
    return "" if timing is None else f"{timing.median_ms:.1f}"


def _rate(timing: Timing | None) -> str:
    return "" if timing is None else f"{1e3 / timing.median_ms:.1f}"


def share_text(share: float | None) -> str:
    """In per cent, cut off rather than rounded, so that nothing looks like 100 that is not."""
    return "" if share is None else f"{int(share * 1e5 + 1e-6) / 1e3:.3f} %"


def _gate(row: Row) -> str:
    return {"failed": "FAILED"}.get(row.judgement.standing, row.judgement.standing)
