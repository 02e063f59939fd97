"""Pictures and videos to label maps, overlays, masks and cut-outs on disk: `ce2p.parse`. Needs no torch."""

from __future__ import annotations

import dataclasses
import statistics
from array import array
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ce2p.errors import ConfigError
from ce2p_runtime import HumanParser, MediaError, ParsingResult
from ce2p_runtime.base.progress import Progress, without_progress
from ce2p_runtime.media.live.frame_ledger import FrameCounts
from ce2p_runtime.media.live.kinds import LiveOptions
from ce2p_runtime.media.pictures import MAX_PIXELS, WHITE
from ce2p_runtime.media.result_names import ResultNames, check_save, names_one_file, single_result
from ce2p_runtime.media.result_plan import Existing, ResultPlan, plan_results
from ce2p_runtime.media.sinks import ResultStyle, VideoSink, sink_for
from ce2p_runtime.media.sources import Source, open_source
from ce2p_runtime.media.video_pipeline import VideoPipeline
from ce2p_runtime.process.interrupts import INTERRUPTS, interrupt_status

from .notes import note

_SAVED = frozenset({"overlay", "labels"})
"""Where nobody says what to save and the output is a folder."""


@dataclass(frozen=True)
class Parsed:
    """What a run parsed and wrote."""

    source: str
    expected: int | None
    """Frames; None where a video does not say."""
    parsed: int
    done_before: int
    """Pictures that had all their results already."""
    interrupted: bool
    problems: tuple[str, ...]
    """What could not be read, a line each."""
    notes: tuple[str, ...]
    skipped: Mapping[str, list[str]]
    """By kind: files that are no pictures, or cannot be read."""
    output: str
    backend: str | None
    """None, as the next two, where nothing was left to parse."""
    device: str | None
    weights: str | None
    median_ms: Mapping[str, float]
    """By stage, for one frame."""
    ledger: FrameCounts | None
    """What became of every frame of a video; None for pictures."""
    frames_with_class: Mapping[str, int]
    results: tuple[Mapping[str, str], ...]
    """For each source file whose results are there: `source`, and the file of each kind."""

    @property
    def where(self) -> str:
        """The output as a user reads it: a folder ends in a slash."""
        return self.output if names_one_file(Path(self.output)) else f"{Path(self.output)}/"

    def require(self) -> None:
        """Raise MediaError, in one line, where something could not be read."""
        if self.problems:
            raise MediaError(f"{self.problems[0]}; {self.parsed} parsed and kept in {self.where}")

    def to_dict(self) -> dict[str, Any]:
        """Plain types, for JSON."""
        return dataclasses.asdict(self)


def parse(
    source: str | Path,
    model: str | Path,
    output: str | Path = "parsed",
    *,
    save: Collection[str] | None = None,
    existing: Existing = "refuse",
    whole_names: bool = False,
    grey_labels: bool = False,
    classes: Collection[str] = (),
    opacity: float = 0.5,
    max_pixels: int = MAX_PIXELS,
    background: tuple[int, int, int] = WHITE,
    backend: str = "auto",
    device: str = "auto",
    threads: int | None = None,
    trust_engine: bool = False,
    live: LiveOptions | None = None,
    progress: Progress = without_progress,
    on_interrupt: Callable[[Parsed], object] = lambda parsed: None,
) -> Parsed:
    """Parse a picture, a folder with its sub-folders, a glob, a video or a live source, and write what is asked for.

        ce2p.parse("photos/", "lip_int8_473x473.onnx", "parsed", save=["overlay", "cutout"]).require()

    - `output`: a folder, in which results lie as the pictures do; or, by its suffix, the one file to write.
    - `save`: overlay, labels, masks, cutout; of videos overlay and labels (None: overlay and labels). `existing`:
      results that are there are refused, skipped or replaced. `whole_names` keeps a.jpg and a.png apart.
    - `grey_labels`: label PNGs without a palette. `classes`: of the cut-out (none named: all but the background).
      `opacity` of the overlay, 0 to 1. `background`: RGB behind transparent pictures. Pictures of more than
      `max_pixels` are problems.
    - `backend`, `device`, `threads` and `trust_engine`: as for `HumanParser`.
    - `live`: allows a camera, an address on the network and standard input (-), and says how to read them. Without it
      only files are opened, whatever the name.
    - `on_interrupt` is told what was done before KeyboardInterrupt, or a signal's exception, goes on.

    What cannot be done is refused before anything is parsed, where that can be known: ConfigError, CE2PRuntimeError.
    Whatever could be read is parsed and kept; the rest is in `problems`. Raises MediaError where nothing could be.
    """
    output = _output(output)
    single = names_one_file(output)
    kinds = None if save is None else frozenset(save)
    if kinds is not None:
        check_save(kinds)
    results_in = None if single else output
    with open_source(source, results_in, max_pixels=max_pixels, background=background, live=live) as opened:
        targets: Mapping[Path, Mapping[str, Path]]
        if single:
            targets = {opened.files[0]: single_result(output, kinds, opened)}
        else:
            targets = ResultNames(output, opened, kinds or _SAVED, whole_names=whole_names).of_all(opened.files)
        plan = plan_results(targets, existing, [*opened.files, Path(model)], output)
        opened.leave_out(plan.done)
        run = _Run(opened, plan, targets, output, ResultStyle(opacity, grey_labels, tuple(classes)))
        run.note_what_is_new()
        if plan.targets:
            with HumanParser(
                model, backend=backend, device=device, threads=threads, trust_engine=trust_engine
            ) as parser:
                run.parse(parser, progress)
        run.note_what_is_new()
        parsed = run.parsed()
    if run.interrupt is not None:
        on_interrupt(parsed)
        raise run.interrupt
    return parsed


