"""Whether an exported file labels pictures as the model it came from: `ce2p.verify`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ce2p_runtime import HumanParser
from ce2p_runtime.base.progress import Progress, without_progress
from ce2p_runtime.judge import GateReport, Reference, judge_labels
from ce2p_runtime.precisions import precision_named

from .checks import check_pictures
from .notes import note
from .pictures import GATE_PICTURES, choose_pictures
from .reference import check_reference, open_reference

if TYPE_CHECKING:  # it loads torch, which exported files do without
    from ce2p_export import SourceModel


@dataclass(frozen=True)
class Verified:
    """The gate's verdict, and what it was reached on."""

    report: GateReport
    compared_on: str
    """Which pictures, in words."""

    @property
    def passed(self) -> bool:
        """Whether every limit was held."""
        return self.report.passed

    def require(self) -> None:
        """Raise GateError, in one line, unless every limit was held."""
        self.report.require()

    def to_dict(self) -> dict[str, Any]:
        """Plain types, for JSON."""
        return {**self.report.to_dict(), "compared_on": self.compared_on}


def verify(
    reference: str | Path | SourceModel,
    candidate: str | Path,
    *,
    data: str | Path | None = None,
    limit: int = GATE_PICTURES,
    backend: str = "auto",
    device: str = "auto",
    threads: int | None = None,
    precision: str | None = None,
    dataset: str | None = None,
    stride: int | None = None,
    trust_engine: bool = False,
    progress: Progress = without_progress,
) -> Verified:
    """Compare the labels of `candidate`, an ONNX file or engine, with those of the model it came from.

        ce2p.verify("lip.pth", "lip_int8_473x473.onnx", data="photos/").passed

    `reference`: a network from `load`, a checkpoint, an ONNX file or an engine; it runs where it is exact. `data`:
    pictures or a data set, then also its truth (None: synthetic people), of which `limit` are taken. `backend`,
    `device` and `threads` are the candidate's. `precision`: judge by this one's limits (None: the candidate's own).
    `dataset` and `stride` are for checkpoints that do not tell. `trust_engine`: load an engine that its .json was not
    written for; it runs code. Raises CE2PError; a verdict is returned and not raised.
    """
    limits = precision_named(precision).labels if precision else None
    pictures = None if data is None else Path(data)
    check_pictures(pictures)
    check_reference(reference, dataset=dataset, stride=stride)
    with HumanParser(candidate, backend=backend, device=device, threads=threads, trust_engine=trust_engine) as parser:
        with open_reference(
            reference,
            parser.metadata.input_size,
            dataset=dataset,
            stride=stride,
            threads=threads,
            trust_engine=trust_engine,
        ) as exact:
            note(f"reference: {exact}")
            if exact.metadata.untrained:
                note("note: these weights are untrained: where labels mean nothing, agreement says little")
            chosen, described = choose_pictures(pictures, exact.metadata, limit)
            made = Reference.of(exact, chosen, progress=partial(progress, "reference"), candidate=parser.metadata)
        note(f"candidate: {parser}")
        return Verified(judge_labels(made, parser, limits, partial(progress, "candidate")), described)
