"""What `ce2p people` counts on its way, as a document and as lines for people."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ce2p_runtime.media.sources import Source, SourceFrame
from ce2p_runtime.people import Instances, Person
from ce2p_runtime.people.result import PeopleResult

from .console import say, table

__all__ = ["Tally", "report", "summary"]

_LISTED = 5
"""Pictures without people that are named; the JSON has all."""


@dataclass
class Tally:
    """What is counted on the way."""

    timings: list[dict[str, float]] = field(default_factory=list)
    people: int = 0
    parts: int = 0
    below: int = 0
    """People whose score was too low, or who were covered by others."""
    unknown: list[str] = field(default_factory=list)
    """Pictures that the source of people does not know."""
    empty: list[str] = field(default_factory=list)
    """Pictures known to it, with nobody left to parse."""
    per_picture: Counter[int] = field(default_factory=Counter)

    def add(self, frame: SourceFrame, found: list[Person] | None, below: int, result: PeopleResult) -> None:
        """Count one picture: whom its source of people knows, how many of them fell below, what was parsed."""
        self.timings.append(result.timings)
        self.people += len(result.people)
        self.parts += len(result.part_instances)
        self.below += below + len(found or []) - len(result.people)
        self.per_picture[len(result.people)] += 1
        if found is None:
            self.unknown.append(frame.path.name)
        elif not result.people:
            self.empty.append(frame.path.name)


def summary(
    source: Source, tally: Tally, instances: Instances | None, names: Collection[str], output: Path, least_score: float
) -> dict[str, Any]:
    """The document of a run."""
    return {
        "source": source.name,
        "expected": source.total,
        "parsed": len(tally.timings),
        "problems": source.problems,
        "output": str(output),
        "people": tally.people,
        "parts": tally.parts,
        "people_left_out": tally.below,
        "threshold": least_score,
        "without_instances": tally.unknown,
        "without_people": tally.empty,
        "pictures_by_people": {str(number): tally.per_picture[number] for number in sorted(tally.per_picture)},
        "instances_of_other_pictures": len(instances.names() - set(names)) if instances is not None else 0,
        "instances_of_other_categories": instances.left_out if instances is not None else 0,
        "median_ms": {
            stage: statistics.median(timing[stage] for timing in tally.timings) for stage in (tally.timings or [{}])[0]
        },
    }


def report(summary: dict[str, Any], instances: Path | None, nms: bool) -> None:
    """Print what `summary` made, for people. `instances`: where the people came from, `nms`: whether masks decided."""
    stages = ", ".join(f"{stage} {value:.1f}" for stage, value in summary["median_ms"].items())
    unit = "picture" if summary["parsed"] == 1 else "pictures"
    say(f"parsed {summary['parsed']} {unit} to {summary['output']}/ (median ms per picture: {stages})")
    rows = [[number, str(pictures)] for number, pictures in summary["pictures_by_people"].items()]
    table(f"{summary['people']} people, {summary['parts']} parts", ["people", "pictures"], rows)
    if summary["people_left_out"]:
        reason = f"score below {summary['threshold']:g}" + (" or covered by others" if nms else "")
        say(f"left out: {summary['people_left_out']} ({reason})")
    for key, text in (
        ("without_instances", f"not in {instances}: global parsing only"),
        ("without_people", "nobody found: global parsing only"),
    ):
        listed = summary[key]
        if listed:
            more = f" and {len(listed) - _LISTED} more" if len(listed) > _LISTED else ""
            say(f"{text}: {', '.join(listed[:_LISTED])}{more}")
    if summary["instances_of_other_pictures"]:
        say(f"{instances}: also holds {summary['instances_of_other_pictures']} pictures that were not parsed")
    if summary["instances_of_other_categories"]:
        say(f"{instances}: {summary['instances_of_other_categories']} entries are no people (category_id)")
