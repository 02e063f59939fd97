"""What `ce2p parse` tells about a run: counted on the way, summed up at its end, also where the end came early."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ce2p_runtime import HumanParser, ParsingResult
from ce2p_runtime.media.sources import Source, SourceFrame

from .console import say

__all__ = ["Tally", "report", "summary"]


@dataclass
class Tally:
    """What was done so far."""

    timings: list[dict[str, float]] = field(default_factory=list)
    """Milliseconds of every frame's stages."""
    present: Counter[str] = field(default_factory=Counter)
    """Class -> frames that show it."""
    parsed: dict[Path, None] = field(default_factory=dict)
    """Source files with a frame that was parsed and written, in order."""
    interrupted: bool = False

    def add(self, frame: SourceFrame, result: ParsingResult) -> None:
        """Count a frame that was parsed and written."""
        self.timings.append(result.timings)
        self.present.update(result.present().keys())
        self.parsed[frame.path] = None


def summary(
    source: Source,
    output: Path,
    parser: HumanParser | None,
    tally: Tally,
    targets: Mapping[Path, Mapping[str, Path]],
    done: frozenset[Path],
) -> dict[str, Any]:
    """The document behind --json. `targets`: all results by source; `done`: sources that had theirs before."""
    skipped = {**source.listing.unreadable, **source.listing.others} if source.listing is not None else {}
    stages = tally.timings[0] if tally.timings else {}
    return {
        "source": source.name,
        "expected": source.total,
        "parsed": len(tally.timings),
        "done_before": len(done),
        "interrupted": tally.interrupted,
        "problems": source.problems,
        "notes": source.notes,
        "skipped": {kind: [str(file) for file in files] for kind, files in skipped.items()},
        "output": str(output),
        "backend": parser.backend.name if parser is not None else None,
        "device": parser.backend.device if parser is not None else None,
        "weights": parser.metadata.weights if parser is not None else None,
        "median_ms": {stage: statistics.median(timing[stage] for timing in tally.timings) for stage in stages},
        "frames_with_class": dict(tally.present),
        "results": [
            {"source": str(file), **{kind: str(target) for kind, target in targets[file].items()}}
            for file in source.files
            if file in done or file in tally.parsed
        ],
    }


def report(document: Mapping[str, Any], output: str) -> None:
    """The same for people. `output`: where results are, as said in lines."""
    parsed, expected = document["parsed"], document["expected"]
    total = f" of {expected}" if document["interrupted"] and expected else ""
    unit = "frame" if parsed == 1 and not total else "frames"
    stages = ", ".join(f"{stage} {value:.1f}" for stage, value in document["median_ms"].items())
    times = f" (median ms per frame: {stages})" if stages else ""
    early = "interrupted: " if document["interrupted"] else ""
    if document["done_before"]:
        say(f"{document['done_before']} had all their results in {output} before")
    if parsed or document["interrupted"] or not (document["done_before"] or document["problems"]):
        say(f"{early}parsed {parsed}{total} {unit} to {output}{times}")
    if document["frames_with_class"]:
        say(f"found: {', '.join(document['frames_with_class'])}")
