"""A result in words: the method, tables for the terminal, Markdown, and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ce2p_runtime.measuring.samples import FEWEST_FOR_P99
from ce2p_runtime.measuring.timing import Timing

from .candidates import COMPONENTS
from .document import Result, Row
from .rounds import IN_TURN, OVERLAPPED

Cells = tuple[str, ...]
Table = tuple[Cells, list[Cells]]
Column = tuple[str, Callable[[Row], str]]
"""A title, and what stands below it for a row."""
_OTHER_SHOWN = 0.01
"""`other` gets a column where it is a larger share of a frame."""
_SHARES = ("pixel_agreement", "boundary_agreement", "mean_iou")


def table_of(rows: Iterable[Row], *columns: Column) -> Table:
    """A line for each row."""
    return tuple(title for title, _ in columns), [tuple(cell(row) for _, cell in columns) for row in rows]


def method(result: Result) -> list[str]:
    """How it was measured, in a few lines."""
    gate = result.settings["gate"]
    checked = (
        f"Labels: the gate, {gate['count']} pictures ({gate['pictures']}) against {gate['reference']}, each candidate "
        "on the backend that was timed."
        if gate
        else "Labels: NOT compared (--no-gate), so no speed here says anything about a usable result."
    )
    return [
        rounds_line(result),
        "Stages: decode a frame, prepare = crop and normalise, network, labels = logits to labels of the frame's size, "
        "copy = to and from a GPU; frame = from decoded pixels to labels; whole = with decode. Not counted: loading, "
        "compiling, writing results.",
        "Ratios: median over paired rounds, 95 % bootstrap interval; one that spans 1 is no difference.",
        checked,
    ]


def rounds_line(result: Result) -> str:
    """How times were taken."""
    settings = result.settings
    return (
        f"Times: {settings['rounds']} rounds after {settings['warmup']} that do not count; each runs every candidate "
        f"once, in a new order, after {settings['rest_ms']:.0f} ms of rest. Milliseconds per frame; p50 is the median, "
        "p95 and p99 are nearest ranks."
    )


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


def _clocks(state: Mapping[str, Any]) -> str:
    medians = [state[when]["clocks"] for when in ("before", "after")]
    if None in medians:
        return "unknown"
    return f"{medians[0]['median']:.0f} MHz before and {medians[1]['median']:.0f} MHz after"


def latency_table(result: Result) -> Table:
    """Stages, percentiles, ratio and agreement of every candidate."""
    return table_of(
        result.rows,
        ("model", lambda row: f"{row.model}\n{_runs_on(row)}"),
        *[stage_column(stage) for stage in _shown_stages(result)],
        ("frame p50", lambda row: ms_text(row.timing)),
        ("p95", lambda row: f"{row.timing.p95_ms:.1f}"),
        ("p99" if _enough_for_p99(result) else "p99*", lambda row: f"{row.timing.p99_ms:.1f}"),
        stage_column("whole", "whole p50"),
        ("frame / first", lambda row: "\n".join((*str(result.ratio(row)).split(" ", 1), result.verdict(row)))),
        share_column("pixel_agreement", "pixels"),
        ("gate", gate_text),
    )


def _runs_on(row: Row) -> str:
    return f"{row.backend} on {row.device}" + (f", batch {row.batch}" if row.batch > 1 else "")


def remarks(result: Result) -> list[str]:
    """What is to be known of single candidates: why the gate failed or did not judge, and weights that mean nothing."""
    failures = [f"{row.name}: {text}" for row in result.rows for text in row.judgement.failures]
    notes = [f"{row.name}: {row.judgement.note}" for row in result.rows if row.judgement.note]
    untrained = list(dict.fromkeys(row.model for row in result.rows if row.untrained))
    meaningless = [
        f"{model}: its weights are untrained, so its labels, and the gate on them, mean nothing" for model in untrained
    ]
    return list(dict.fromkeys([*failures, *notes, *meaningless]))


def p99_note(result: Result) -> str:
    """The footnote of p99; empty where there are enough rounds."""
    rounds = len(result.rows[0].timing.samples)
    return "" if _enough_for_p99(result) else f"* of {rounds} rounds (fewer than {FEWEST_FOR_P99}) p99 is the slowest"


def throughput_table(result: Result) -> Table | None:
    """Frames per second over batch sizes, and of the stream; None where neither was measured."""
    sizes = sorted({size for row in result.rows for size in row.throughput})
    if not sizes and not any(row.stream for row in result.rows):
        return None
    return table_of(
        result.rows,
        ("frames/s", lambda row: row.name),
        *[(f"batch {size}", lambda row, size=size: _rate(row.throughput.get(size))) for size in sizes],
        ("stream", lambda row: _rate(row.stream.get(OVERLAPPED))),
        ("not overlapped", lambda row: _rate(row.stream.get(IN_TURN))),
        ("gate", gate_text),
    )


def accuracy_table(result: Result) -> Table | None:
    """The gate's figures; None without a gate."""
    if not result.settings["gate"]:
        return None
    return table_of(
        result.rows,
        ("gate", lambda row: row.name),
        ("precision", lambda row: row.precision),
        share_column("pixel_agreement", "pixels"),
        share_column("boundary_agreement", "boundary band"),
        share_column("mean_iou", "mean IoU"),
        share_column("truth_miou", "mIoU of truth"),
        ("worst picture", lambda row: str(row.judgement.figures.get("worst", ""))),
        ("verdict", gate_text),
    )


