"""`ce2p parse`: the front door's parsing with its progress, its report and its JSON. Needs no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ce2p.api.parse import Parsed, parse

from .console import quietly, remark, say, step_bars, write_json
from .preflight import check_json

__all__ = ["run"]


def run(source: str, model: Path, *, json: str | None, overwrite: bool, quiet: bool, **options: Any) -> None:
    """Parse and report, also after an interrupt; `options` are those of `ce2p.parse`.

    Raises ConfigError and CE2PRuntimeError; MediaError at the end where something could not be read.
    """
    with quietly(quiet):
        check_json(json, [source, model], overwrite)
        ended: list[Parsed] = []
        try:
            with step_bars("frames") as progress:
                ended.append(parse(source, model, progress=progress, on_interrupt=ended.append, **options))
        finally:
            for parsed in ended:
                if json:
                    write_json(parsed.to_dict(), json, "parse")
                if json != "-":
                    _report(parsed)
        for problem in ended[0].problems[1:]:
            remark(f"also: {problem}")
        ended[0].require()


def _report(parsed: Parsed) -> None:
    total = f" of {parsed.expected}" if parsed.interrupted and parsed.expected else ""
    unit = "frame" if parsed.parsed == 1 and not total else "frames"
    stages = ", ".join(f"{stage} {value:.1f}" for stage, value in parsed.median_ms.items())
    times = f" (median ms per frame: {stages})" if stages else ""
    early = "interrupted: " if parsed.interrupted else ""
    if parsed.done_before:
        say(f"{parsed.done_before} had all their results in {parsed.where} before")
    if parsed.parsed or parsed.interrupted or not (parsed.done_before or parsed.problems):
        say(f"{early}parsed {parsed.parsed}{total} {unit} to {parsed.where}{times}")
    if parsed.frames_with_class:
        say(f"found: {', '.join(parsed.frames_with_class)}")