def _output(name: str | Path) -> Path:
    """Where results go. Raises MediaError for an empty name, which would be the working folder."""
    if not str(name).strip():
        raise MediaError("-o: the name is empty, expected a folder or a file for the results; give one")
    return Path(name)


def _check_classes(names: Collection[str], parser: HumanParser) -> None:
    """Raise ConfigError for a class that the model does not know."""
    metadata = parser.metadata
    try:
        ParsingResult(np.zeros((1, 1), np.uint8), metadata.class_names, metadata.palette).mask(*(names or (0,)))
    except KeyError as error:
        raise ConfigError(f"--classes: {error.args[0]}") from error


@dataclass
class _Run:
    """A source on its way to its results, and what is counted on the way."""

    source: Source
    plan: ResultPlan
    targets: Mapping[Path, Mapping[str, Path]]
    """All results by source file, also those that were there before."""
    output: Path
    style: ResultStyle
    parser: HumanParser | None = None
    interrupt: BaseException | None = None
    """What ended it early."""
    _noted: int = 0
    _frames: int = 0
    _timings: dict[str, array[float]] = field(default_factory=dict)
    """Milliseconds of every frame by stage, 8 bytes each: a live source may send frames for days."""
    _present: Counter[str] = field(default_factory=Counter)
    _written: dict[Path, None] = field(default_factory=dict)
    """Source files with a frame that was parsed and written, in order."""

    def note_what_is_new(self) -> None:
        """Say what the source has to tell since the last call."""
        for text in self.source.notes[self._noted :]:
            note(f"note: {text}")
        self._noted = len(self.source.notes)

    def parse(self, parser: HumanParser, progress: Progress) -> None:
        """Every frame through parser and sink; an interrupt ends that early and is kept."""
        self.parser = parser
        note(str(parser))
        if parser.metadata.untrained:
            note("note: these weights are untrained: the labels mean nothing")
        _check_classes(self.style.classes, parser)
        try:
            self._parse(parser, progress)
        except BaseException as error:
            if not isinstance(error, INTERRUPTS) and interrupt_status() is None:  # libraries make other errors of it
                raise
            self.interrupt = error

    def _parse(self, parser: HumanParser, progress: Progress) -> None:
        source, total = self.source, max(0, (self.source.estimate or 0) - len(self.plan.done))
        sink = sink_for(self.plan, source, self.style)
        try:
            with VideoPipeline(source, parser, [sink]) as pipeline:
                for frame, result in pipeline:
                    self._frames += 1
                    for stage, milliseconds in result.timings.items():
                        self._timings.setdefault(stage, array("d")).append(milliseconds)
                    self._present.update(result.present().keys())
                    self._written[frame.path] = None
                    progress("parsing", self._frames, total)
                if source.video is not None and not self._frames:
                    raise MediaError((*source.problems, f"{source.name}: holds no frame that can be read")[0])
        except MediaError as error:
            if source.video is not None or not self._frames:
                raise
            raise MediaError(f"{error}; {self._frames} parsed and kept in {self.output}/") from error
        finally:  # also of a video that ends where it was interrupted
            for text in sink.remarks if isinstance(sink, VideoSink) else []:
                note(f"note: {text}")

    def parsed(self) -> Parsed:
        """What was done so far."""
        source, parser, listing = self.source, self.parser, self.source.listing
        skipped = {} if listing is None else {**listing.unreadable, **listing.others}
        return Parsed(
            source=source.name,
            expected=source.total,
            parsed=self._frames,
            done_before=len(self.plan.done),
            interrupted=self.interrupt is not None,
            problems=tuple(source.problems),
            notes=tuple(source.notes),
            skipped={kind: [str(file) for file in files] for kind, files in skipped.items()},
            output=str(self.output),
            backend=parser.backend.name if parser is not None else None,
            device=parser.backend.device if parser is not None else None,
            weights=parser.metadata.weights if parser is not None else None,
            median_ms={stage: statistics.median(values) for stage, values in self._timings.items()},
            ledger=None if source.video is None else source.ledger.counts,
            frames_with_class=dict(self._present),
            results=tuple(
                {"source": str(file), **{kind: str(target) for kind, target in self.targets[file].items()}}
                for file in source.files
                if file in self.plan.done or file in self._written
            ),
        )
