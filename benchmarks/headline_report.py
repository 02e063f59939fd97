"""The headline result for people: headline.json, the tables in headline.md, the plots."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.ceilings import Ceilings, Reached
from benchmarks.headline_plot import plot_headline, truncated_percent
from benchmarks.roofline import Placed, ceiling_lines, plot_roofline
from benchmarks.workload import Workload
from ce2p_runtime.base.files import atomic_path

__all__ = ["markdown", "write_report"]

Row = Mapping[str, Any]


def write_report(document: Row, folder: Path) -> list[Path]:
    """Write everything, plots where matplotlib is installed; the files written."""
    folder.mkdir(parents=True, exist_ok=True)
    written = [folder / "headline.json", folder / "headline.md"]
    try:
        written += plot_headline(document, folder / "headline.png")
        if document["reached"]:
            written += plot_roofline(*_roofline(document), folder / "roofline.png")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "matplotlib":
            raise
        print('no plots: they need matplotlib; pip install ".[plots]"')
    pictures = [path.name for path in written if path.suffix == ".png"]
    for path, text in zip(written[:2], (json.dumps(document, indent=1), markdown(document, pictures)), strict=True):
        with atomic_path(path) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")
    return written


def _roofline(document: Row) -> tuple[list[Placed], Ceilings, str]:
    ceilings = Ceilings(**document["ceilings"])
    placed = [
        Placed.of(row["name"], Workload(**row["work"]), row["floats"], row["p50_ms"], ceilings)
        for row in document["peers"]
    ]
    return placed, ceilings, document["machine"]["cpu"]


def markdown(document: Row, pictures: Sequence[str] = ()) -> str:
    """The whole report."""
    settings, machine = document["settings"], document["machine"]
    height, width = settings["input_size"]
    lines = [
        f"# {settings['network']} at {height}x{width}, batch 1",
        "",
        f"{machine['cpu']}, {machine['cores']} cores, threads {settings['threads']}; "
        + ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
        + f"; commit {machine['commit']}; {document['date']}",
        "",
    ]
    if document["warnings"]:
        lines += ["**This run was noisy:**", "", *(f"- {text}" for text in document["warnings"]), ""]
    lines += ["## Ratios", "", *_table(("", "ratio [95 % interval]"), _ratio_rows(document)), ""]
    lines += ["## The network alone", "", *_network_table(document), ""]
    lines += ["## A whole frame", "", *_frame_table(document), ""]
    reached = [Reached(**found) for found in document["reached"]]
    if reached:
        lines += ["## Measured ceilings", "", *_table(("resource", "best", "reached by"), ceiling_lines(reached)), ""]
    failures = [
        f"- {row['name']}: {'; '.join(row['gate']['failures'])}" for row in document["peers"] if row["gate"]["failures"]
    ]
    if failures:
        lines += ["## Fails the gate", "", *failures, ""]
    if document["missing"]:
        lines += ["## Not measured", "", *(f"- {name}: {why}" for name, why in document["missing"].items()), ""]
    for picture in pictures:
        lines += [f"![{picture}]({picture})", ""]
    return "\n".join([*lines, "## Method", "", *(f"- {line}" for line in _method(document))])


def _ratio_rows(document: Row) -> list[tuple[str, str]]:
    return [
        (name, _ratio(value) if isinstance(value, Mapping) else f"{value:.1%}")
        for name, value in document["ratios"].items()
    ]


def _network_table(document: Row) -> list[str]:
    columns = (
        "network",
        "products in",
        "GFLOP",
        "p50 ms",
        "p95 ms",
        "/ naive ONNX Runtime",
        "of peak",
        "same pixels",
        "boundary band",
        "mIoU",
        "gate",
    )
    rows = []
    for row in document["peers"]:
        gate = row["gate"]
        name = f"**{row['name']}**" if row["ours"] else row["name"]
        rows.append(
            (
                name,
                " + ".join(row["gflops"]),
                f"{sum(row['gflops'].values()):.1f}",
                f"{row['p50_ms']:.1f}",
                f"{row['p95_ms']:.1f}",
                _ratio(row["over_naive"]),
                _percent(row["share_of_peak"], 0),
                *(truncated_percent(gate[what]) for what in ("pixel_agreement", "boundary_agreement", "truth_miou")),
                "FAILED" if row["standing"] == "failed" else row["standing"],
            )
        )
    return _table(columns, rows)


def _frame_table(document: Row) -> list[str]:
    height, width = document["settings"]["frame"]
    usual = list(dict.fromkeys(title for row in document["frames"] for title in row["over"]))
    columns = (
        f"{height}x{width} to labels",
        "prepare",
        "network",
        "labels",
        "frame p50 ms",
        "p95 ms",
        *(f"/ {title}" for title in usual),
        "prepare + labels",
        "PNG",
        "with PNG",
        "same labels",
    )
    rows = []
    ours = {row["name"] for row in document["peers"] if row["ours"]}
    for row in document["frames"]:
        times = row["p50_ms"]
        name = f"**{row['name']}**" if row["name"] in ours else row["name"]
        rows.append(
            (
                name,
                *(f"{times[stage]:.1f}" for stage in ("prepare", "network", "labels", "frame")),
                f"{row['p95_ms']['frame']:.1f}",
                *(_ratio(row["over"][title]["frame"]) for title in usual),
                _percent(row["prepare_and_labels_share"], 1),
                f"{times['png']:.1f}",
                f"{times['whole']:.1f}",
                truncated_percent(row["agreement_with_pytorch"]),
            )
        )
    return _table(columns, rows)


def _method(document: Row) -> list[str]:
    settings = document["settings"]
    gate = settings["gate"]
    return [
        f"One run: {settings['rounds']} rounds after {settings['warmup']} that do not count; each runs every candidate "
        f"once, in a new order, after {settings['rest_ms']:.0f} ms of rest. Ratios: median over paired rounds, 95 % "
        "bootstrap interval.",
        f"Labels: the gate on {gate['count']} pictures ({gate['pictures']}) against {gate['reference']}; mIoU is "
        "against the pictures' own annotations. Float32 peers whose logits differ from PyTorch's are not timed.",
        "Of peak: the time of the network's products at the best measured rate of their arithmetic, over the measured "
        "time. int8: both the weight and the input of a product are quantised.",
        "INT8 files of ONNX Runtime's own quantiser: `quantize_static` of the naive export with its defaults, and with "
        "QDQ, uint8 activations and int8 weights per channel; calibrated on the same pictures as ours.",
        "Usual pipeline: SCHP's simple_extractor.py; warp and normalise, network, upsample in PyTorch, warp of every "
        "class with OpenCV, argmax, palette PNG. Ours writes its PNG with the runtime. `frame` is without the PNG.",
    ]


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [
        "| " + " | ".join(columns) + " |",
        "|" + "---|" * len(columns),
        *("| " + " | ".join(row) + " |" for row in rows),
    ]


def _ratio(ratio: Row) -> str:
    interval = "" if ratio["low"] is None else f" [{ratio['low']:.3f}, {ratio['high']:.3f}]"
    return f"{ratio['value']:.3f}{interval}"


def _percent(share: float | None, digits: int) -> str:
    return "" if share is None else f"{100 * share:.{digits}f} %"
