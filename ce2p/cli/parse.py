"""`ce2p parse`: run a model over pictures or a video and write what was asked for. Needs no torch."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from ce2p_runtime import HumanParser, MediaError, ParsingResult
from ce2p_runtime.sinks import VideoSink, open_sink
from ce2p_runtime.sources import Source, open_source

from .console import progress_bar, remark, say, write_json

__all__ = ["run"]


def run(
    source: str, model: Path, output: Path, save: str, backend: str, device: str,
    threads: int | None, opacity: float, trust_engine: bool, json: str | None,
) -> None:  # fmt: skip
    """Parse and report. Whatever could be read is parsed and kept; raises MediaError at the end if that was not all."""
    with (
        open_source(source) as opened,
        HumanParser(model, backend=backend, device=device, threads=threads, trust_engine=trust_engine) as parser,
    ):
        remark(str(parser))
        timings, present = _parse(parser, opened, output, frozenset(save.split(",")), opacity)
        summary = _summary(opened, output, parser, timings, present)
        if json:
            write_json(summary, json)
        if json != "-":
            _report(summary)
        if opened.problems:
            _raise_problems(opened, output)


def _parse(
    parser: HumanParser, source: Source, output: Path, save: frozenset[str], opacity: float
) -> tuple[list[dict[str, float]], dict[str, int]]:
    """Every frame through parser and sink; returns each frame's stage times, and per class the frames that show it."""
    timings: list[dict[str, float]] = []
    present: dict[str, int] = {}
    with open_sink(output, source, save, opacity) as sink, progress_bar("frames") as progress:
        task = progress.add_task("parsing", total=source.total, note="")
        for frame, result in parser.parse_frames(source):
            sink.write(frame, result)
            timings.append(result.timings)
            _count(present, result)
            progress.advance(task)
        if not timings:
            raise MediaError(source.problems[0] if source.problems else f"{source.name}: held no frame")
    for text in sink.remarks if isinstance(sink, VideoSink) else []:
        remark(f"note: {text}")
    return timings, present


def _count(present: dict[str, int], result: ParsingResult) -> None:
    for name in result.present():
        present[name] = present.get(name, 0) + 1


def _summary(
    source: Source, output: Path, parser: HumanParser, timings: list[dict[str, float]], present: dict[str, int]
) -> dict[str, Any]:
    stages = {stage: [timing[stage] for timing in timings] for stage in timings[0]}
    return {
        "source": source.name,
        "expected": source.total,
        "parsed": len(timings),
        "problems": source.problems,
        "output": str(output),
        "backend": parser.backend.name,
        "device": parser.backend.device,
        "median_ms": {stage: statistics.median(values) for stage, values in stages.items()},
        "frames_with_class": present,
    }


def _report(summary: dict[str, Any]) -> None:
    stages = ", ".join(f"{stage} {value:.1f}" for stage, value in summary["median_ms"].items())
    unit = "frame" if summary["parsed"] == 1 else "frames"
    say(f"parsed {summary['parsed']} {unit} to {summary['output']}/ (median ms per frame: {stages})")
    say(f"found: {', '.join(summary['frames_with_class'])}")


def _raise_problems(source: Source, output: Path) -> None:
    for problem in source.problems[1:]:
        remark(f"also: {problem}")
    raise MediaError(f"{source.problems[0]}; {source.delivered} parsed and kept in {output}/")
