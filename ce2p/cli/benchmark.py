"""`ce2p benchmark`: exported models on the backends at hand, interleaved, with the gate beside every speed. Needs no
torch, unless the reference is a checkpoint.

docs/BENCHMARKS.md says how it measures and what the figures mean.
"""

from __future__ import annotations

import dataclasses
import datetime
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2

from ce2p.errors import ConfigError
from ce2p_runtime.errors import CE2PRuntimeError
from ce2p_runtime.files import atomic_path, file_sha256
from ce2p_runtime.machine import machine, source_commit
from ce2p_runtime.machine_state import MachineState, disturbances
from ce2p_runtime.text import install_hint
from ce2p_runtime.timing import REST, Timing, interleave_stages

from .benchmarking import report
from .benchmarking.accuracy import Accuracy, judge_all, unjudged
from .benchmarking.candidates import Candidate, NotMeasured, Opening, open_candidates
from .benchmarking.comparison import compare
from .benchmarking.document import Judgement, Result, Row, read_result
from .benchmarking.frames import Footage, drawn_footage, open_footage
from .benchmarking.plots import PLOTS, write_plots
from .benchmarking.terminal import show, show_comparison
from .benchmarking.throughput import batch_sweep, stream_rates, sweep_rounds
from .console import progress_bar, remark, write_json
from .preflight import check_json, check_pictures, check_report
from .reference import check_reference

__all__ = ["BenchmarkRequest", "run"]

_WRITTEN = ("benchmark.json", "benchmark.csv", "benchmark.md")
_FAILED = "failed_"
"""How the names of the pictures of failed candidates begin."""


@dataclass(frozen=True)
class BenchmarkRequest:
    """The command's options."""

    models: Sequence[Path]
    """Or one saved result, to be compared."""
    backends: tuple[str, ...] = ()
    """Empty: every installed one that takes the file."""
    device: str = "auto"
    size: tuple[int, int] = (1080, 1920)
    """(height, width) of the drawn frames."""
    rounds: int = 15
    warmup: int = 3
    threads: int | None = None
    batches: tuple[int, ...] = (1, 4, 16)
    """Batch sizes to measure the throughput of files with a dynamic batch at."""
    throughput: bool = True
    data: Path | None = None
    """Pictures for the gate; None: drawn ones."""
    source: Path | None = None
    """Video or pictures to time with; None: drawn frames."""
    reference: Path | None = None
    gate: bool = True
    output: Path | None = None
    """Folder for JSON, CSV, Markdown and plots."""
    json: str | None = None
    compare: Path | None = None
    """A saved result to compare with."""
    tolerance: float = 0.05
    """Times may differ by this share before they count as changed."""
    overwrite: bool = False


def run(request: BenchmarkRequest) -> bool:
    """Measure, report, compare; False where the comparison found a regression.

    A model that some backend does not run is measured on the others, and the result says why it is not measured there.
    Raises CE2PRuntimeError where nothing can be measured and, after everything else is measured and reported, where a
    model or a backend that was named could not be measured at all; ConfigError, DataError and MediaError for bad
    options and files.
    """
    _check(request)
    # Read before anything is measured: a bad file should not cost the minutes that measuring takes.
    old = read_result(request.compare) if request.compare else None
    saved = request.models[0].suffix == ".json"
    result, unmet = (read_result(request.models[0]), []) if saved else _measure(request)
    comparison = compare(old, result, request.tolerance) if old else None
    document = result.to_dict()
    if comparison:
        document["comparison"] = comparison.to_dict()
    if request.json:
        write_json(document, request.json, "benchmark")
    if request.json != "-":
        if not saved:
            show(result)
        if comparison:
            show_comparison(comparison)
    for error in unmet[1:]:
        remark(f"also: {error}")
    if unmet:
        raise unmet[0]
    return not (comparison and comparison.regressions)


def _check(request: BenchmarkRequest) -> None:
    saved = [model for model in request.models if model.suffix == ".json"]
    if saved and (len(request.models) > 1 or request.compare is None):
        raise ConfigError(
            f"{saved[0]}: a saved result is compared with one other: `ce2p benchmark NEW.json --compare OLD.json`"
        )
    if request.rounds < 1:
        raise ConfigError(f"--rounds {request.rounds}: expected at least 1")
    if request.warmup < 0:
        raise ConfigError(f"--warmup {request.warmup}: expected 0 or more")
    if request.tolerance < 0:
        raise ConfigError(f"--tolerance {request.tolerance}: expected 0 or more, in per cent")
    if not request.batches or min(request.batches) < 1:
        raise ConfigError(f"--batches {','.join(map(str, request.batches))}: expected sizes from 1, as 1,4,16")
    if not request.gate and (request.reference or request.data):
        raise ConfigError("--no-gate: compares nothing, so --reference and --data have no use; leave either out")
    inputs = [path for path in (*request.models, request.compare, request.reference, request.source) if path]
    check_json(request.json, inputs, request.overwrite)
    if request.output is not None:
        worst = [path.name for path in request.output.glob(f"{_FAILED}*.png")]
        check_report(request.output, (*_WRITTEN, *PLOTS, *worst), inputs, request.overwrite)
    check_pictures(request.data)
    if request.reference is not None:
        check_reference(request.reference)


