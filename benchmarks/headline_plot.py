"""One picture of the headline result: how long each network and each whole frame takes, with the labels' agreement
written beside every bar. Drawn by matplotlib, without its global state."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ce2p_runtime.base.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_headline", "truncated_percent"]

Row = Mapping[str, Any]
_OURS, _THEIRS, _FAILED, _GREY, _INK = "#0072B2", "#B8BEC6", "#C1440E", "#5A6169", "#1D2126"
_STAGES = {"prepare": "#E69F00", "network": "#56B4E9", "labels": "#009E73", "png": "#CC79A7"}
"""Of Okabe and Ito: told apart with any colour vision."""
_WIDTH = 12.0
"""Inches."""
_BAR, _TITLE, _FOOT = 0.33, 0.8, 0.45
"""Inches of height: a bar, what stands above a panel, and below."""
_LEFT, _RIGHT = 0.315, 0.68
"""Where bars begin and end, as shares of the width."""
_COLUMNS = (0.735, 0.815, 0.895, 0.965)
"""Centres of the figures beside the bars."""


def plot_headline(document: Row, path: Path) -> list[Path]:
    """`path` with the suffixes .png and .svg. Raises ModuleNotFoundError without matplotlib."""
    import matplotlib
    from matplotlib.figure import Figure

    peers = sorted(document["peers"], key=lambda row: -row["p50_ms"])
    frames = sorted(document["frames"], key=lambda row: -row["p50_ms"]["whole"])
    # Text stays text in the SVG, and the same result gives the same file.
    with matplotlib.rc_context({"font.size": 10, "svg.fonttype": "none", "svg.hashsalt": "ce2p"}):
        panels = [_BAR * len(rows) + _TITLE + _FOOT for rows in (peers, frames)]
        figure = Figure(figsize=(_WIDTH, 0.85 + sum(panels) + 0.15))
        _heading(figure, document)
        _networks(_panel(figure, 0.85, len(peers)), peers)
        _frames(_panel(figure, 0.85 + panels[0], len(frames)), frames, document)
        written = [path.with_suffix(suffix) for suffix in (".png", ".svg")]
        for file in written:
            with atomic_path(file) as temporary:
                figure.savefig(temporary, dpi=160, metadata={"Date": None} if file.suffix == ".svg" else None)
    return written


def _panel(figure: Figure, top: float, bars: int) -> Axes:
    """Axes for so many bars, `top` inches and a title below the figure's upper edge."""
    height = figure.get_figheight()
    bottom = 1 - (top + _TITLE + _BAR * bars) / height
    return figure.add_axes((_LEFT, bottom, _RIGHT - _LEFT, _BAR * bars / height))


def _heading(figure: Figure, document: Row) -> None:
    settings, machine = document["settings"], document["machine"]
    height, width = settings["input_size"]
    count = len(document["warnings"])
    noisy = f"; NOISY, {count} warning{'s' if count > 1 else ''}" if count else ""
    below = (
        f"{machine['cpu']}, {machine['cores']} cores; batch 1; {settings['rounds']} interleaved rounds, p50{noisy}; "
        f"labels against PyTorch on {settings['gate']['count']} pictures; hatched: not as good as the original, the "
        "gate stops it"
    )
    figure.text(
        0.015,
        1 - 0.2 / figure.get_figheight(),
        f"{settings['network']}, {height}x{width}",
        va="top",
        fontsize=15,
        fontweight="bold",
        color=_INK,
    )
    figure.text(
        0.015,
        1 - 0.52 / figure.get_figheight(),
        "\n".join(textwrap.wrap(below, 165)),
        va="top",
        fontsize=9,
        color=_GREY,
        linespacing=1.35,
    )


