"""The headline result for people: headline.json, the tables in headline.md, the plots."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.ceilings import Ceilings, Reached
from benchmarks.headline_plot import draw_headline
from benchmarks.roofline import Placed, ceiling_lines, plot_roofline
from benchmarks.workload import Workload
from ce2p.api.documents import json_text, write_text
from ce2p.benchmarking.document import Result, Row
from ce2p.benchmarking.plots import drawn_if_possible
from ce2p.benchmarking.report import (
    Column,
    Table,
    gate_text,
    markdown,
    ms_text,
    rounds_line,
    share_column,
    share_text,
    stage_column,
    table_of,
)
from ce2p_runtime.measuring.samples import Ratio


def write_report(result: Result, folder: Path) -> list[Path]:
    """Write everything, plots where matplotlib is installed; the files written."""
    text, tables = folder / "headline.json", folder / "headline.md"
    plots = drawn_if_possible(lambda: draw_headline(result, folder / "headline"))
    if plots and result.facts["reached"]:
        placed = [_placed(result, row) for row in result.rows if row.scope == "network"]
        plots += plot_roofline(placed, _ceilings(result), result.machine["cpu"], folder / "roofline.png")
    write_text(text, json_text(result.to_dict(), "benchmark"))
    write_text(tables, headline_markdown(result, [path.name for path in plots if path.suffix == ".png"]))
    return [text, tables, *plots]


def headline_markdown(result: Result, pictures: Sequence[str] = ()) -> str:
    """The whole report."""
    height, width = result.settings["input_size"]
    reached = [Reached(**found) for found in result.facts["reached"]]
    sections: dict[str, Table | None] = {
        "Ratios": (("", "ratio [95 % interval]"), _ratios(result)),
        "The network alone": _networks(result),
        "A whole frame": _frames(result),
        "Measured ceilings": (("resource", "best", "reached by"), [*ceiling_lines(reached)]) if reached else None,
    }
    title = f"{result.settings['network']} at {height}x{width}, batch 1"
    return markdown(result, pictures, title=title, sections=sections, how=_method(result))


def _ceilings(result: Result) -> Ceilings:
    return Ceilings(**result.facts["ceilings"])


def _placed(result: Result, row: Row) -> Placed:
    workload = Workload(**row.facts["workload"])
    return Placed.of(row.name, workload, row.facts["floats"], row.timing.median_ms, _ceilings(result))


def _ratios(result: Result) -> list[tuple[str, ...]]:
    """In words -> ratio, of the fastest of each kind of ours that passes the gate; a share is a plain number."""
    found: dict[str, str] = {}
    networks = [row for row in result.rows if row.scope == "network"]
    frames = {row.name: row for row in result.rows if row.scope == "frame"}
    naive = result.first("network")
    for kind in dict.fromkeys(row.facts["kind"] for row in networks if row.facts["ours"]):
        alike = [row for row in networks if row.facts["kind"] == kind and row.judgement.standing != "failed"]
        best = min(alike, key=lambda row: row.timing.median_ms, default=None)
        if best is None:
            continue
        rivals = [row for row in networks if not row.facts["ours"] and row.precision == best.precision]
        for rival in rivals if naive in rivals else [naive, *rivals]:
            found[f"network: {best.name} / {rival.name}"] = _text(result.ratio(best, to=rival))
        share = _placed(result, best).share
        if share is not None:
            found[f"network: {best.name}, share of the measured peak"] = f"{share:.1%}"
        frame = frames[best.name]
        for baseline in _baselines(result):
            found[f"frame: {best.name} / {baseline.name}"] = _text(result.ratio(frame, to=baseline))
            found[f"frame with PNG: {best.name} / {baseline.name}"] = _text(result.ratio(frame, "whole", baseline))
        found[f"frame: {best.name}, share of prepare and labels"] = f"{_around(frame):.1%}"
    return list(found.items())


def _baselines(result: Result) -> list[Row]:
    """The baseline pipelines."""
    return [row for row in result.rows if row.scope == "frame" and not row.facts["ours"]]


def _around(row: Row) -> float:
    """Median share of a frame's time that is not the network's."""
    samples = zip(*(row.stages[stage].samples for stage in ("prepare", "labels", "frame")), strict=True)
    return float(np.median([(prepare + labels) / frame for prepare, labels, frame in samples]))


def _networks(result: Result) -> Table:
    def placed(show: Callable[[Placed], str]) -> Callable[[Row], str]:
        return lambda row: show(_placed(result, row))

    return table_of(
        [row for row in result.rows if row.scope == "network"],
        ("network", _name),
        ("products in", placed(lambda one: " + ".join(one.work.by_arithmetic(one.floats)))),
        ("GFLOP", placed(lambda one: f"{one.work.flops / 1e9:.1f}")),
        ("p50 ms", lambda row: ms_text(row.timing)),
        ("p95 ms", lambda row: f"{row.timing.p95_ms:.1f}"),
        ("/ naive ONNX Runtime", lambda row: _text(result.ratio(row))),
        ("of peak", placed(lambda one: "" if one.share is None else f"{100 * one.share:.0f} %")),
        share_column("pixel_agreement", "same pixels"),
        share_column("boundary_agreement", "boundary band"),
        share_column("truth_miou", "mIoU"),
        ("gate", gate_text),
    )


def _frames(result: Result) -> Table:
    height, width = result.settings["frame"]
    over: list[Column] = [
        (f"/ {baseline.name}", lambda row, to=baseline: _text(result.ratio(row, to=to)))  # type: ignore[misc]
        for baseline in _baselines(result)
    ]
    return table_of(
        [row for row in result.rows if row.scope == "frame"],
        (f"{height}x{width} to labels", _name),
        *[stage_column(stage) for stage in ("prepare", "network", "labels")],
        stage_column("frame", "frame p50 ms"),
        ("p95 ms", lambda row: f"{row.timing.p95_ms:.1f}"),
        *over,
        ("prepare + labels", lambda row: f"{100 * _around(row):.1f} %"),
        stage_column("png", "PNG"),
        stage_column("whole", "with PNG"),
        ("same labels", lambda row: share_text(row.facts["agreement_with_pytorch"])),
    )


def _name(row: Row) -> str:
    return f"**{row.name}**" if row.facts["ours"] else row.name


def _text(ratio: Ratio) -> str:
    interval = "" if ratio.low is None else f" [{ratio.low:.3f}, {ratio.high:.3f}]"
    return f"{ratio.value:.3f}{interval}"


def _method(result: Result) -> list[str]:
    gate = result.settings["gate"]
    return [
        f"{rounds_line(result)} Ratios: median over paired rounds, 95 % bootstrap interval.",
        f"Labels: the gate on {gate['count']} pictures ({gate['pictures']}) against {gate['reference']}; mIoU is "
        "against the pictures' own annotations. Float32 networks whose logits differ from PyTorch's are not timed.",
        "Of peak: the time of the network's products at the best measured rate of their arithmetic, over the measured "
        "time. int8: both the weight and the input of a product are quantised.",
        "INT8 files of ONNX Runtime's own quantiser: `quantize_static` of the naive export with its defaults, and with "
        "QDQ, uint8 activations and int8 weights per channel; calibrated on the same pictures as ours.",
        "Baseline pipeline: SCHP's simple_extractor.py; warp and normalise, network, upsample in PyTorch, warp of "
        "every class with OpenCV, argmax, palette PNG. Ours writes its PNG with the runtime. `frame` excludes the PNG.",
    ]
