"""`ce2p people`: parse pictures with several people. Needs torch only where torch looks for the people."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from ce2p_runtime import MediaError
from ce2p_runtime.backends import Backend, open_backend
from ce2p_runtime.backends.averaging import AveragedBackend
from ce2p_runtime.media.result_plan import Existing, ResultPlan, plan_results
from ce2p_runtime.media.sources import Source, SourceFrame, open_source
from ce2p_runtime.people import Instances, PeopleParser, PeopleWriter, Person, mask_nms, open_instances, select_people
from ce2p_runtime.people.part_instances import Confidence
from ce2p_runtime.people.result_files import result_files

from ..errors import ConfigError
from .console import progress_bar, remark, write_json
from .people_report import Tally, report, summary
from .preflight import check_json

__all__ = ["SAVE_CHOICES", "PeopleRequest", "run"]

SAVE_CHOICES = ("overlay", "results")

Finder = Callable[[SourceFrame], "tuple[list[Person] | None, int]"]
"""The people of a picture, None where nothing is known of it; and how many were left out because of their score."""


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
    skip_existing: bool = False
    overwrite: bool = False

    @property
    def existing(self) -> Existing:
        """What to do about results that are there already."""
        return "skip" if self.skip_existing else "replace" if self.overwrite else "refuse"

    @property
    def least_score(self) -> float:
        return self.threshold if self.threshold is not None else (0.5 if self.nms else 0.7)


def run(request: PeopleRequest) -> None:
    """Parse and report. Whatever could be read is parsed and kept; raises MediaError at the end if that was not all."""
    _check(request)
    inputs = [path for path in (request.whole, *request.local, request.instances) if path is not None]
    if request.instances is not None and request.instances.is_dir():
        inputs += request.instances.glob("*.png")
    check_json(request.json, [request.source, *inputs], request.overwrite)
    with ExitStack() as stack:
        source = stack.enter_context(open_source(request.source, request.output))
        if source.video is not None:
            raise MediaError(
                f"{source.name}: is a video, `ce2p people` takes pictures only; save its frames as pictures"
            )
        names = _names(source.files)
        plan = plan_results(_targets(request, names), request.existing, [*source.files, *inputs], request.output)
        source.leave_out(plan.done)
        for note in source.notes:
            remark(f"note: {note}")
        if plan.done:
            remark(f"{len(plan.done)} pictures have their results already, which are kept")
        instances = open_instances(request.instances) if request.instances is not None else None
        parser = stack.enter_context(_open_parser(request))
        finder = _from_file(instances, request) if instances is not None else _from_detector(request)
        for text in _described(parser, request):
            remark(text)
        if any(network.metadata.untrained for network in (parser.whole, *parser.local) if network is not None):
            remark("note: weights among these are untrained: the labels mean nothing")
        tally = _parse(request, source, plan, parser, finder)
        document = summary(source, tally, instances, names, request.output, request.least_score)
        if request.json:
            write_json(document, request.json, "people")
        if request.json != "-":
            report(document, request.instances, request.nms)
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


def _names(files: Iterable[Path]) -> dict[str, Path]:
    """The pictures by the names that results and instances know them by. Raises MediaError where two share one."""
    names: dict[str, Path] = {}
    for path in files:
        if path.stem in names:
            raise MediaError(
                f"{path}: its results would have the name of those of {names[path.stem]}; parse the two apart"
            )
        names[path.stem] = path
    return names


def _targets(request: PeopleRequest, names: Mapping[str, Path]) -> dict[Path, dict[str, Path]]:
    """Every file that is to be written, by picture and kind."""
    targets: dict[Path, dict[str, Path]] = {}
    for name, path in names.items():
        files = result_files(request.output, name) if "results" in request.save else []
        targets[path] = {f"{file.parent.name}{file.suffix}": file for file in files}
        if "overlay" in request.save:
            targets[path]["overlay"] = _overlay(request, name)
    return targets


def _overlay(request: PeopleRequest, name: str) -> Path:
    return request.output / "overlays" / f"{name}.jpg"


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


def _from_file(instances: Instances, request: PeopleRequest) -> Finder:
    def find(frame: SourceFrame) -> tuple[list[Person] | None, int]:
        name, size = frame.path.stem, (frame.image.shape[0], frame.image.shape[1])
        people = instances.people(name, size, request.least_score)
        return people, instances.below(name, request.least_score)

    return find


def _from_detector(request: PeopleRequest) -> Finder:
    from ce2p.detection import MaskRCNN

    if request.detector_weights is None:
        remark("Mask R-CNN: without --detector-weights torchvision's COCO weights are used, downloaded once (180 MB)")
    detector = MaskRCNN(request.detector_weights, request.device)
    remark(detector.description)

    def find(frame: SourceFrame) -> tuple[list[Person] | None, int]:
        found = detector(frame.image, threshold=0.0)  # so that those left out below are counted
        return [Person(person.box, person.mask, person.score) for person in found], 0

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


def _parse(request: PeopleRequest, source: Source, plan: ResultPlan, parser: PeopleParser, finder: Finder) -> Tally:
    """Every picture of the plan through finder and parser, and its results to disk."""
    tally = Tally()
    with ExitStack() as stack:
        writer = stack.enter_context(PeopleWriter(request.output)) if "results" in request.save else None
        progress = stack.enter_context(progress_bar("pictures"))
        task = progress.add_task("parsing", total=source.total, note="")
        for frame in source:
            found, below = finder(frame)
            try:
                result = parser(frame.image, _chosen(request, found or []))
            except ValueError as error:  # more people than a result holds, or boxes and masks that do not fit
                raise MediaError(f"{frame.path}: {error}") from error
            # The files of a picture's results describe each other: where one is missing all are written.
            missing = plan.targets[frame.path].keys()
            if writer is not None and missing - {"overlay"}:
                writer.write(frame.path.stem, result)
            if "overlay" in missing:
                result.save_overlay(_overlay(request, frame.path.stem), frame.image, request.opacity)
            tally.add(frame, found, below, result)
            progress.advance(task)
    if plan.targets and not tally.timings:
        raise MediaError(source.problems[0] if source.problems else f"{source.name}: held no picture")
    return tally


def _chosen(request: PeopleRequest, found: list[Person]) -> list[Person]:
    """Raises ValueError."""
    if not request.nms:
        return select_people(found, request.least_score)
    try:
        return mask_nms(found, request.least_score)
    except ValueError as error:
        raise ValueError(f"{error}; leave --mask-nms out or bring masks") from error