def _measure(request: BenchmarkRequest) -> tuple[Result, Sequence[CE2PRuntimeError]]:
    """What was found, and what was asked for and could not be measured."""
    started = MachineState.now()
    date = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    footage = open_footage(request.source) if request.source else drawn_footage(request.size)
    opening = Opening(request.device, request.threads)
    skipped: dict[str, str] = {}

    def not_measured(name: str, reason: str) -> None:
        skipped[name] = reason
        remark(f"not measured: {name}: {reason}")

    with ExitStack() as opened:
        candidates, unmet = open_candidates(request.models, request.backends, opening, footage, opened, not_measured)
        accuracy = None
        if request.gate:
            with _progress("gate", "pictures") as advance:
                accuracy = judge_all(candidates, request.reference, request.data, opening, advance)
        stages, before, after = _rounds(candidates, request)
        # The load before us, the clocks of a machine that is warm.
        before = dataclasses.replace(before, load=started.load)
        measured = _rates(candidates, request, opening, not_measured)
        judgements = accuracy.judgements if accuracy else unjudged(candidates)
        rows = tuple(_row(c, stages[c.name], *measured[c.name], judgements[c.name]) for c in candidates)
        result = Result(
            date, machine(), source_commit(), {"before": before.to_dict(), "after": after.to_dict()},
            _settings(request, footage, accuracy), rows, skipped, tuple(disturbances(before, after)),
        )  # fmt: skip
        if request.output:
            _write(result, accuracy, request.output)
    return result, unmet


def _rounds(
    candidates: Sequence[Candidate], request: BenchmarkRequest
) -> tuple[dict[str, dict[str, Timing]], MachineState, MachineState]:
    """Stage times of every candidate, and the machine at the first and after the last round that counts."""
    before = MachineState.now()
    with _progress("rounds", "rounds") as advance:

        def each_round(done: int, total: int) -> None:
            nonlocal before
            if done == request.warmup:
                before = MachineState.now()
            advance("rounds", done, total)

        stages = interleave_stages({c.name: c for c in candidates}, request.rounds, request.warmup, REST, each_round)
    return stages, before, MachineState.now()


def _rates(
    candidates: Sequence[Candidate], request: BenchmarkRequest, opening: Opening, not_measured: NotMeasured
) -> dict[str, tuple[dict[int, Timing], dict[str, Timing]]]:
    """Throughput over batch sizes and of the stream, by candidate; empty where not wanted."""
    if not request.throughput:
        return {candidate.name: ({}, {}) for candidate in candidates}
    rounds = sweep_rounds(request.rounds)
    remark("measuring throughput ...")
    sweep = batch_sweep(candidates, request.batches, opening, rounds, not_measured)
    stream = stream_rates(candidates, rounds)
    return {candidate.name: (sweep[candidate.name], stream[candidate.name]) for candidate in candidates}


def _row(
    candidate: Candidate, stages: dict[str, Timing], throughput: dict[int, Timing], stream: dict[str, Timing],
    judgement: Judgement,
) -> Row:  # fmt: skip
    parser = candidate.parser
    assert parser.model is not None  # noqa: S101  (candidates are opened from files)
    metadata = parser.metadata
    return Row(
        candidate.name, candidate.short, str(parser.model), file_sha256(parser.model), metadata.precision,
        metadata.weights, metadata.input_size, parser.backend.name, parser.backend.device, parser.group_size,
        stages, throughput, stream, judgement, metadata.untrained,
    )  # fmt: skip


def _settings(request: BenchmarkRequest, footage: Footage, accuracy: Accuracy | None) -> dict[str, Any]:
    return {
        "footage": footage.description,
        "rounds": request.rounds,
        "warmup": request.warmup,
        "rest_ms": REST * 1e3,
        "throughput_rounds": sweep_rounds(request.rounds) if request.throughput else 0,
        "batches": list(request.batches) if request.throughput else [],
        "device": request.device,
        "threads": request.threads or "default",
        "opencv_threads": cv2.getNumThreads(),
        "gate": {"reference": accuracy.reference, "pictures": accuracy.pictures, "count": accuracy.count}
        if accuracy
        else None,
    }


def _write(result: Result, accuracy: Accuracy | None, folder: Path) -> None:
    """JSON, CSV, Markdown and plots, and the worst picture of every candidate that fails the gate."""
    write_json(result.to_dict(), str(folder / "benchmark.json"), "benchmark")
    try:
        plots = write_plots(result, folder)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "matplotlib":
            raise
        plots = []
        remark(f"no plots: they need matplotlib; {install_hint('plots')}")
    pictures = [path.name for path in plots if path.suffix == ".png"]
    for row in result.rows:
        if accuracy and row.judgement.standing == "failed":
            name = f"{_FAILED}{re.sub('[^0-9A-Za-z.]+', '-', row.name)}.png"
            pictures.append(accuracy.reports[row.name].paint_worst(folder / name).name)
    for name, text in (("benchmark.csv", report.csv_text(result)), ("benchmark.md", report.markdown(result, pictures))):
        with atomic_path(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    remark(f"report: {folder / 'benchmark.md'}")


@contextmanager
def _progress(title: str, unit: str) -> Iterator[Callable[[str, int, int], None]]:
    """A bar as a function of (note, done, total)."""
    with progress_bar(unit) as progress:
        task = progress.add_task(title, total=None, note="")
        yield lambda note, done, total: progress.update(task, completed=done, total=total, note=note)
