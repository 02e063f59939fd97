"""Pictures of a result: latency by component, throughput over batch sizes, speed against agreement.

Drawn by matplotlib, which is optional (the extra `plots`), without its global state. Colours are those of
Okabe and Ito, which people with any colour vision tell apart.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ce2p.api.notes import note
from ce2p_runtime.base.files import atomic_path
from ce2p_runtime.base.text import install_hint

from .candidates import COMPONENTS
from .document import Result, Row
from .report import machine_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = (".png", ".svg")
COLOURS = {
    "decode": "#999999",
    "prepare": "#E69F00",
    "network": "#0072B2",
    "labels": "#009E73",
    "copy": "#CC79A7",
    "png": "#CC79A7",
    "other": "#F0E442",
}
"""By stage."""
_SERIES = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#000000", "#999999")
_MARKERS = "osD^vP*X"
FAILED = "#D55E00"
"""Means nothing else in any of them."""
GREY = "#555555"
_TITLE_WIDTH = 90
"""Characters of a line under the title."""
_WIDTH = 9.0
"""Inches; a report's column at 150 dots per inch."""


def write_plots(result: Result, folder: Path) -> list[Path]:
    """Write every plot that the result has figures for, as PNG and SVG.

    Raises ModuleNotFoundError without matplotlib, before anything is written.
    """
    written = []
    with plotting():
        for name, draw in _DRAWN.items():
            figure = draw(result)
            if figure is not None:
                written += save(figure, folder / name)
    return written


def drawn_if_possible(draw: Callable[[], list[Path]]) -> list[Path]:
    """What `draw` writes; nothing without matplotlib, and a remark that says what plots need."""
    try:
        return draw()
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "matplotlib":
            raise
        note(f"no plots: they need matplotlib; {install_hint('plots')}")
        return []


@contextmanager
def plotting() -> Iterator[None]:
    """Text stays text in SVG, and the same result gives the same file. Raises ModuleNotFoundError."""
    import matplotlib

    with matplotlib.rc_context({"font.size": 10, "svg.fonttype": "none", "svg.hashsalt": "ce2p"}):
        yield


def save(figure: Figure, stem: Path) -> list[Path]:
    """Write a figure in all FORMATS as `stem` with their suffixes."""
    written = [stem.with_suffix(suffix) for suffix in FORMATS]
    for path in written:
        with atomic_path(path) as temporary:
            figure.savefig(temporary, dpi=150, metadata={"Date": None} if path.suffix == ".svg" else None)
    return written


def draw_bars(
    axes: Axes,
    rows: Sequence[Row],
    stages: Sequence[str],
    total: str,
    *,
    colour: Callable[[Row, str], str] = lambda row, stage: COLOURS[stage],
) -> None:
    """A bar of stacked `stages` at p50 for each row, with a whisker from the p50 of `total` to its p95, and its p50.

    Bars of rows that fail the gate are hatched. Stages too short to be seen are left out.
    """
    ends = [0.0] * len(rows)
    longest = max(row.stages[total].p95_ms for row in rows)
    for stage in stages:
        widths = [row.stages[stage].median_ms if stage in row.stages else 0.0 for row in rows]
        if max(widths) < 0.005 * longest:
            continue
        bars = axes.barh(range(len(rows)), widths, 0.6, ends, label=stage, edgecolor="white", linewidth=0.6)
        for bar, row in zip(bars, rows, strict=True):
            bar.set(facecolor=colour(row, stage), hatch="////" if _fails(row) else None)
        ends = [end + width for end, width in zip(ends, widths, strict=True)]
    times = [row.stages[total] for row in rows]
    middles, tails = [t.median_ms for t in times], [t.p95_ms - t.median_ms for t in times]
    whisker: dict[str, Any] = {"fmt": "none", "ecolor": "black", "elinewidth": 1.2, "capsize": 4}
    label = f"p50 to p95 of the {total}"
    axes.errorbar(middles, range(len(rows)), xerr=([0.0] * len(rows), tails), label=label, **whisker)
    for place, (timing, end) in enumerate(zip(times, ends, strict=True)):
        text = f"{timing.median_ms:.0f}" if timing.median_ms >= 1000 else f"{timing.median_ms:.1f}"
        axes.text(max(timing.p95_ms, end) + 0.012 * longest, place, text, va="center")
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlim(0, 1.15 * longest)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(visible=False, axis="y")
    axes.grid(axis="x", color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)


def noisy_text(result: Result) -> str:
    """What stands beside the settings of a run that was disturbed."""
    count = len(result.warnings)
    return f"; NOISY, {count} warning{'s' if count > 1 else ''}" if count else ""


def _latency(result: Result) -> Figure:
    rows = result.rows
    figure, axes = _canvas(result, "Latency of a picture by component", 1.9 + 0.55 * len(rows))
    draw_bars(axes, rows, COMPONENTS, "whole")
    axes.set_yticks(range(len(rows)), [_label(row) for row in rows])
    for text, row in zip(axes.get_yticklabels(), rows, strict=True):
        if _fails(row):
            text.set_color(FAILED)
    axes.set_xlabel("milliseconds per picture at p50, from encoded picture to labels of its size")
    _legend_below(figure, axes, columns=7)
    return figure


