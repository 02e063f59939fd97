"""What is measured: each model on each backend that takes it, opened once and given a name of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ce2p_runtime import BackendError, HumanParser, ModelFileError
from ce2p_runtime.backends import installed_backends
from ce2p_runtime.measuring.timing import timed

from .frames import Footage

Frame = NDArray[np.uint8]
NotMeasured = Callable[[str, str], None]
"""Told what is left out (model and backend, and the batch size where only that is) and why."""

COMPONENTS = ("decode", "prepare", "network", "labels", "copy", "other")
"""The parts of a picture's time, in the order they are shown. Beside them stand `frame`, from pixels to labels, and
`whole`, with decoding."""
_COPIES = ("upload", "download")


@dataclass(frozen=True)
class Opening:
    """How every model is opened."""

    device: str
    threads: int | None


@dataclass
class Candidate:
    """One model on one backend. Calling it parses one group of frames and gives milliseconds per frame by stage."""

    name: str
    """Unique among the candidates: the model's short name and the backend's."""
    short: str
    """The model's short name."""
    file: Path
    backend: str
    """As asked for, so that it can be opened again."""
    parser: HumanParser
    footage: Footage

    def __post_init__(self) -> None:
        self._upcoming: Iterator[Frame] = self.footage.play()

    def __call__(self) -> dict[str, float]:
        """Decode and parse as many frames as the file takes in one pass."""
        count = self.parser.group_size
        decode, frames = timed(lambda: list(islice(self._upcoming, count)))
        frame, results = timed(lambda: self.parser.parse_batch(frames))
        inside = [result.timings for result in results]
        stages = {name: float(np.mean([timings[name] for timings in inside])) for name in inside[0]}
        return by_stage(stages, decode / count, frame / count)


def by_stage(timings: dict[str, float], decode: float, frame: float) -> dict[str, float]:
    """A parser's own stage times of a frame in the benchmark's names, with `other` for what they leave of `frame`.

    On a GPU the parser's times are the device's, and `other` is what the host spends around them.
    """
    copies = [timings[name] for name in _COPIES if name in timings]
    stages = {name: time for name, time in timings.items() if name not in _COPIES}
    if copies:
        stages["copy"] = sum(copies)
    stages = {"decode": decode, **stages, "other": max(0.0, frame - sum(stages.values()))}
    return {**stages, "frame": frame, "whole": decode + frame}


def open_candidates(
    models: Sequence[Path],
    backends: Sequence[str],
    opening: Opening,
    footage: Footage,
    *,
    opened: ExitStack,
    not_measured: NotMeasured,
) -> tuple[list[Candidate], list[BackendError | ModelFileError]]:
    """Every pair of model and backend that parses a frame, to be closed by `opened`.

    `backends`: empty for every installed one that takes the file. `not_measured` is told of every other pair. Also
    returned is, for each model, and each backend named, of which there is no candidate at all, why: somebody asked for
    it, so the command has not done what it was told. Where there is no candidate, the first reason is raised.
    """
    candidates: dict[str, Candidate] = {}
    failures: dict[tuple[Path, str], BackendError | ModelFileError] = {}
    names = short_names(list(dict.fromkeys(models)))
    pairs = [(model, backend) for model in names for backend in dict.fromkeys(backends or _backends_of(model))]
    for model, backend in pairs:
        try:
            candidate = opened.enter_context(_open(model, names[model], backend, opening, footage))
        except (BackendError, ModelFileError) as error:
            failures[model, backend] = error
            not_measured(f"{names[model]} {backend}", str(error))
            continue
        candidates.setdefault(candidate.name, candidate)  # `auto` may be one named, too
    if not candidates:
        raise next(iter(failures.values()))
    return list(candidates.values()), _unmet([*names, *backends], pairs, failures)


@contextmanager
def _open(model: Path, short: str, backend: str, opening: Opening, footage: Footage) -> Iterator[Candidate]:
    """A candidate that has parsed its first frames: some files load and do not run."""
    with HumanParser(model, backend=backend, device=opening.device, threads=opening.threads) as parser:
        parser.parse_batch(footage.first(parser.group_size))
        yield Candidate(f"{short} {parser.backend.name}", short, model, backend, parser, footage=footage)


def _unmet(
    asked: Sequence[Path | str],
    pairs: Sequence[tuple[Path, str]],
    failures: Mapping[tuple[Path, str], BackendError | ModelFileError],
) -> list[BackendError | ModelFileError]:
    """For each model and backend in `asked` of which every pair failed the first reason; each reason once."""
    lacking = {}
    for one in asked:
        reasons = [failures.get(pair) for pair in pairs if one in pair]
        if reasons[0] is not None and None not in reasons:
            lacking[str(reasons[0])] = reasons[0]
    return list(lacking.values())


def short_names(models: Sequence[Path]) -> dict[Path, str]:
    """For every path the shortest end of it that no other one has: the file's name where that is enough."""
    names = {}
    for model in models:
        others = [other.parts for other in models if other != model]
        length = 1
        while length < len(model.parts) and any(parts[-length:] == model.parts[-length:] for parts in others):
            length += 1
        names[model] = "/".join(part.strip("/") for part in model.parts[-length:])
    return names


def _backends_of(model: Path) -> tuple[str, ...]:
    """Every installed backend for an ONNX file; what else there is has one of its own, or says why it has none."""
    return (installed_backends() if model.suffix == ".onnx" else ()) or ("auto",)
