"""The gate beside the clock: every candidate's labels against a reference's, on the backend that is timed."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from ce2p.api.pictures import choose_pictures
from ce2p.api.reference import open_reference
from ce2p_runtime.backends import precision_refusal
from ce2p_runtime.gate import GateReport, Reference, judge
from ce2p_runtime.model_files.engine_file import ENGINE_SUFFIXES

from .candidates import Candidate, Opening
from .document import Judgement, Standing

__all__ = ["Accuracy", "judge_all", "unjudged"]

Progress = Callable[[str, int, int], None]
"""Called with whose pictures are parsed, how many are done, and how many there are."""


@dataclass(frozen=True)
class Accuracy:
    """What the gate found."""

    reference: str
    """What the candidates were compared with, and where it ran."""
    pictures: str
    """Which pictures, in words."""
    count: int
    judgements: dict[str, Judgement]
    """By the candidate's name."""
    reports: dict[str, GateReport]
    """Of those that were judged."""


def judge_all(
    candidates: Sequence[Candidate], reference: Path | None, data: Path | None, opening: Opening, progress: Progress
) -> Accuracy:
    """Judge every candidate. `reference` None: the first with precision fp32, else the first of all.

    The reference runs where `open_reference` opens it, whatever backends are timed: so float32 on a backend that
    computes it otherwise is judged, too. Candidates with other classes than the reference are not. Raises what opening
    the reference, reading `data` or the gate raises.
    """
    path = reference or _default(candidates)
    own = _exact(candidates, path)
    with ExitStack() as opened:
        size = candidates[0].parser.metadata.input_size
        parser = own.parser if own else opened.enter_context(open_reference(path, size, threads=opening.threads))
        pictures, described = choose_pictures(data, parser.metadata)
        # Files that end in labels and files that end in logits find their way to the frame differently.
        ways = {c.parser.metadata.geometry.unwarp: c.parser.metadata for c in candidates}
        references = {}
        for way, metadata in sorted(ways.items()):
            told = lambda done, total: progress("reference", done, total)  # noqa: E731
            references[way] = Reference.of(parser, pictures, None, told, metadata)
    made = next(iter(references.values()))
    judgements, reports = {}, {}
    for candidate in candidates:
        if candidate.parser.metadata.class_names != made.metadata.class_names:
            judgements[candidate.name] = Judgement("not judged", f"has other classes than {made.name}")
            continue
        fitting = references[candidate.parser.metadata.geometry.unwarp]
        report = judge(fitting, candidate.parser, None, lambda done, total, c=candidate: progress(c.name, done, total))  # type: ignore[misc]
        reports[candidate.name] = report
        standing: Standing = "failed" if not report.passed else "reference" if candidate is own else "passed"
        judgements[candidate.name] = Judgement(standing, "", report.to_dict())
    return Accuracy(f"{made.name} ({made.backend})", described, len(pictures), judgements, reports)


def unjudged(candidates: Sequence[Candidate]) -> dict[str, Judgement]:
    """Where no gate was wanted."""
    return {candidate.name: Judgement("not judged", "") for candidate in candidates}


def _default(candidates: Sequence[Candidate]) -> Path:
    """The first model in float32, else the first model."""
    models = [c.parser.model for c in candidates if c.parser.metadata.precision == "fp32"] or [
        candidates[0].parser.model
    ]
    assert models[0] is not None  # noqa: S101  (candidates are opened from files)
    return models[0]


def _exact(candidates: Sequence[Candidate], path: Path) -> Candidate | None:
    """The candidate that runs the file `path` where a reference runs, which is where `open_reference` opens it.

    Without ONNX Runtime, or where it does not run the file, any candidate of that file has to do; the report says what
    the reference ran on.
    """
    same = [c for c in candidates if c.parser.model is not None and c.parser.model.resolve() == path.resolve()]
    if not same:
        return None
    elsewhere = precision_refusal("onnxruntime", same[0].parser.metadata.precision) is not None
    if path.suffix in ENGINE_SUFFIXES or importlib.util.find_spec("onnxruntime") is None or elsewhere:
        return same[0]
    return next((c for c in same if (c.parser.backend.name, c.parser.backend.device) == ("onnxruntime", "cpu")), None)
