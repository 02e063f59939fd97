"""A benchmark's result: what was measured, on what, how. Written as JSON and read back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from ce2p.errors import DataError
from ce2p_runtime.measuring.samples import FEWEST_FOR_P99, Ratio, noise, paired_ratio_interval
from ce2p_runtime.measuring.timing import Timing
from ce2p_runtime.model_files.metadata import untrained_in_words

__all__ = ["SCHEMA", "Judgement", "Result", "Row", "Standing", "read_result"]

SCHEMA = 1
KIND = "ce2p benchmark"
Standing = Literal["reference", "passed", "failed", "not judged"]


@dataclass(frozen=True)
class Judgement:
    """What the gate said of a candidate."""

    standing: Standing
    note: str = ""
    """Why it was not judged."""
    figures: dict[str, Any] = field(default_factory=dict)
    """`GateReport.to_dict()`; empty where not judged."""

    @property
    def failures(self) -> tuple[str, ...]:
        return tuple(self.figures.get("failures", ()))

    def share(self, name: str) -> float | None:
        """One of the figures `pixel_agreement`, `boundary_agreement` and `mean_iou`, where there is one."""
        value = self.figures.get(name)
        return None if value is None else float(value)


@dataclass(frozen=True)
class Row:
    """One candidate: a model on a backend."""

    name: str
    model: str
    """The model's short name."""
    file: str
    sha256: str
    precision: str
    weights: str
    input_size: tuple[int, int]
    backend: str
    device: str
    batch: int
    """Frames per forward pass in `stages`."""
    stages: Mapping[str, Timing]
    """Milliseconds per frame, of the same rounds for all rows."""
    throughput: Mapping[int, Timing]
    """Batch size -> milliseconds per frame."""
    stream: Mapping[str, Timing]
    """"overlapped" and "in turn" -> milliseconds per frame."""
    judgement: Judgement
    untrained: bool = False
    """Whether nobody trained the model."""

    @property
    def key(self) -> tuple[str, str, str]:
        """What the same candidate of another result has in common with this one."""
        return (self.model, self.backend, self.device.partition(":")[0])

    @property
    def noise(self) -> list[str]:
        """Why this row's times are not to be trusted."""
        return noise(self.stages["frame"].samples)

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "model": self.model,
            "file": self.file,
            "sha256": self.sha256,
            "precision": self.precision,
            "weights": self.weights,
            "untrained": self.untrained,
            "input_size": list(self.input_size),
            "backend": self.backend,
            "device": self.device,
            "batch": self.batch,
            "gate": {"standing": self.judgement.standing, "note": self.judgement.note, **self.judgement.figures},
            "stages_ms": {stage: _summary(timing) for stage, timing in self.stages.items()},
            "throughput": {str(size): _rate(timing) for size, timing in self.throughput.items()},
            "stream": {way: _rate(timing) for way, timing in self.stream.items()},
            "noise": self.noise,
        }

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Row:
        """Raises KeyError, TypeError or ValueError for what `to_dict` did not write."""
        gate = dict(fields["gate"])
        standing, note = gate.pop("standing"), str(gate.pop("note"))
        if standing not in get_args(Standing):
            raise ValueError(f"standing {standing!r}")
        height, width = fields["input_size"]
        texts = {name: str(fields[name]) for name in _TEXTS}
        stages = {str(stage): _timing(entry) for stage, entry in fields["stages_ms"].items()}
        if "frame" not in stages or "whole" not in stages:
            raise ValueError("no times of whole frames")
        return cls(
            **texts,
            input_size=(int(height), int(width)),
            batch=int(fields["batch"]),
            stages=stages,
            throughput={int(size): _timing(entry) for size, entry in fields["throughput"].items()},
            stream={str(way): _timing(entry) for way, entry in fields["stream"].items()},
            judgement=Judgement(standing, note, gate),
            untrained=bool(fields.get("untrained", untrained_in_words(texts["weights"]))),
        )


_TEXTS = ("name", "model", "file", "sha256", "precision", "weights", "backend", "device")


