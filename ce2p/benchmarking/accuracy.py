"""The gate beside the clock: every candidate's labels against a reference's, on the backend that is timed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ce2p.api.reference import open_reference
from ce2p_runtime import HumanParser
from ce2p_runtime.backends import BACKENDS, precision_refusal
from ce2p_runtime.base.progress import Progress
from ce2p_runtime.judge import GatePicture, GateReport, Reference, judge_labels
from ce2p_runtime.model_files.engine_file import ENGINE_SUFFIXES

from .candidates import Candidate
from .document import Judgement, Standing


@dataclass(frozen=True)
class Accuracy:
    """What the gate found."""

    settings: Mapping[str, Any]
    """What the candidates were compared with, where that ran, on which pictures and how many."""
    judgements: Mapping[str, Judgement]
    """By the candidate's name."""
    reports: Mapping[str, GateReport]
    """Of those that were judged."""


def judge_all(
    parsers: Mapping[str, HumanParser],
    reference: HumanParser,
    pictures: Sequence[GatePicture],
    described: str,
    progress: Progress,
) -> Accuracy:
    """Judge every candidate, by name, on `pictures`; `described` says which they are.

    `progress` is called with whose pictures are parsed, how many are done, and how many there are.

    Candidates with other classes than the reference are not judged. Raises what the gate raises.
    """
    # Files that end in labels and files that end in logits find their way to the frame differently.
    ways = {parser.metadata.geometry.unwarp: parser.metadata for parser in parsers.values()}
    references = {
        way: Reference.of(reference, pictures, None, partial(progress, "reference"), metadata)
        for way, metadata in sorted(ways.items())
    }
    made = next(iter(references.values()))
    judgements, reports = {}, {}
    for name, parser in parsers.items():
        if parser.metadata.class_names != made.metadata.class_names:
            judgements[name] = Judgement("not judged", f"has other classes than {made.name}")
            continue
        fitting = references[parser.metadata.geometry.unwarp]
        report = judge_labels(fitting, parser, None, partial(progress, name))
        reports[name] = report
        standing: Standing = "failed" if not report.passed else "reference" if parser is reference else "passed"
        judgements[name] = Judgement(standing, "", report.to_dict())
    settings = {"reference": f"{made.name} ({made.backend})", "pictures": described, "count": len(pictures)}
    return Accuracy(settings, judgements, reports)


@contextmanager
def open_reference_of(candidates: Sequence[Candidate], path: Path | None, threads: int | None) -> Iterator[HumanParser]:
    """What candidates are compared with: `path`, or the first model with precision fp32, or the first of all.

    It runs where `open_reference` opens it, whatever backends are timed: so float32 on a backend that computes it
    otherwise is judged, too. Raises what opening it raises.
    """
    models = [c.file for c in candidates if c.parser.metadata.precision == "fp32"]
    path = path or (models or [candidates[0].file])[0]
    own = _candidate_like_it(candidates, path)
    if own is not None:
        yield own.parser
        return
    with open_reference(path, candidates[0].parser.metadata.input_size, threads=threads) as parser:
        yield parser


def _candidate_like_it(candidates: Sequence[Candidate], path: Path) -> Candidate | None:
    """The candidate that runs the file `path` where a reference runs, which is where `open_reference` opens it.

    Without ONNX Runtime, or where it does not run the file, any candidate of that file has to do; the report says what
    the reference ran on.
    """
    same = [candidate for candidate in candidates if candidate.file.resolve() == path.resolve()]
    if not same:
        return None
    elsewhere = precision_refusal("onnxruntime", same[0].parser.metadata.precision) is not None
    if path.suffix in ENGINE_SUFFIXES or not BACKENDS["onnxruntime"].installed or elsewhere:
        return same[0]
    return next((c for c in same if (c.parser.backend.name, c.parser.backend.device) == ("onnxruntime", "cpu")), None)