def _throughput(result: Result) -> Figure | None:
    """Frames per second over the batch size, a line for each candidate."""
    rows = [row for row in result.rows if row.throughput]
    if not rows:
        return None
    figure, axes = _canvas(
        result, "Throughput over batch size, decoded frames to labels", 4.6 + 0.16 * len(rows), "throughput_rounds"
    )
    sizes = sorted({size for row in rows for size in row.throughput})
    for row in rows:
        points = sorted(row.throughput)
        axes.plot(
            [sizes.index(size) for size in points],
            [1e3 / row.throughput[size].median_ms for size in points],
            **_series(result, row),
            markersize=7,
            alpha=0.9,
            linestyle="--" if _fails(row) else "-",
        )
    axes.set_xticks(range(len(sizes)), [str(size) for size in sizes])
    axes.set_xlim(-0.3, len(sizes) - 0.7)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("frames per forward pass")
    axes.set_ylabel("frames per second")
    _legend_below(figure, axes, columns=2 if len(rows) > 1 else 1)
    return figure


def _agreement(result: Result) -> Figure | None:
    """Every candidate's speed and the share of pixels that it labels as the reference does."""
    rows = [row for row in result.rows if row.judgement.share("pixel_agreement") is not None]
    if not rows:
        return None
    figure, axes = _canvas(result, "Speed against agreement with the reference", 4.6 + 0.16 * len(rows))
    for row in rows:
        failed = _fails(row)
        axes.scatter(
            [1e3 / row.stages["frame"].median_ms],
            [_disagreement(row)],
            s=70,
            zorder=3,
            **_series(result, row),
            edgecolors=FAILED if failed else "white",
            linewidths=2 if failed else 0.8,
        )
    for precision, limit in sorted(_limits(rows).items(), key=lambda item: item[1]):
        axes.axhline(1 - limit, color=GREY, linestyle=":", linewidth=1.2)
        axes.annotate(
            f"gate of {precision}: {100 * limit:.6g} %",
            (1, 1 - limit),
            xycoords=("axes fraction", "data"),
            xytext=(-4, 3),
            textcoords="offset points",
            ha="right",
            va="bottom",
            fontsize=9,
            color=GREY,
        )
    # Agreement crowds at 100 %, so what is drawn is the share that differs, from none at the top on.
    differing = [_disagreement(row) for row in rows] + [1 - limit for limit in _limits(rows).values()]
    axes.set_yscale("symlog", linthresh=1e-4, linscale=0.5)
    ticks = [0.0, 1e-4, 1e-3, 1e-2, 1e-1, 1.0]
    axes.set_yticks(ticks, [f"{100 * (1 - tick):.6g} %" for tick in ticks])
    axes.minorticks_off()
    axes.set_ylim(min(1.0, max(2e-4, 3 * max(differing))), -2e-5)
    axes.set_xlim(0, 1.15 * max(1e3 / row.stages["frame"].median_ms for row in rows))
    axes.set_xlabel("frames per second at p50, decoded frame to labels, one group at a time")
    axes.set_ylabel("pixels with the reference's label")
    _legend_below(figure, axes, columns=2 if len(rows) > 1 else 1)
    return figure


def _series(result: Result, row: Row) -> dict[str, Any]:
    """Colour and marker of a row, the same in every plot, and its name in the legend."""
    index = result.rows.index(row)
    colour, marker = _SERIES[index % len(_SERIES)], _MARKERS[index % len(_MARKERS)]
    return {"color": colour, "marker": marker, "label": _label(row).replace("\n", ", ")}


def _disagreement(row: Row) -> float:
    return 1 - (row.judgement.share("pixel_agreement") or 0.0)


def _limits(rows: list[Row]) -> dict[str, float]:
    """The gate's pixel agreement by precision."""
    return {row.precision: float(row.judgement.figures["thresholds"]["pixel_agreement"]) for row in rows}


def _canvas(result: Result, title: str, height: float, rounds: str = "rounds") -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    axes = figure.add_subplot()
    figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
    settings = f"{result.settings['footage']}; {result.settings[rounds]} rounds{noisy_text(result)}"
    below = [line for text in (machine_line(result), settings) for line in textwrap.wrap(text, _TITLE_WIDTH)]
    axes.set_title("\n".join(below), loc="left", fontsize=8.5, color=GREY)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)
    return figure, axes


def _fails(row: Row) -> bool:
    return row.judgement.standing == "failed"


def _label(row: Row) -> str:
    """Name, backend, and the mark of the gate."""
    failed = {"failed": " - FAILS THE GATE", "not judged": " - labels not judged"}.get(row.judgement.standing, "")
    name = row.model if len(row.model) <= 40 else f"{row.model[:10]}…{row.model[-29:]}"
    return f"{name}\n{row.backend} on {row.device}{failed}"


def _legend_below(figure: Figure, axes: Axes, columns: int) -> None:
    handles, labels = axes.get_legend_handles_labels()
    options: dict[str, Any] = {"loc": "outside lower center", "ncols": columns, "frameon": False, "fontsize": 9}
    figure.legend(handles, labels, **options)


_DRAWN: dict[str, Callable[[Result], Figure | None]] = {
    "latency": _latency,
    "throughput": _throughput,
    "agreement": _agreement,
}
PLOTS = tuple(f"{name}{suffix}" for name in _DRAWN for suffix in FORMATS)
"""Names of all files that may be written."""