@dataclass(frozen=True)
class Result:
    """Everything one run of the command found."""

    date: str
    """UTC, ISO 8601."""
    machine: dict[str, Any]
    source: dict[str, Any] | None
    """`commit` and `dirty` of the checkout that ce2p ran from."""
    state: dict[str, Any]
    """The machine `before` and `after` the rounds."""
    settings: dict[str, Any]
    rows: tuple[Row, ...]
    """At least one; ratios are to the first."""
    skipped: dict[str, str]
    """Candidates that were not measured, and why."""
    disturbances: tuple[str, ...]
    """Signs that the machine was not ours alone."""

    @property
    def warnings(self) -> list[str]:
        """All signs of noise, one line each."""
        return [*self.disturbances, *(f"{row.name}: {text}" for row in self.rows for text in row.noise)]

    def ratio(self, row: Row, stage: str = "frame") -> Ratio:
        """A row's times over the first row's, by paired rounds."""
        return paired_ratio_interval(row.stages[stage].samples, self.rows[0].stages[stage].samples)

    def verdict(self, row: Row) -> str:
        """What may be said of a row's speed against the first row's: nothing good unless its labels are good."""
        if row.judgement.standing == "failed":
            return "fails the gate"
        if row is self.rows[0]:
            return "the first"
        found = self.ratio(row).verdict
        unjudged = found == "faster" and row.judgement.standing == "not judged"
        return "faster, labels not judged" if unjudged else found

    def to_dict(self) -> dict[str, Any]:
        """Plain types, ready for json.dump: every sample, and what follows from them."""
        rows = []
        for row in self.rows:
            ratios = {stage: vars(self.ratio(row, stage)) for stage in ("network", "frame")}
            rows.append({**row.to_dict(), "over_first": {**ratios, "verdict": self.verdict(row)}})
        return {
            "kind": KIND,
            "schema": SCHEMA,
            "date": self.date,
            "machine": self.machine,
            "source": self.source,
            "state": self.state,
            "settings": self.settings,
            "candidates": rows,
            "skipped": self.skipped,
            "disturbances": list(self.disturbances),
            "warnings": self.warnings,
        }


def read_result(path: Path) -> Result:
    """Read what `Result.to_dict` wrote. Raises DataError, in one line, for anything else."""
    cure = "expected a result of `ce2p benchmark --json`"
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}), {cure}") from error
    except ValueError as error:
        raise DataError(f"{path}: is no JSON document ({error}), {cure}; it may be cut short") from error
    if not isinstance(document, dict) or document.get("kind") != KIND:
        raise DataError(f"{path}: holds something else, {cure}")
    if document.get("schema") != SCHEMA:
        raise DataError(f"{path}: has schema {document.get('schema')}, this version reads {SCHEMA}; measure again")
    try:
        rows = tuple(Row.from_dict(fields) for fields in document["candidates"])
        if not rows:
            raise ValueError("no candidates")
        return Result(
            str(document["date"]),
            dict(document["machine"]),
            document["source"],
            dict(document["state"]),
            dict(document["settings"]),
            rows,
            dict(document["skipped"]),
            tuple(map(str, document["disturbances"])),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{path}: lacks or garbles a field ({error}), {cure}") from error


def _summary(timing: Timing) -> dict[str, Any]:
    return {
        "p50": timing.median_ms,
        "p95": timing.p95_ms,
        "p99": timing.p99_ms,
        "p99_is_slowest": len(timing.samples) < FEWEST_FOR_P99,
        "samples": list(timing.samples),
    }


def _rate(timing: Timing) -> dict[str, Any]:
    return {"frames_per_second": 1e3 / timing.median_ms, **_summary(timing)}


def _timing(entry: dict[str, Any]) -> Timing:
    samples = [float(sample) for sample in entry["samples"]]
    if not samples or not all(0 <= sample < float("inf") for sample in samples):
        raise ValueError("samples that are no times")
    return Timing.of(samples)