def _networks(axes: Axes, rows: Sequence[Row]) -> None:
    longest = max(row["p50_ms"] for row in rows)
    for place, row in enumerate(rows):
        failed = row["standing"] == "failed"
        axes.barh(
            place,
            row["p50_ms"],
            0.68,
            color=_OURS if row["ours"] else _THEIRS,
            hatch="////" if failed else None,
            edgecolor="white",
            linewidth=0.6,
        )
        _time(axes, place, row["p50_ms"], row["p50_ms"], longest, bold=row["ours"])
        verdict = {"failed": "fails", "passed": "passes", "reference": "reference"}[row["standing"]]
        gate = row["gate"]
        shares = truncated_percent(gate["pixel_agreement"]), truncated_percent(gate["boundary_agreement"])
        cells = (f"{row['over_naive']['value']:.2f}", *shares, verdict)
        _columns(axes, place, cells, _FAILED if failed else _INK)
    _columns(axes, -1.05, ("time over naive\nONNX Runtime", "same\npixels", "boundary\nband", "gate"), _GREY)
    _tidy(axes, [row["name"] for row in rows], [row["ours"] for row in rows], longest, "The network alone, ms")


def _frames(axes: Axes, rows: Sequence[Row], document: Row) -> None:
    longest = max(row["p50_ms"]["whole"] for row in rows)
    peers = {row["name"]: row for row in document["peers"]}
    for place, row in enumerate(rows):
        left = 0.0
        for stage, colour in _STAGES.items():
            width = row["p50_ms"][stage]
            label = {"png": "palette PNG"}.get(stage, stage) if place == 0 else None
            axes.barh(place, width, 0.68, left, color=colour, label=label, edgecolor="white", linewidth=0.4)
            left += width
        ours = row["name"] == row["peer"]
        _time(axes, place, left, row["p50_ms"]["whole"], longest, bold=ours)
        ratio = next(iter(row["over"].values()), None)
        failed = peers[row["peer"]]["standing"] == "failed"
        times = ("" if ratio is None else f"{ratio[what]['value']:.3f}" for what in ("frame", "whole"))
        cells = (*times, truncated_percent(row["agreement_with_pytorch"]), "fails" if failed else "passes")
        _columns(axes, place, cells, _FAILED if failed else _INK)
    usual = next((title for row in rows for title in row["over"]), "usual pipeline")
    heads = (f"time over {usual.replace(' pipeline', '').replace(',', chr(10))}", "with\nPNG", "same\npixels", "gate")
    _columns(axes, -1.05, heads, _GREY)
    height, width = document["settings"]["frame"]
    title = f"A {width}x{height} frame to labels and PNG, ms"
    _tidy(axes, [row["name"] for row in rows], [row["name"] == row["peer"] for row in rows], longest, title)
    axes.legend(loc="upper left", bbox_to_anchor=(0, -0.32 / (_BAR * len(rows))), ncols=4, frameon=False, fontsize=9)


def _time(axes: Axes, place: float, end: float, value: float, longest: float, *, bold: bool) -> None:
    """A time right of its bar."""
    text = f"{value:.0f}" if value >= 100 else f"{value:.1f}"
    weight = "bold" if bold else "normal"
    axes.text(end + 0.01 * longest, place, text, va="center", ha="left", fontsize=9.5, fontweight=weight, color=_INK)


def _columns(axes: Axes, place: float, cells: Sequence[str], colour: str) -> None:
    """Figures right of the bars, at the height of one of them."""
    from matplotlib.transforms import blended_transform_factory

    figure = axes.get_figure()
    assert figure is not None
    where = blended_transform_factory(figure.transFigure, axes.transData)  # type: ignore[union-attr]
    for x, cell in zip(_COLUMNS, cells, strict=True):
        axes.text(x, place, cell, transform=where, va="center", ha="center", fontsize=9, color=colour, clip_on=False)


def _tidy(axes: Axes, names: Sequence[str], ours: Sequence[bool], longest: float, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=11, color=_INK, pad=14, fontweight="bold")
    axes.set_yticks(range(len(names)), names)
    for text, own in zip(axes.get_yticklabels(), ours, strict=True):
        text.set_fontweight("bold" if own else "normal")
        text.set_color(_OURS if own else _INK)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlim(0, 1.1 * longest)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(_THEIRS)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", color=_THEIRS, labelcolor=_GREY, labelsize=9)
    axes.grid(axis="x", color="#e8eaed", linewidth=0.8)
    axes.set_axisbelow(True)


def truncated_percent(share: float | None) -> str:
    """In per cent, cut off rather than rounded, so that nothing looks like 100 that is not."""
    return "" if share is None else f"{int(share * 1e4 + 1e-6) / 1e2:.2f} %"
