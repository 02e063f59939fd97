"""Exported models timed on the backends at hand, interleaved, with the gate beside every speed: `ce2p.benchmark`.

Needs no torch, unless the reference is a checkpoint. The documentation's page on benchmarks says how it measures.
"""

from __future__ import annotations

import dataclasses
import datetime
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2

from ce2p.benchmarking import report
from ce2p.benchmarking.accuracy import Accuracy, judge_all, unjudged
from ce2p.benchmarking.candidates import Opening, open_candidates
from ce2p.benchmarking.document import Result
from ce2p.benchmarking.frames import drawn_footage, open_footage
from ce2p.benchmarking.machine_state import MachineState, disturbances
from ce2p.benchmarking.measuring import measure
from ce2p.benchmarking.plots import PLOTS, write_plots
from ce2p.benchmarking.throughput import sweep_rounds
from ce2p.errors import ConfigError
from ce2p_runtime.base.destinations import check_destination, check_folder
from ce2p_runtime.base.text import install_hint
from ce2p_runtime.errors import CE2PRuntimeError
from ce2p_runtime.gate import GateReport
from ce2p_runtime.measuring.machine import machine, source_commit
from ce2p_runtime.measuring.timing import REST

from .checks import check_pictures
from .documents import json_text, write_text
from .notes import Progress, counting, note, without_progress
from .reference import check_reference

__all__ = ["Benchmarked", "benchmark", "check_report"]

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
        pictures = [path.name for path in _plots(self.result, place) if path.suffix == ".png"]
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
    (None: drawn frames of `size`, height and width). `rounds` count, the `warmup` before them do not. `batches`: sizes
    for the throughput of files with a dynamic batch. `reference`: what labels are compared with (None: the first fp32
    model, else the first), on `data` (None: synthetic people).

    A model that some backend does not run is measured on the others, and the result says why it is not measured there.
    Raises CE2PRuntimeError where nothing can be measured, ConfigError, DataError and MediaError for options and files.
    """
    footage_from, pictures = (None if given is None else Path(given) for given in (source, data))
    asked = [Path(model) for model in models]
    _check(rounds, warmup, batches, gate, reference, pictures)
    started = MachineState.now()
    date = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    footage = open_footage(footage_from) if footage_from else drawn_footage(size)
    opening = Opening(device, threads)
    skipped: dict[str, str] = {}

    def not_measured(name: str, reason: str) -> None:
        skipped[name] = reason
        note(f"not measured: {name}: {reason}")

    with ExitStack() as opened:
        candidates, unmet = open_candidates(asked, backends, opening, footage, opened, not_measured)
        compared_with = None if reference is None else Path(reference)
        accuracy = judge_all(candidates, compared_with, pictures, opening, progress) if gate else None
        measured = measure(
            candidates,
            opening,
            rounds=rounds,
            warmup=warmup,
            batches=batches if throughput else None,
            not_measured=not_measured,
            progress=counting(progress, "rounds"),
            note=note,
        )
        judgements = accuracy.judgements if accuracy else unjudged(candidates)
        rows = tuple(measured.row(candidate, judgements[candidate.name]) for candidate in candidates)
    # The load before us, the clocks of a machine that is warm.
    before = dataclasses.replace(measured.before, load=started.load)
    settings = {
        "footage": footage.description,
        "rounds": rounds,
        "warmup": warmup,
        "rest_ms": REST * 1e3,
        "throughput_rounds": sweep_rounds(rounds) if throughput else 0,
        "batches": list(batches) if throughput else [],
        "device": device,
        "threads": threads or "default",
        "opencv_threads": cv2.getNumThreads(),
        "gate": _gate_settings(accuracy),
    }
    result = Result(
        date=date,
        machine=machine(),
        source=source_commit(),
        state={"before": before.to_dict(), "after": measured.after.to_dict()},
        settings=settings,
        rows=rows,
        skipped=skipped,
        disturbances=tuple(disturbances(before, measured.after)),
    )
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
    rounds: int, warmup: int, batches: Sequence[int], gate: bool, reference: str | Path | None, data: Path | None
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


def _gate_settings(accuracy: Accuracy | None) -> dict[str, Any] | None:
    if accuracy is None:
        return None
    return {"reference": accuracy.reference, "pictures": accuracy.pictures, "count": accuracy.count}


def _plots(result: Result, folder: Path) -> list[Path]:
    """The plots, where matplotlib is there; else a remark says what they need."""
    try:
        return write_plots(result, folder)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "matplotlib":
            raise
        note(f"no plots: they need matplotlib; {install_hint('plots')}")
        return []
