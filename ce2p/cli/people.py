"""`ce2p people`: the front door's parsing of several people, with its progress, its report and its JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ce2p.api.people import ParsedPeople, parse_people

from .console import remark, say, step_bars, table, write_json
from .preflight import check_json

__all__ = ["run"]

_LISTED = 5
"""Pictures without people that are named; the JSON has all."""


def run(
    source: str,
    output: Path,
    *,
    whole: Path | None,
    local: Sequence[Path],
    instances: Path | None,
    json: str | None,
    overwrite: bool,
    nms: bool = False,
    **options: Any,
) -> None:
    """Parse and report; `options` are those of `ce2p.parse_people`.

    Raises ConfigError and CE2PRuntimeError; MediaError at the end where something could not be read.
    """
    check_json(json, [source, *(path for path in (whole, *local, instances) if path is not None)], overwrite)
    given = {"whole": whole, "local": local, "instances": instances, "nms": nms, **options}
    with step_bars("pictures") as progress:
        parsed = parse_people(source, output, progress=progress, **given)
    if json:
        write_json(parsed.to_dict(), json, "people")
    if json != "-":
        _report(parsed, instances, nms=nms)
    for problem in parsed.problems[1:]:
        remark(f"also: {problem}")
    parsed.require()


def _report(parsed: ParsedPeople, instances: Path | None, *, nms: bool) -> None:
    """`instances`: where the people came from; `nms`: whether masks decided."""
    stages = ", ".join(f"{stage} {value:.1f}" for stage, value in parsed.median_ms.items())
    unit = "picture" if parsed.parsed == 1 else "pictures"
    say(f"parsed {parsed.parsed} {unit} to {parsed.output}/ (median ms per picture: {stages})")
    rows = [[number, str(pictures)] for number, pictures in parsed.pictures_by_people.items()]
    table(f"{parsed.people} people, {parsed.parts} parts", ["people", "pictures"], rows)
    if parsed.people_left_out:
        reason = f"score below {parsed.threshold:g}" + (" or covered by others" if nms else "")
        say(f"left out: {parsed.people_left_out} ({reason})")
    for listed, text in (
        (parsed.without_instances, f"not in {instances}: global parsing only"),
        (parsed.without_people, "nobody found: global parsing only"),
    ):
        if listed:
            more = f" and {len(listed) - _LISTED} more" if len(listed) > _LISTED else ""
            say(f"{text}: {', '.join(listed[:_LISTED])}{more}")
    if parsed.instances_of_other_pictures:
        say(f"{instances}: also holds {parsed.instances_of_other_pictures} pictures that were not parsed")
    if parsed.instances_of_other_categories:
        say(f"{instances}: {parsed.instances_of_other_categories} entries are no people (category_id)")