def csv_text(result: Result) -> str:
    """One line for each candidate and stage."""
    text = io.StringIO()
    named = ("candidate", "model", "backend", "device", "precision", "batch")
    times = ("p50_ms", "p95_ms", "p99_ms", "rounds", "p99_is_slowest")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((*named, "stage", *times, "gate", *_SHARES))
    for row in result.rows:
        shares = [row.judgement.share(name) for name in _SHARES]
        judged = (row.judgement.standing, *("" if share is None else f"{share:.6f}" for share in shares))
        for stage, timing in row.stages.items():
            rounds = len(timing.samples)
            figures = (f"{value:.4f}" for value in (timing.median_ms, timing.p95_ms, timing.p99_ms))
            about = (row.name, row.model, row.backend, row.device, row.precision, row.batch)
            writer.writerow((*about, stage, *figures, rounds, rounds < FEWEST_FOR_P99, *judged))
    return text.getvalue()


def markdown(
    result: Result,
    pictures: Sequence[str] = (),
    *,
    title: str = "ce2p benchmark",
    sections: Mapping[str, Table | None] | None = None,
    how: Sequence[str] | None = None,
) -> str:
    """The whole report. `pictures`: file names beside it; `sections`: tables by title, and `how`: the method, where
    they are not those of `ce2p benchmark`."""
    footnote = ""
    if sections is None:
        footnote = p99_note(result).replace("*", "\\*")
        sections = {
            "Latency, ms per frame": latency_table(result),
            "Throughput": throughput_table(result),
            "Accuracy": accuracy_table(result),
        }
    lines = [f"# {title}", "", *_list(conditions(result))]
    if result.warnings:
        lines += ["**This run was noisy:**", "", *_list(result.warnings)]
    for heading, table in sections.items():
        if table is not None:
            lines += [f"## {heading}", "", *_markdown_table(table), ""]
        if footnote:
            lines += [footnote, ""]
            footnote = ""
    skipped = [f"not measured: {name}: {reason}" for name, reason in result.skipped.items()]
    if told := [*remarks(result), *skipped]:
        lines += ["## Remarks", "", *_list(told)]
    for picture in pictures:
        lines += [f"![{picture}]({picture})", ""]
    files = dict.fromkeys(f"{row.name}: {row.file}, sha256 {row.sha256}" for row in result.rows)
    return "\n".join([*lines, "## Method", "", *_list(how or method(result)), "## Files", "", *_list(list(files))])


def _list(items: Sequence[str]) -> list[str]:
    return [*(f"- {item}" for item in items), ""]


def _markdown_table(table: Table) -> list[str]:
    columns, rows = table
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return lines + ["| " + " | ".join(cell.replace("\n", "<br>") for cell in row) + " |" for row in rows]


def _shown_stages(result: Result) -> list[str]:
    """Components that some candidate has; `other` where it matters."""
    there = {stage for row in result.rows for stage in row.stages}
    if all(row.stages["other"].median_ms < _OTHER_SHOWN * row.timing.median_ms for row in result.rows):
        there.discard("other")
    return [stage for stage in COMPONENTS if stage in there]


def _enough_for_p99(result: Result) -> bool:
    return len(result.rows[0].timing.samples) >= FEWEST_FOR_P99


def stage_column(stage: str, title: str = "") -> Column:
    """A stage's median; empty for rows that do not have it."""
    return title or stage, lambda row: ms_text(row.stages.get(stage))


def share_column(name: str, title: str) -> Column:
    """A share of the gate's."""
    return title, lambda row: share_text(row.judgement.share(name))


def ms_text(timing: Timing | None) -> str:
    """The median; empty for what was not measured."""
    return "" if timing is None else f"{timing.median_ms:.1f}"


def _rate(timing: Timing | None) -> str:
    return "" if timing is None else f"{1e3 / timing.median_ms:.1f}"


def share_text(share: float | None) -> str:
    """In per cent, cut off rather than rounded, so that nothing looks like 100 that is not."""
    return "" if share is None else f"{int(share * 1e5 + 1e-6) / 1e3:.3f} %"


def gate_text(row: Row) -> str:
    """What the gate says of a row, a failure in capitals."""
    return {"failed": "FAILED"}.get(row.judgement.standing, row.judgement.standing)
