"""`ce2p parse`: run a model over pictures or a video and write what was asked for. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ce2p.errors import ConfigError
from ce2p_runtime import HumanParser, MediaError, ParsingResult
from ce2p_runtime.media.pictures import MAX_PIXELS, WHITE
from ce2p_runtime.media.result_names import ResultNames, check_save, names_one_file, single_result
from ce2p_runtime.media.result_plan import Existing, ResultPlan, plan_results
from ce2p_runtime.media.sinks import ResultStyle, VideoSink, sink_for
from ce2p_runtime.media.sources import Source, open_source
from ce2p_runtime.process.interrupts import INTERRUPTS, interrupt_status

from .console import progress_bar, quietly, remark, write_json
from .parse_report import Tally, report, summary
from .preflight import check_json

__all__ = ["ParseRequest", "run"]

_SAVED = frozenset({"overlay", "labels"})
"""Where --save is not given and the output is a folder."""


@dataclass(frozen=True)
class ParseRequest:
    """The command's options."""

    source: str
    model: Path
    output: str = "parsed"
    """A folder; or, by its suffix, the one file to write."""
    save: tuple[str, ...] | None = None
    skip_existing: bool = False
    overwrite: bool = False
    whole_names: bool = False
    grey_labels: bool = False
    classes: tuple[str, ...] = ()
    opacity: float = 0.5
    max_pixels: int = MAX_PIXELS
    background: tuple[int, int, int] = WHITE
    backend: str = "auto"
    device: str = "auto"
    threads: int | None = None
    trust_engine: bool = False
    quiet: bool = False
    json: str | None = None


def run(request: ParseRequest) -> None:
    """Parse and report. Whatever could be read is parsed and kept; raises MediaError at the end if that was not all.

    What cannot be done is refused before anything is parsed, where that can be known. After an interrupt what was done
    is reported, too, before the interrupt goes on. Raises ConfigError and CE2PRuntimeError.
    """
    with quietly(request.quiet):
        _run(request)


def _run(request: ParseRequest) -> None:
    save = frozenset(request.save) if request.save is not None else None
    if save is not None:
        check_save(save)
    check_json(request.json, [request.source, request.model], request.overwrite)
    output, single = _output(request.output)
    with _open(request, output, single) as source, ExitStack() as closing:
        targets = _targets(request, source, output, save, single)
        existing: Existing = "skip" if request.skip_existing else "replace" if request.overwrite else "refuse"
        plan = plan_results(targets, existing, [*source.files, request.model], output)
        source.leave_out(plan.done)
        said = _say_notes(source, 0)
        tally, parser = Tally(), None
        interrupt: BaseException | None = None
        if plan.targets:
            parser = closing.enter_context(_parser(request))
            remark(str(parser))
            if parser.metadata.untrained:
                remark("note: these weights are untrained: the labels mean nothing")
            _check_classes(request.classes, parser)
            interrupt = _parse_until_interrupted(request, parser, source, plan, tally)
        _say_notes(source, said)
        document = summary(source, output, parser=parser, tally=tally, targets=targets, done=plan.done)
        if request.json:
            write_json(document, request.json, "parse")
        where = str(output) if single else f"{output}/"
        if request.json != "-":
            report(document, where)
        if interrupt is not None:
            raise interrupt
        if source.problems:
            _raise_problems(source, where)


def _output(name: str) -> tuple[Path, bool]:
    """Where results go, and whether that is one file. Raises MediaError for an empty name."""
    if not name.strip():
        raise MediaError("-o: the name is empty, expected a folder or a file for the results; give one")
    return Path(name), names_one_file(Path(name))


def _open(request: ParseRequest, output: Path, single: bool) -> Source:
    return open_source(
        request.source, None if single else output, max_pixels=request.max_pixels, background=request.background
    )


def _parser(request: ParseRequest) -> HumanParser:
    return HumanParser(
        request.model,
        backend=request.backend,
        device=request.device,
        threads=request.threads,
        trust_engine=request.trust_engine,
    )


def _targets(
    request: ParseRequest, source: Source, output: Path, save: frozenset[str] | None, single: bool
) -> Mapping[Path, Mapping[str, Path]]:
    """All results by source file. Raises MediaError."""
    if single:
        return {source.files[0]: single_result(output, save, source)}
    return ResultNames(output, source, save or _SAVED, whole_names=request.whole_names).of_all(source.files)


def _check_classes(names: tuple[str, ...], parser: HumanParser) -> None:
    """Raise ConfigError for a class that the model does not know."""
    metadata = parser.metadata
    try:
        ParsingResult(np.zeros((1, 1), np.uint8), metadata.class_names, metadata.palette).mask(*(names or (0,)))
    except KeyError as error:
        raise ConfigError(f"--classes: {error.args[0]}") from error


def _parse_until_interrupted(
    request: ParseRequest, parser: HumanParser, source: Source, plan: ResultPlan, tally: Tally
) -> BaseException | None:
    """`_parse`, and the interrupt that ended it early, if one did."""
    try:
        _parse(request, parser, source, plan, tally)
    except BaseException as error:
        if not isinstance(error, INTERRUPTS) and interrupt_status() is None:  # libraries make other errors of it
            raise
        tally.interrupted = True
        return error
    return None


def _parse(request: ParseRequest, parser: HumanParser, source: Source, plan: ResultPlan, tally: Tally) -> None:
    """Every frame through parser and sink."""
    style = ResultStyle(request.opacity, request.grey_labels, request.classes)
    total = None if source.estimate is None else source.estimate - len(plan.done)
    sink = sink_for(plan, source, style)
    try:
        with sink, progress_bar("frames") as progress:
            task = progress.add_task("parsing", total=total, note="")
            for frame, result in parser.parse_frames(source):
                sink.write(frame, result)
                tally.add(frame, result)
                progress.advance(task)
            if source.video is not None and not tally.timings:
                raise MediaError(source.problems[0] if source.problems else f"{source.name}: held no frame")
    except MediaError as error:
        if source.video is not None or not tally.timings:
            raise
        raise MediaError(f"{error}; {len(tally.timings)} parsed and kept in {request.output}/") from error
    finally:  # also of a video that ends where it was interrupted
        for text in sink.remarks if isinstance(sink, VideoSink) else []:
            remark(f"note: {text}")


def _say_notes(source: Source, said: int) -> int:
    """Say what the source has to tell beyond the first `said` lines; how many there are now."""
    for text in source.notes[said:]:
        remark(f"note: {text}")
    return len(source.notes)


def _raise_problems(source: Source, where: str) -> None:
    for problem in source.problems[1:]:
        remark(f"also: {problem}")
    raise MediaError(f"{source.problems[0]}; {source.delivered} parsed and kept in {where}")
