"""`ce2p benchmark`: exported models on the backends at hand, interleaved, with the labels compared. Needs no torch.

Every candidate parses the same drawn frames in turn (`ce2p_runtime.timing`), so that what disturbs one disturbs all.
Times are per frame, as `HumanParser` gives them: from the frame to labels of its own size.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ce2p.errors import ConfigError
from ce2p.synthetic import walking_sequence
from ce2p_runtime import BackendError, HumanParser
from ce2p_runtime.backends import BACKENDS
from ce2p_runtime.machine import machine
from ce2p_runtime.timing import Timing, interleave, paired_ratio

from .console import remark, table, write_json

__all__ = ["BenchmarkRequest", "Candidate", "run"]

Frame = NDArray[np.uint8]
FRAMES = 3
"""Different frames, taken in turn: how long labels take depends on how much border there is."""


@dataclass(frozen=True)
class BenchmarkRequest:
    """The command's options."""

    models: Sequence[Path]
    backends: tuple[str, ...]
    """Empty: every installed one that takes the file."""
    device: str
    size: tuple[int, int]
    """(height, width) of the frames."""
    rounds: int
    threads: int | None
    json: str | None


@dataclass
class Candidate:
    """One model on one backend, and the stage times of every call."""

    name: str
    parser: HumanParser
    frames: Sequence[Frame]
    calls: list[dict[str, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._upcoming = cycle(self.frames)

    def __call__(self) -> None:
        """Parse as many frames as the file takes in one pass."""
        results = self.parser.parse_batch(list(islice(self._upcoming, self.parser.group_size)))
        stages = results[0].timings
        self.calls.append({stage: float(np.mean([r.timings[stage] for r in results])) for stage in stages})

    def timings(self, whole: Timing) -> dict[str, Timing]:
        """Per frame: each stage, and "frame" from `whole`, the times of the calls that count."""
        counted = self.calls[-len(whole.samples) :]
        stages = {stage: Timing.of([call[stage] for call in counted]) for stage in counted[0]}
        return {**stages, "frame": Timing.of([sample / self.parser.group_size for sample in whole.samples])}

    def agreement(self, reference: HumanParser) -> float | None:
        """Share of pixels labelled as `reference` labels them; None when the classes are others."""
        if self.parser.metadata.class_names != reference.metadata.class_names:
            return None
        pairs = zip(self.parser.parse_batch(self.frames), reference.parse_batch(self.frames), strict=True)
        return float(np.mean([found.labels == expected.labels for found, expected in pairs]))


def run(request: BenchmarkRequest) -> None:
    """Measure and report. Raises CE2PRuntimeError where a model cannot be loaded or a named backend not be used."""
    if request.rounds < 1:
        raise ConfigError(f"--rounds {request.rounds}: expected at least 1")
    frames = [frame for frame, _ in walking_sequence(0, FRAMES, request.size)]
    with ExitStack() as opened:
        candidates, skipped = _open(request, frames, opened)
        first = candidates[0]
        agreements = {c.name: c.agreement(first.parser) for c in candidates}
        runs: dict[str, Callable[[], object]] = {c.name: c for c in candidates}
        whole = interleave(runs, request.rounds)
        timings = {c.name: c.timings(whole[c.name]) for c in candidates}
        rows = [_row(c, timings[c.name], timings[first.name]["frame"], agreements[c.name]) for c in candidates]
    settings = {"frame": list(request.size), "rounds": request.rounds, "threads": request.threads or "default"}
    if request.json:
        document = {"machine": machine(), "settings": settings, "candidates": rows, "skipped": skipped}
        write_json(document, request.json)
    if request.json != "-":
        _show(rows, request)


def _open(
    request: BenchmarkRequest, frames: Sequence[Frame], opened: ExitStack
) -> tuple[list[Candidate], dict[str, str]]:
    """Every pair of model and backend that runs, to be closed by `opened`, and why the others do not."""
    candidates: list[Candidate] = []
    skipped: dict[str, str] = {}
    for model in dict.fromkeys(request.models):
        for backend in request.backends or _backends_of(model):
            name = f"{model} {backend}"
            try:
                parser = HumanParser(model, backend=backend, device=request.device, threads=request.threads)
            except BackendError as error:
                if request.backends:
                    raise
                skipped[name] = str(error)
                remark(f"not measured: {name}: {error}")
                continue
            candidates.append(Candidate(name, opened.enter_context(parser), frames))
    if not candidates:
        raise BackendError(next(iter(skipped.values())))
    return candidates, skipped


def _backends_of(model: Path) -> tuple[str, ...]:
    """Every installed backend for an ONNX file; what else there is has one of its own, or says why it has none."""
    installed = tuple(name for name in BACKENDS if importlib.util.find_spec(name) is not None)
    return installed if model.suffix == ".onnx" and installed else ("auto",)


def _row(candidate: Candidate, timings: dict[str, Timing], first: Timing, agreement: float | None) -> dict[str, Any]:
    """A candidate as plain types."""
    parser = candidate.parser
    return {
        "name": candidate.name,
        "model": str(parser.model),
        "precision": parser.metadata.precision,
        "weights": parser.metadata.weights,
        "input_size": list(parser.metadata.input_size),
        "backend": parser.backend.name,
        "device": parser.backend.device,
        "batch": parser.group_size,
        "milliseconds": {
            stage: {"median": t.median_ms, "p95": t.p95_ms, "samples": list(t.samples)} for stage, t in timings.items()
        },
        "frame_over_first": paired_ratio(timings["frame"], first),
        "agreement_with_first": agreement,
    }


def _show(rows: Sequence[dict[str, Any]], request: BenchmarkRequest) -> None:
    facts, (height, width) = machine(), request.size
    versions = ", ".join(f"{name} {number}" for name, number in facts["versions"].items())
    remark(f"{facts['cpu']}, {facts['cores']} cores, threads {request.threads or 'default'}; {versions}")
    stages = list(dict.fromkeys(stage for row in rows for stage in row["milliseconds"]))
    table(
        f"Frames of {height}x{width}, {request.rounds} rounds: median ms, and what 95 % of the frames stay below",
        ("model", *stages, "95 %", "× first", "same label"),
        [_cells(row, stages) for row in rows],
    )


def _cells(row: dict[str, Any], stages: Sequence[str]) -> tuple[str, ...]:
    times, agreement = row["milliseconds"], row["agreement_with_first"]
    batch = f", batch {row['batch']}" if row["batch"] > 1 else ""
    return (
        f"{Path(row['model']).name}\n{row['backend']} on {row['device']}{batch}",
        *(f"{times[stage]['median']:.1f}" if stage in times else "" for stage in stages),
        f"{times['frame']['p95']:.1f}",
        f"{row['frame_over_first']:.2f}",
        "other classes" if agreement is None else f"{agreement:.3%}",
    )
