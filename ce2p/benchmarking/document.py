"""A benchmark's result: what was measured, on what, how. Written as JSON and read back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from ce2p.errors import DataError
from ce2p_runtime import HumanParser
from ce2p_runtime.base.files import file_sha256
from ce2p_runtime.measuring.samples import FEWEST_FOR_P99, Ratio, noise, paired_ratio_interval
from ce2p_runtime.measuring.timing import Timing
from ce2p_runtime.model_files.metadata import untrained_in_words

SCHEMA = 1
KIND = "ce2p benchmark"
Scope = Literal["frame", "network"]
"""What a row's times are of: whole frames, or the network alone. Also the name of the stage that stands for it."""
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


@dataclass(frozen=True, kw_only=True)
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
    throughput: Mapping[int, Timing] = field(default_factory=dict)
    """Batch size -> milliseconds per frame."""
    stream: Mapping[str, Timing] = field(default_factory=dict)
    """Way -> milliseconds per frame."""
    judgement: Judgement
    untrained: bool = False
    """Whether nobody trained the model."""
    scope: Scope = "frame"
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What else a benchmark knows about it, as plain types."""

    @classmethod
    def of(cls, parser: HumanParser, path: Path, /, **fields: Any) -> Row:
        """The row of an opened parser whose network is in `path`."""
        metadata = parser.metadata
        own = {
            "file": str(path),
            "sha256": file_sha256(path),
            "precision": metadata.precision,
            "weights": metadata.weights,
            "input_size": metadata.input_size,
            "backend": parser.backend.name,
            "device": parser.backend.device,
            "batch": parser.group_size,
            "untrained": metadata.untrained,
        }
        return cls(**{**own, **fields})

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What the same candidate of another result has in common with this one."""
        return (self.model, self.backend, self.device.partition(":")[0], self.scope)

    @property
    def label(self) -> str:
        """Its name, and what was timed where that is not whole frames."""
        return self.name if self.scope == "frame" else f"{self.name}, {self.scope} alone"

    @property
    def timing(self) -> Timing:
        """Of the stage that stands for the row."""
        return self.stages[self.scope]

    @property
    def noise(self) -> list[str]:
        """Why this row's times are not to be trusted."""
        return noise(self.timing.samples)

    def to_dict(self) -> dict[str, Any]:
        return {
            **{name: getattr(self, name) for name in _TEXTS},
            "untrained": self.untrained,
            "input_size": list(self.input_size),
            "batch": self.batch,
            "scope": self.scope,
            "gate": {"standing": self.judgement.standing, "note": self.judgement.note, **self.judgement.figures},
            "stages_ms": {stage: _summary(timing) for stage, timing in self.stages.items()},
            "throughput": {str(size): _rate(timing) for size, timing in self.throughput.items()},
            "stream": {way: _rate(timing) for way, timing in self.stream.items()},
            "noise": self.noise,
            "facts": dict(self.facts),
        }

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Row:
        """Raises KeyError, TypeError or ValueError for what `to_dict` did not write."""
        gate = dict(fields["gate"])
        standing, note = gate.pop("standing"), str(gate.pop("note"))
        scope = fields.get("scope", "frame")
        if standing not in get_args(Standing) or scope not in get_args(Scope):
            raise ValueError(f"standing {standing!r}, scope {scope!r}")
        height, width = fields["input_size"]
        texts = {name: str(fields[name]) for name in _TEXTS}
        stages = {str(stage): _timing(entry) for stage, entry in fields["stages_ms"].items()}
        if scope not in stages:
            raise ValueError(f"no times of the {scope}")
        return cls(
            **texts,
            input_size=(int(height), int(width)),
            batch=int(fields["batch"]),
            stages=stages,
            throughput={int(size): _timing(entry) for size, entry in fields["throughput"].items()},
            stream={str(way): _timing(entry) for way, entry in fields["stream"].items()},
            judgement=Judgement(standing, note, gate),
            untrained=bool(fields.get("untrained", untrained_in_words(texts["weights"]))),
            scope=scope,
            facts=dict(fields.get("facts", {})),
        )


_TEXTS = ("name", "model", "file", "sha256", "precision", "weights", "backend", "device")


@dataclass(frozen=True, kw_only=True)
class Result:
    """Everything one run of a benchmark found."""

    date: str
    """UTC, ISO 8601."""
    machine: dict[str, Any]
    source: dict[str, Any] | None
    """`commit` and `dirty` of the checkout that ce2p ran from."""
    state: dict[str, Any]
    """The machine `before` and `after` the rounds."""
    settings: dict[str, Any]
    rows: tuple[Row, ...]
    """At least one; ratios are to the first of the same scope."""
    skipped: dict[str, str]
    """Candidates that were not measured, and why."""
    disturbances: tuple[str, ...]
    """Signs that the machine was not ours alone."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What else a benchmark knows, as plain types."""

    @property
    def warnings(self) -> list[str]:
        """All signs of noise, one line each."""
        return [*self.disturbances, *(f"{row.label}: {text}" for row in self.rows for text in row.noise)]

    def first(self, scope: Scope) -> Row:
        """The row that others of this scope are compared with."""
        return next(row for row in self.rows if row.scope == scope)

    def ratio(self, row: Row, stage: str | None = None, to: Row | None = None) -> Ratio:
        """A row's times over those of `to`, by paired rounds. None: the stage that stands for it, and the first row."""
        stage, to = stage or row.scope, to or self.first(row.scope)
        return paired_ratio_interval(row.stages[stage].samples, to.stages[stage].samples)

    def verdict(self, row: Row) -> str:
        """What may be said of a row's speed against the first row's: nothing good unless its labels are good."""
        if row.judgement.standing == "failed":
            return "fails the gate"
        if row is self.first(row.scope):
            return "the first"
        found = self.ratio(row).verdict
        unjudged = found == "faster" and row.judgement.standing == "not judged"
        return "faster, labels not judged" if unjudged else found

    def to_dict(self) -> dict[str, Any]:
        """Plain types, ready for json.dump: every sample, and what follows from them."""
        rows = []
        for row in self.rows:
            ratios = {stage: vars(self.ratio(row, stage)) for stage in ("network", "frame") if stage in row.stages}
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
            "facts": dict(self.facts),
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
            date=str(document["date"]),
            machine=dict(document["machine"]),
            source=document["source"],
            state=dict(document["state"]),
            settings=dict(document["settings"]),
            rows=rows,
            skipped=dict(document["skipped"]),
            disturbances=tuple(map(str, document["disturbances"])),
            facts=dict(document.get("facts", {})),
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
