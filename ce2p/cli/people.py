"""`ce2p people`: its options, and the front door's parsing of several people with its progress, report and JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from .ignored_options import PEOPLE, refuse_ignored
from .options import Backend, Device, Json, Opacity, Overwrite, Threads

if TYPE_CHECKING:  # it loads NumPy and OpenCV, which the help of a command does without
    from ce2p.api.people import ParsedPeople

_LISTED = 5
"""Pictures without people that are named; the JSON has all."""


def people(
    context: typer.Context,
    source: Annotated[str, typer.Argument(help="Picture, folder or glob (quoted).")],
    whole: Annotated[Path | None, typer.Option("--global", help="Network for the whole picture.")] = None,
    local: Annotated[
        list[Path] | None, typer.Option("--local", help="Network for one person's box; repeatable.")
    ] = None,
    instances: Annotated[
        Path | None, typer.Option(help="Who is where: COCO JSON, or a folder of <name>.png with person ids.")
    ] = None,
    detector: Annotated[
        str | None, typer.Option(help="maskrcnn: look for people with torchvision (needs torch).")
    ] = None,
    detector_weights: Annotated[
        Path | None, typer.Option(help="Its weights. Default: COCO's, downloaded once.")
    ] = None,
    output: Annotated[Path, typer.Option("-o", help="Folder for the results.")] = Path("people"),
    save: Annotated[str, typer.Option(help="What to write, comma-separated: overlay, results.")] = "overlay,results",
    threshold: Annotated[
        float | None, typer.Option(help="Smallest score of a person. Default: 0.7, with --mask-nms 0.5.")
    ] = None,
    nms: Annotated[bool, typer.Option("--mask-nms", help="Disjoint masks by score, as SCHP does.")] = False,
    part_score: Annotated[
        Literal["logit", "weighted"], typer.Option(help="logit (M-CE2P), or weighted by the person's score (SCHP).")
    ] = "logit",
    refine: Annotated[
        bool, typer.Option("--refine/--no-refine", help="Grow parts into what the masks left out.")
    ] = True,
    flip: Annotated[bool, typer.Option("--flip", help="Average with the mirrored picture.")] = False,
    backend: Backend = "auto",
    device: Device = "auto",
    threads: Threads = None,
    opacity: Opacity = 0.5,
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="Keep results that exist and write the others.")
    ] = False,
    overwrite: Overwrite = False,
    json: Json = None,
) -> None:
    """Parse pictures with several people: classes, people, and each person's parts."""
    refuse_ignored(context, PEOPLE)
    run(
        source,
        output,
        json=json,
        overwrite=overwrite,
        whole=whole,
        local=tuple(local or ()),
        instances=instances,
        detector=detector,
        detector_weights=detector_weights,
        save=frozenset(filter(None, save.split(","))),
        threshold=threshold,
        nms=nms,
        part_score=part_score,
        refine=refine,
        flip=flip,
        backend=backend,
        device=device,
        threads=threads,
        opacity=opacity,
        existing="skip" if skip_existing else "replace" if overwrite else "refuse",
    )


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
    from ce2p.api.people import parse_people

    from .console import remark, step_bars, write_json
    from .preflight import check_json

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
    from .console import say, table

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
