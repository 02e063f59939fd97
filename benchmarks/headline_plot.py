"""One picture of the headline result: how long each network and each whole frame takes, with the labels' agreement
written beside every bar."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ce2p.benchmarking.document import Result, Row
from ce2p.benchmarking.plots import COLOURS, FAILED, GREY, draw_bars, noisy_text, plotting, save
from ce2p.benchmarking.report import share_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_OURS, _THEIRS, _INK = COLOURS["network"], "#B8BEC6", "#1D2126"
_WIDTH = 12.0
"""Inches."""
_BAR, _TITLE, _FOOT = 0.33, 0.8, 0.45
"""Inches of height: a bar, what stands above a panel, and below."""
_LEFT, _RIGHT = 0.33, 0.68
"""Where bars begin and end, as shares of the width."""
_COLUMNS = (0.735, 0.815, 0.895, 0.965)
"""Centres of the figures beside the bars."""
_VERDICTS = {"failed": "fails", "passed": "passes"}


def draw_headline(result: Result, stem: Path) -> list[Path]:
    """`stem` with the suffixes of all formats. Raises ModuleNotFoundError without matplotlib."""
    with plotting():
        from matplotlib.figure import Figure

        networks = sorted((row for row in result.rows if row.scope == "network"), key=lambda row: -row.timing.median_ms)
        frames = sorted(
            (row for row in result.rows if row.scope == "frame"), key=lambda row: -row.stages["whole"].median_ms
        )
        panels = [_BAR * len(rows) + _TITLE + _FOOT for rows in (networks, frames)]
        figure = Figure(figsize=(_WIDTH, 0.85 + sum(panels) + 0.15))
        _heading(figure, result)
        _networks(_panel(figure, 0.85, len(networks)), networks, result)
        _frames(_panel(figure, 0.85 + panels[0], len(frames)), frames, result)
        return save(figure, stem)


def _panel(figure: Figure, top: float, bars: int) -> Axes:
    """Axes for so many bars, `top` inches and a title below the figure's upper edge."""
    height = figure.get_figheight()
    bottom = 1 - (top + _TITLE + _BAR * bars) / height
    return figure.add_axes((_LEFT, bottom, _RIGHT - _LEFT, _BAR * bars / height))


def _heading(figure: Figure, result: Result) -> None:
    settings, machine = result.settings, result.machine
    height, width = settings["input_size"]
    title = f"{settings['network']}, {height}x{width}"
    below = (
        f"{machine['cpu']}, {machine['cores']} cores; batch 1; {settings['rounds']} interleaved rounds, p50"
        f"{noisy_text(result)}; labels against PyTorch on {settings['gate']['count']} pictures; hatched: not as good "
        "as the original, the gate stops it"
    )
    inch = 1 / figure.get_figheight()
    figure.text(0.015, 1 - 0.2 * inch, title, va="top", fontsize=15, fontweight="bold", color=_INK)
    wrapped = "\n".join(textwrap.wrap(below, 165))
    figure.text(0.015, 1 - 0.52 * inch, wrapped, va="top", fontsize=9, color=GREY, linespacing=1.35)


def _networks(axes: Axes, rows: Sequence[Row], result: Result) -> None:
    draw_bars(axes, rows, ("network",), "network", colour=lambda row, stage: _OURS if row.facts["ours"] else _THEIRS)
    for place, row in enumerate(rows):
        shares = [_percent(row.judgement.share(name)) for name in ("pixel_agreement", "boundary_agreement")]
        standing = row.judgement.standing
        verdict = _VERDICTS.get(standing, standing)
        _columns(axes, place, (f"{result.ratio(row).value:.2f}", *shares, verdict), _ink(row))
    _columns(axes, -1.05, ("time over naive\nONNX Runtime", "same\npixels", "boundary\nband", "gate"), GREY)
    _tidy(axes, rows, "The network alone, ms")


def _frames(axes: Axes, rows: Sequence[Row], result: Result) -> None:
    draw_bars(axes, rows, ("prepare", "network", "labels", "png"), "whole")
    for place, row in enumerate(rows):
        times = [f"{result.ratio(row, stage).value:.3f}" for stage in ("frame", "whole")]
        verdict = "fails" if row.judgement.standing == "failed" else "passes"
        _columns(axes, place, (*times, _percent(row.facts["agreement_with_pytorch"]), verdict), _ink(row))
    first = result.first("frame").name.replace(", ", ",\n")
    _columns(axes, -1.05, (f"time over\n{first}", "with\nPNG", "same\npixels", "gate"), GREY)
    height, width = result.settings["frame"]
    _tidy(axes, rows, f"A {width}x{height} frame to labels and PNG, ms")
    axes.legend(loc="upper left", bbox_to_anchor=(0, -0.32 / (_BAR * len(rows))), ncols=5, frameon=False, fontsize=9)


def _ink(row: Row) -> str:
    return FAILED if row.judgement.standing == "failed" else _INK


def _percent(share: float | None) -> str:
    """Cut off, as `share_text`, to two digits."""
    return share_text(share).replace(" %", "")[:-1] + " %"


def _columns(axes: Axes, place: float, cells: Sequence[str], colour: str) -> None:
    """Figures right of the bars, at the height of one of them."""
    from matplotlib.transforms import blended_transform_factory

    figure = axes.get_figure()
    assert figure is not None
    where = blended_transform_factory(figure.transFigure, axes.transData)
    for x, cell in zip(_COLUMNS, cells, strict=True):
        axes.text(x, place, cell, transform=where, va="center", ha="center", fontsize=9, color=colour, clip_on=False)


def _tidy(axes: Axes, rows: Sequence[Row], title: str) -> None:
    axes.set_title(title, loc="left", fontsize=11, color=_INK, pad=14, fontweight="bold")
    axes.set_yticks(range(len(rows)), [row.name for row in rows])
    for text, row in zip(axes.get_yticklabels(), rows, strict=True):
        text.set_fontweight("bold" if row.facts["ours"] else "normal")
        text.set_color(_OURS if row.facts["ours"] else _INK)
    axes.spines["left"].set_visible(False)
    axes.spines["bottom"].set_color(_THEIRS)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", color=_THEIRS, labelcolor=GREY, labelsize=9)
