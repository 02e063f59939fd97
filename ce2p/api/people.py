"""Pictures with several people, to each person's parts on disk: `ce2p.parse_people`.

Needs torch only where torchvision looks for the people.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ce2p.errors import ConfigError
from ce2p_runtime import MediaError
from ce2p_runtime.base.progress import Progress, without_progress
from ce2p_runtime.media.result_plan import Existing, ResultPlan, plan_results
from ce2p_runtime.media.sources import Source, SourceFrame, open_source
from ce2p_runtime.people import Instances, PeopleParser, PeopleResult, PeopleWriter, Person, open_instances
from ce2p_runtime.people.instances import mask_nms, select_people
from ce2p_runtime.people.part_instances import Confidence
from ce2p_runtime.people.result_files import result_files

from .notes import note

_SAVED = ("overlay", "results")

Finder = Callable[[SourceFrame], "tuple[list[Person] | None, int]"]
"""The people of a picture, None where nothing is known of it; and how many were left out because of their score."""


@dataclass(frozen=True)
class ParsedPeople:
    """What a run parsed and wrote."""

    source: str
    expected: int | None
    parsed: int
    problems: tuple[str, ...]
    """What could not be read, a line each."""
    output: str
    people: int
    parts: int
    people_left_out: int
    """Whose score was too low, or who were covered by others."""
    threshold: float
    without_instances: tuple[str, ...]
    """Pictures that the source of people does not know."""
    without_people: tuple[str, ...]
    """Pictures known to it, with nobody left to parse."""
    pictures_by_people: Mapping[str, int]
    """Number of people -> pictures with so many."""
    instances_of_other_pictures: int
    instances_of_other_categories: int
    median_ms: Mapping[str, float]
    """By stage, for one picture."""

    def require(self) -> None:
        """Raise MediaError, in one line, where something could not be read."""
        if self.problems:
            raise MediaError(f"{self.problems[0]}; {self.parsed} parsed and kept in {self.output}/")

    def to_dict(self) -> dict[str, Any]:
        """Plain types, for JSON."""
        return dataclasses.asdict(self)


def parse_people(
    source: str | Path,
    output: str | Path = "people",
    *,
    whole: str | Path | None = None,
    local: Sequence[str | Path] = (),
    instances: str | Path | None = None,
    detector: str | None = None,
    detector_weights: str | Path | None = None,
    save: Collection[str] = _SAVED,
    threshold: float | None = None,
    nms: bool = False,
    part_score: Confidence = "logit",
    refine: bool = True,
    flip: bool = False,
    backend: str = "auto",
    device: str = "auto",
    threads: int | None = None,
    opacity: float = 0.5,
    existing: Existing = "refuse",
    progress: Progress = without_progress,
) -> ParsedPeople:
    """Parse pictures with several people: classes, people, and each person's parts, in M-CE2P's layout.

        ce2p.parse_people("photos/", whole="global.onnx", local=["local.onnx"], instances="people.json").require()

    - `whole`: network for the whole picture, `local`: those for one person's box; at least one of them.
    - Who is where: `instances`, COCO JSON or a folder of <name>.png with person ids; or `detector`, "maskrcnn" of
      torchvision with `detector_weights` (None: COCO's, downloaded once). `threshold`: smallest score of a person
      (None: 0.7, with `nms` 0.5). `nms`: disjoint masks by score, as SCHP does.
    - `part_score`: logit (M-CE2P), or weighted by the person's score (SCHP). `refine`: grow parts into what the masks
      left out. `flip`: average with the mirrored picture.
    - `save`: overlay, results. `existing`: results that are there are refused, skipped or replaced.

    Raises ConfigError and CE2PRuntimeError for what can be known before the first picture is parsed. Whatever could be
    read is parsed and kept; the rest is in `problems`.
    """
    _check(instances, detector, detector_weights, part_score, save)
    if whole is None and not local:
        raise ConfigError("no network; expected --global MODEL, --local MODEL or both")
    output, given = Path(output), None if instances is None else Path(instances)
    inputs = [Path(path) for path in (whole, *local, given) if path is not None]
    if given is not None and given.is_dir():
        inputs += given.glob("*.png")
    with ExitStack() as stack:
        opened = stack.enter_context(open_source(source, output))
        if opened.video is not None:
            raise MediaError(
                f"{opened.name}: is a video, `ce2p people` takes pictures only; save its frames as pictures"
            )
        names = _names(opened.files)
        targets = {path: _targets(output, name, save) for name, path in names.items()}
        plan = plan_results(targets, existing, [*opened.files, *inputs], output)
        opened.leave_out(plan.done)
        for text in opened.notes:
            note(f"note: {text}")
        if plan.done:
            note(f"{len(plan.done)} pictures have their results already, which are kept")
        known = None if given is None else open_instances(given)
        parser = PeopleParser.open(
            whole, local, backend=backend, device=device, threads=threads, flip=flip, grow=refine, confidence=part_score
        )
        stack.enter_context(parser)
        least_score = threshold if threshold is not None else (0.5 if nms else 0.7)
        finder = _from_file(known, least_score) if known is not None else _from_detector(detector_weights, device)
        for text in parser.descriptions():
            note(text)
        if any(network.metadata.untrained for network in parser.networks):
            note("note: weights among these are untrained: the labels mean nothing")
        run = _Run(
            source=opened,
            plan=plan,
            parser=parser,
            finder=finder,
            choose=mask_nms if nms else select_people,
            least_score=least_score,
            opacity=opacity,
        )
        run.parse(output, progress)
        return run.parsed(output, known, names)


def _check(
    instances: str | Path | None, detector: str | None, weights: object, part_score: str, save: Collection[str]
) -> None:
    """Raises ConfigError for options that contradict each other."""
    if (instances is None) == (detector is None):
        raise ConfigError("people come from --instances FILE_OR_FOLDER or --detector maskrcnn; name one of the two")
    if detector not in (None, "maskrcnn"):
        raise ConfigError(f"unknown detector {detector!r}; expected maskrcnn")
    if weights is not None and detector is None:
        raise ConfigError("--detector-weights is for --detector maskrcnn; add it or leave the weights out")
    if part_score not in ("logit", "weighted"):
        raise ConfigError(f"unknown part score {part_score!r}; expected logit or weighted")
    unknown = set(save) - set(_SAVED)
    if unknown or not save:
        what = ", ".join(sorted(unknown)) or "nothing"
        raise ConfigError(f"cannot save {what!r}; expected some of {', '.join(_SAVED)}")


def _names(files: Iterable[Path]) -> dict[str, Path]:
    """The pictures by the names that results and instances know them by. Raises MediaError where two share one."""
    names: dict[str, Path] = {}
    for path in files:
        if path.stem in names:
            raise MediaError(
                f"{path}: its results would get the same name as those of {names[path.stem]}; parse the two separately"
            )
        names[path.stem] = path
    return names


def _targets(output: Path, name: str, save: Collection[str]) -> dict[str, Path]:
    """Every file that is to be written for a picture, by kind."""
    files = result_files(output, name) if "results" in save else []
    targets = {f"{file.parent.name}{file.suffix}": file for file in files}
    return targets | ({"overlay": output / "overlays" / f"{name}.jpg"} if "overlay" in save else {})


def _from_file(instances: Instances, least_score: float) -> Finder:
    def find(frame: SourceFrame) -> tuple[list[Person] | None, int]:
        name, size = frame.path.stem, (frame.image.shape[0], frame.image.shape[1])
        return instances.people(name, size, least_score), instances.below(name, least_score)

    return find


def _from_detector(weights: str | Path | None, device: str) -> Finder:
    from ce2p.detection import MaskRCNN

    if weights is None:
        note("Mask R-CNN: without --detector-weights torchvision's COCO weights are used, downloaded once (180 MB)")
    detector = MaskRCNN(None if weights is None else Path(weights), device)
    note(detector.description)

    def find(frame: SourceFrame) -> tuple[list[Person] | None, int]:
        found = detector(frame.image, threshold=0.0)  # so that those left out below are counted
        return [Person(person.box, person.mask, person.score) for person in found], 0

    return find


@dataclass
class _Run:
    """Pictures on their way to their results, and what is counted on the way."""

    source: Source
    plan: ResultPlan
    parser: PeopleParser
    finder: Finder
    choose: Callable[[Sequence[Person], float], list[Person]]
    """`select_people` or `mask_nms`."""
    least_score: float
    opacity: float
    timings: list[dict[str, float]] = field(default_factory=list)
    people: int = 0
    parts: int = 0
    below: int = 0
    unknown: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)
    per_picture: Counter[int] = field(default_factory=Counter)

    def parse(self, output: Path, progress: Progress) -> None:
        """Every picture of the plan through finder and parser, and its results to disk."""
        kinds = {kind for planned in self.plan.targets.values() for kind in planned}
        with ExitStack() as stack:
            writer = stack.enter_context(PeopleWriter(output)) if kinds - {"overlay"} else None
            for frame in self.source:
                found, below = self.finder(frame)
                try:
                    result = self.parser(frame.image, self._chosen(found or []))
                except ValueError as error:  # more people than a result holds, or boxes and masks that do not fit
                    raise MediaError(f"{frame.path}: {error}") from error
                # The files of a picture's results describe each other: where one is missing all are written.
                missing = self.plan.targets[frame.path]
                if writer is not None and missing.keys() - {"overlay"}:
                    writer.write(frame.path.stem, result)
                if "overlay" in missing:
                    result.save_overlay(missing["overlay"], frame.image, self.opacity)
                self._count(frame, found, below, result)
                progress("parsing", len(self.timings), len(self.plan.targets))
        if self.plan.targets and not self.timings:
            raise MediaError((*self.source.problems, f"{self.source.name}: holds no picture that can be read")[0])

    def _chosen(self, found: list[Person]) -> list[Person]:
        """Raises ValueError."""
        try:
            return self.choose(found, self.least_score)
        except ValueError as error:
            raise ValueError(f"{error}; leave out --mask-nms, or give masks") from error

    def _count(self, frame: SourceFrame, found: list[Person] | None, below: int, result: PeopleResult) -> None:
        self.timings.append(result.timings)
        self.people += len(result.people)
        self.parts += len(result.part_instances)
        self.below += below + len(found or []) - len(result.people)
        self.per_picture[len(result.people)] += 1
        if found is None:
            self.unknown.append(frame.path.name)
        elif not result.people:
            self.empty.append(frame.path.name)

    def parsed(self, output: Path, instances: Instances | None, names: Collection[str]) -> ParsedPeople:
        return ParsedPeople(
            source=self.source.name,
            expected=self.source.total,
            parsed=len(self.timings),
            problems=tuple(self.source.problems),
            output=str(output),
            people=self.people,
            parts=self.parts,
            people_left_out=self.below,
            threshold=self.least_score,
            without_instances=tuple(self.unknown),
            without_people=tuple(self.empty),
            pictures_by_people={str(number): self.per_picture[number] for number in sorted(self.per_picture)},
            instances_of_other_pictures=len(instances.names() - set(names)) if instances is not None else 0,
            instances_of_other_categories=instances.left_out if instances is not None else 0,
            median_ms=_stage_medians(self.timings),
        )


def _stage_medians(timings: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The median of each stage's milliseconds; empty without a frame."""
    return {stage: statistics.median(timing[stage] for timing in timings) for stage in (timings or [{}])[0]}
