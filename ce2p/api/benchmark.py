"""Exported models timed on the backends at hand, interleaved, with the gate beside every speed: `ce2p.benchmark`.

Needs no torch, unless the reference is a checkpoint. The documentation's page on benchmarks says how it measures.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ce2p.benchmarking import report
from ce2p.benchmarking.accuracy import judge_all, open_reference_of
from ce2p.benchmarking.candidates import Opening, open_candidates
from ce2p.benchmarking.document import Judgement, Result, Row
from ce2p.benchmarking.frames import open_footage, synthetic_footage
from ce2p.benchmarking.machine_state import MachineState
from ce2p.benchmarking.plots import PLOTS, drawn_if_possible, write_plots
from ce2p.benchmarking.rounds import batch_sweep, stage_times, stream_rates, sweep_rounds
from ce2p.errors import ConfigError
from ce2p_runtime.base.destinations import check_destination, check_folder
from ce2p_runtime.base.progress import Progress, without_progress
from ce2p_runtime.errors import CE2PRuntimeError
from ce2p_runtime.judge import GateReport

from .checks import check_pictures
from .documents import json_text, write_text
from .notes import note
from .pictures import choose_pictures
from .reference import check_reference

_JSON, _CSV, _MARKDOWN = _TEXTS = ("benchmark.json", "benchmark.csv", "benchmark.md")
_FAILED = "failed_"
"""How the names of the pictures of failed candidates begin."""


@dataclass(frozen=True)
class Benchmarked:
    """What was measured, and what could not be."""

    result: Result
    unmet: tuple[CE2PRuntimeError, ...]
    """For each model or backend that was named and could not be measured at all, why."""
    failed: Mapping[str, GateReport]
    """By candidate: the reports of the gate that were not passed."""

    def save(self, folder: str | Path, *, overwrite: bool = False) -> Path:
        """Write JSON (every sample), CSV, Markdown, plots, and the worst picture of every candidate that failed.

        Gives the Markdown file. Raises MediaError for files that exist, unless `overwrite`.
        """
        place = Path(folder)
        check_report(place, (), overwrite=overwrite)
        write_text(place / _JSON, json_text(self.result.to_dict(), "benchmark"))
        plots = drawn_if_possible(lambda: write_plots(self.result, place))
        pictures = [path.name for path in plots if path.suffix == ".png"]
        for name, found in self.failed.items():
            picture = place / f"{_FAILED}{re.sub('[^0-9A-Za-z.]+', '-', name)}.png"
            pictures.append(found.paint_worst(picture).name)
        write_text(place / _CSV, report.csv_text(self.result))
        write_text(place / _MARKDOWN, report.markdown(self.result, pictures))
        return place / _MARKDOWN


def benchmark(
    models: Sequence[str | Path],
    *,
    backends: Sequence[str] = (),
    device: str = "auto",
    size: tuple[int, int] = (1080, 1920),
    source: str | Path | None = None,
    rounds: int = 15,
    warmup: int = 3,
    threads: int | None = None,
    batches: Sequence[int] = (1, 4, 16),
    throughput: bool = True,
    reference: str | Path | None = None,
    data: str | Path | None = None,
    gate: bool = True,
    progress: Progress = without_progress,
) -> Benchmarked:
    """Time ONNX files and engines from frame to labels, and judge their labels.

        ce2p.benchmark(["lip_fp32.onnx", "lip_int8.onnx"]).save("report")

    `backends`: by name (none: every installed one that takes the file). `source`: a video or pictures to time with
    (None: synthetic frames of `size`, height and width). `rounds` count, the `warmup` before them do not. `batches`:
    sizes for the throughput of files with a dynamic batch. `reference`: what labels are compared with (None: the first
    fp32 model, else the first), on `data` (None: synthetic people).

    A model that some backend does not run is measured on the others, and the result says why it is not measured there.
    Raises CE2PRuntimeError where nothing can be measured, ConfigError, DataError and MediaError for options and files.
    """
    footage_from, pictures, compared_with = (None if p is None else Path(p) for p in (source, data, reference))
    _check(rounds, warmup, batches, gate=gate, reference=reference, data=pictures)
    started = MachineState.now()
    footage = open_footage(footage_from) if footage_from else synthetic_footage(size)
    opening = Opening(device, threads)
    skipped: dict[str, str] = {}

    def not_measured(name: str, reason: str) -> None:
        skipped[name] = reason
        note(f"not measured: {name}: {reason}")

    with ExitStack() as opened:
        asked = [Path(model) for model in models]
        candidates, unmet = open_candidates(asked, backends, opening, footage, opened=opened, not_measured=not_measured)
        accuracy = None
        if gate:
            with open_reference_of(candidates, compared_with, threads) as exact:
                chosen, described = choose_pictures(pictures, exact.metadata)
                accuracy = judge_all({c.name: c.parser for c in candidates}, exact, chosen, described, progress)
        measured = stage_times({c.name: c for c in candidates}, rounds, warmup, partial(progress, "rounds"))
        sweep, stream = {}, {}
        if throughput:
            note("measuring throughput ...")
            sweep = batch_sweep(candidates, batches, opening, sweep_rounds(rounds), not_measured)
            stream = stream_rates(candidates, sweep_rounds(rounds))
        rows = [
            Row.of(
                c.parser,
                c.file,
                name=c.name,
                model=c.short,
                stages=measured.stages[c.name],
                throughput=sweep.get(c.name, {}),
                stream=stream.get(c.name, {}),
                judgement=accuracy.judgements[c.name] if accuracy else Judgement("not judged"),
            )
            for c in candidates
        ]
    settings = {
        "footage": footage.description,
        "rounds": rounds,
        "warmup": warmup,
        "throughput_rounds": sweep_rounds(rounds) if throughput else 0,
        "batches": list(batches) if throughput else [],
        "device": device,
        "threads": threads or "default",
        "gate": dict(accuracy.settings) if accuracy else None,
    }
    result = measured.result(rows, settings=settings, skipped=skipped, started=started)
    reports = accuracy.reports if accuracy else {}
    failed = {row.name: reports[row.name] for row in rows if row.judgement.standing == "failed"}
    return Benchmarked(result, tuple(unmet), failed)


def check_report(folder: Path, inputs: Iterable[str | Path], *, overwrite: bool) -> None:
    """Raise MediaError where a report cannot or must not be written into `folder`."""
    check_folder(folder, what="the report")
    listed = list(inputs)
    for name in (*_TEXTS, *PLOTS, *(path.name for path in folder.glob(f"{_FAILED}*.png"))):
        check_destination(folder / name, what="the report", inputs=listed, overwrite=overwrite)


def _check(
    rounds: int, warmup: int, batches: Sequence[int], *, gate: bool, reference: str | Path | None, data: Path | None
) -> None:
    if rounds < 1:
        raise ConfigError(f"--rounds {rounds}: expected at least 1")
    if warmup < 0:
        raise ConfigError(f"--warmup {warmup}: expected 0 or more")
    if not batches or min(batches) < 1:
        raise ConfigError(f"--batches {','.join(map(str, batches))}: expected sizes from 1, as 1,4,16")
    if not gate and (reference or data):
        raise ConfigError("--no-gate: compares nothing, so --reference and --data have no use; leave either out")
    check_pictures(data)
    if reference is not None:
        check_reference(reference)
