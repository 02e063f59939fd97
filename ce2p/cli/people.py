"""`ce2p people`: parse pictures with several people. Needs torch only where torch looks for the people."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ce2p_runtime import MediaError
from ce2p_runtime.averaging import AveragedBackend
from ce2p_runtime.backends import Backend, open_backend
from ce2p_runtime.people import Instances, PeopleParser, PeopleWriter, Person, mask_nms, open_instances, select_people
from ce2p_runtime.people.part_instances import Confidence
from ce2p_runtime.people.result import PeopleResult
from ce2p_runtime.pictures import find_pictures
from ce2p_runtime.sources import Source, SourceFrame, open_source

from ..errors import ConfigError
from .console import progress_bar, remark, say, table, write_json

__all__ = ["SAVE_CHOICES", "PeopleRequest", "run"]

SAVE_CHOICES = ("overlay", "results")
_LISTED = 5
"""Pictures without people that are named in the summary; the JSON has all."""

Finder = Callable[[SourceFrame], "list[Person] | None"]
"""The people of a picture; None where nothing is known of it."""


@dataclass(frozen=True)
class PeopleRequest:
    """What was asked for, as the options of `ce2p people` say it."""

    source: str
    whole: Path | None
    local: tuple[Path, ...] = ()
    instances: Path | None = None
    detector: str | None = None
    detector_weights: Path | None = None
    output: Path = Path("people")
    save: frozenset[str] = frozenset(SAVE_CHOICES)
    threshold: float | None = None
    """Smallest score; None: 0.7, with mask NMS 0.5, as published."""
    nms: bool = False
    part_score: Confidence = "logit"
    refine: bool = True
    flip: bool = False
    backend: str = "auto"
    device: str = "auto"
    threads: int | None = None
    opacity: float = 0.5
    json: str | None = None

    @property
    def least_score(self) -> float:
        return self.threshold if self.threshold is not None else (0.5 if self.nms else 0.7)


@dataclass
class _Tally:
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


def run(request: PeopleRequest) -> None:
    """Parse and report. Whatever could be read is parsed and kept; raises MediaError at the end if that was not all."""
    _check(request)
    with ExitStack() as stack:
        source = stack.enter_context(open_source(request.source))
        if source.video is not None:
            raise MediaError(
                f"{source.name}: is a video, `ce2p people` takes pictures only; save its frames as pictures"
            )
        names = _names(request.source)
        instances = open_instances(request.instances) if request.instances is not None else None
        parser = stack.enter_context(_open_parser(request))
        finder = _from_file(instances) if instances is not None else _from_detector(request)
        for text in _described(parser, request):
            remark(text)
        tally = _parse(request, source, parser, finder)
        summary = _summary(request, source, tally, instances, names)
        if request.json:
            write_json(summary, request.json)
        if request.json != "-":
            _report(request, summary)
        if source.problems:
            for problem in source.problems[1:]:
                remark(f"also: {problem}")
            raise MediaError(f"{source.problems[0]}; {source.delivered} parsed and kept in {request.output}/")


def _check(request: PeopleRequest) -> None:
    """Raises ConfigError for options that contradict each other."""
    if (request.instances is None) == (request.detector is None):
        raise ConfigError("where the people are comes from --instances FILE_OR_FOLDER or --detector maskrcnn; name one")
    if request.detector not in (None, "maskrcnn"):
        raise ConfigError(f"unknown detector {request.detector!r}; expected maskrcnn")
    if request.detector_weights is not None and request.detector is None:
        raise ConfigError("--detector-weights is for --detector maskrcnn; add it or leave the weights out")
    if request.part_score not in ("logit", "weighted"):
        raise ConfigError(f"unknown part score {request.part_score!r}; expected logit or weighted")
    if request.whole is None and not request.local:
        raise ConfigError("no network; expected --global MODEL, --local MODEL or both")
    unknown = request.save - set(SAVE_CHOICES)
    if unknown or not request.save:
        what = ", ".join(sorted(unknown)) or "nothing"
        raise ConfigError(f"cannot save {what!r}; expected some of {', '.join(SAVE_CHOICES)}")


def _names(source: str) -> dict[str, Path]:
    """The pictures by the names that results and instances know them by. Raises MediaError where two share one."""
    names: dict[str, Path] = {}
    for path in find_pictures(source):
        if path.stem in names:
            raise MediaError(
                f"{path}: its results would have the name of those of {names[path.stem]}; parse the two apart"
            )
        names[path.stem] = path
    return names


def _open_parser(request: PeopleRequest) -> PeopleParser:
    """The networks, each with flipping if asked for."""
    with ExitStack() as stack:
        opened: list[Backend] = []
        for path in (*([request.whole] if request.whole is not None else []), *request.local):
            backend = open_backend(path, request.backend, request.device, request.threads)
            stack.callback(backend.close)
            opened.append(AveragedBackend(backend, flip=True) if request.flip else backend)
        whole = opened.pop(0) if request.whole is not None else None
        parser = PeopleParser(whole, opened, grow=request.refine, confidence=request.part_score)
        stack.pop_all()
        return parser


def _from_file(instances: Instances) -> Finder:
    def find(frame: SourceFrame) -> list[Person] | None:
        return instances.people(frame.path.stem, (frame.image.shape[0], frame.image.shape[1]))

    return find


def _from_detector(request: PeopleRequest) -> Finder:
    from ce2p.detection import MaskRCNN

    if request.detector_weights is None:
        remark("Mask R-CNN: without --detector-weights torchvision's COCO weights are used, downloaded once (180 MB)")
    detector = MaskRCNN(request.detector_weights, request.device)
    remark(detector.description)

    def find(frame: SourceFrame) -> list[Person] | None:
        found = detector(frame.image, threshold=0.0)  # so that those left out below are counted
        return [Person(person.box, person.mask, person.score) for person in found]

    return find


def _described(parser: PeopleParser, request: PeopleRequest) -> list[str]:
    paths = [*([request.whole] if request.whole is not None else []), *request.local]
    backends = [*([parser.whole] if parser.whole is not None else []), *parser.local]
    roles = ["global"] * (request.whole is not None) + ["local"] * len(request.local)
    lines = []
    for role, path, backend in zip(roles, paths, backends, strict=True):
        metadata = backend.metadata
        height, width = metadata.input_size
        lines.append(
            f"{role}: {path.name}: {metadata.family}, {metadata.num_classes} classes ({metadata.dataset}), "
            f"{height}x{width}, {metadata.precision}, {metadata.weights}; {backend.name} on {backend.device}"
        )
    return lines


def _parse(request: PeopleRequest, source: Source, parser: PeopleParser, finder: Finder) -> _Tally:
    """Every picture through finder and parser, and its results to disk."""
    tally = _Tally()
    with ExitStack() as stack:
        writer = stack.enter_context(PeopleWriter(request.output)) if "results" in request.save else None
        progress = stack.enter_context(progress_bar("pictures"))
        task = progress.add_task("parsing", total=source.total, note="")
        for frame in source:
            found = finder(frame)
            people = _chosen(request, frame, found or [])
            result = parser(frame.image, people)
            if writer is not None:
                writer.write(frame.path.stem, result)
            if "overlay" in request.save:
                target = request.output / "overlays" / f"{frame.path.stem}.jpg"
                result.save_overlay(target, frame.image, request.opacity)
            _count(tally, frame, found, result)
            progress.advance(task)
    if not tally.timings:
        raise MediaError(source.problems[0] if source.problems else f"{source.name}: held no picture")
    return tally


def _chosen(request: PeopleRequest, frame: SourceFrame, found: list[Person]) -> list[Person]:
    if not request.nms:
        return select_people(found, request.least_score)
    try:
        return mask_nms(found, request.least_score)
    except ValueError as error:
        raise MediaError(f"{frame.path}: {error}; leave --mask-nms out or bring masks") from error


def _count(tally: _Tally, frame: SourceFrame, found: list[Person] | None, result: PeopleResult) -> None:
    tally.timings.append(result.timings)
    tally.people += len(result.people)
    tally.parts += len(result.part_instances)
    tally.below += len(found or []) - len(result.people)
    tally.per_picture[len(result.people)] += 1
    if found is None:
        tally.unknown.append(frame.path.name)
    elif not result.people:
        tally.empty.append(frame.path.name)


def _summary(
    request: PeopleRequest, source: Source, tally: _Tally, instances: Instances | None, names: dict[str, Path]
) -> dict[str, Any]:
    return {
        "source": source.name,
        "expected": source.total,
        "parsed": len(tally.timings),
        "problems": source.problems,
        "output": str(request.output),
        "people": tally.people,
        "parts": tally.parts,
        "people_left_out": tally.below,
        "threshold": request.least_score,
        "without_instances": tally.unknown,
        "without_people": tally.empty,
        "pictures_by_people": {str(number): tally.per_picture[number] for number in sorted(tally.per_picture)},
        "instances_of_other_pictures": len(instances.names() - set(names)) if instances is not None else 0,
        "instances_of_other_categories": instances.left_out if instances is not None else 0,
        "median_ms": {
            stage: statistics.median(timing[stage] for timing in tally.timings) for stage in tally.timings[0]
        },
    }  # fmt: skip


def _report(request: PeopleRequest, summary: dict[str, Any]) -> None:
    stages = ", ".join(f"{stage} {value:.1f}" for stage, value in summary["median_ms"].items())
    unit = "picture" if summary["parsed"] == 1 else "pictures"
    say(f"parsed {summary['parsed']} {unit} to {summary['output']}/ (median ms per picture: {stages})")
    rows = [[number, str(pictures)] for number, pictures in summary["pictures_by_people"].items()]
    table(f"{summary['people']} people, {summary['parts']} parts", ["people", "pictures"], rows)
    if summary["people_left_out"]:
        reason = f"score below {request.least_score:g}" + (" or covered by others" if request.nms else "")
        say(f"left out: {summary['people_left_out']} ({reason})")
    for key, text in (
        ("without_instances", f"not in {request.instances}: global parsing only"),
        ("without_people", "nobody found: global parsing only"),
    ):
        listed = summary[key]
        if listed:
            more = f" and {len(listed) - _LISTED} more" if len(listed) > _LISTED else ""
            say(f"{text}: {', '.join(listed[:_LISTED])}{more}")
    if summary["instances_of_other_pictures"]:
        say(f"{request.instances}: also holds {summary['instances_of_other_pictures']} pictures that were not parsed")
    if summary["instances_of_other_categories"]:
        say(f"{request.instances}: {summary['instances_of_other_categories']} entries are no people (category_id)")
