"""What is timed: stages in interleaved rounds, then frames per second over batch sizes and of a stream."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import cv2

from ce2p_runtime import BackendError, HumanParser
from ce2p_runtime.backends import DeviceBackend
from ce2p_runtime.base.progress import StepProgress
from ce2p_runtime.measuring.machine import machine, source_commit
from ce2p_runtime.measuring.timing import REST, Timing, interleave, interleave_stages
from ce2p_runtime.media.sources import SourceFrame
from ce2p_runtime.process.threads import prefetch

from .candidates import Candidate, NotMeasured, Opening
from .document import Result, Row
from .frames import SYNTHETIC, Frame
from .machine_state import MachineState, disturbances

OVERLAPPED, IN_TURN = "overlapped", "in turn"
"""The ways to take a stream: decoding ahead in a thread, and one frame after the other."""
WARMUP = 1
"""Rounds per batch size that do not count: the networks are warm already, their new shapes are not."""
_GROUPS_ON_GPU = 4
"""Groups per call on a GPU, where two are in flight: one alone would measure latency."""
_AHEAD = 4
"""Frames decoded ahead, as `ce2p_runtime.media.sources` does it."""
_STREAMED = 8
"""Frames per call of a stream, at least."""

Rates = dict[str, dict[int, Timing]]


@dataclass(frozen=True)
class Measured:
    """What came of interleaved rounds."""

    stages: Mapping[str, Mapping[str, Timing]]
    """By what ran and stage."""
    before: MachineState
    after: MachineState

    def result(
        self,
        rows: Sequence[Row],
        *,
        settings: Mapping[str, Any],
        skipped: Mapping[str, str],
        started: MachineState,
        facts: Mapping[str, Any] | None = None,
    ) -> Result:
        """The document of a run that ends now, on this machine. `started`: the machine before anything was opened."""
        # The load before us, the clocks of a machine that is warm.
        before = dataclasses.replace(self.before, load=started.load)
        return Result(
            date=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            machine=machine(),
            source=source_commit(),
            state={"before": before.to_dict(), "after": self.after.to_dict()},
            settings={**settings, "rest_ms": REST * 1e3, "opencv_threads": cv2.getNumThreads()},
            rows=tuple(rows),
            skipped=dict(skipped),
            disturbances=tuple(disturbances(before, self.after)),
            facts=dict(facts or {}),
        )


def stage_times(
    runs: Mapping[str, Callable[[], Mapping[str, float]]], rounds: int, warmup: int, progress: StepProgress
) -> Measured:
    """Time `runs`, each of which gives milliseconds by stage, once in each of the interleaved rounds.

    The machine is looked at when the first round that counts begins, and after the last one.
    """
    before = MachineState.now()

    def each_round(done: int, total: int) -> None:
        nonlocal before
        if done == warmup:
            before = MachineState.now()
        progress(done, total)

    stages = interleave_stages(runs, rounds, warmup, REST, each_round)
    return Measured(stages, before, MachineState.now())


def sweep_rounds(rounds: int) -> int:
    """Rounds of every cell here, for a benchmark of `rounds`: a third, at least 3, since a call takes many frames."""
    return max(3, rounds // 3)


def batch_sweep(
    candidates: Sequence[Candidate], batches: Sequence[int], opening: Opening, rounds: int, not_measured: NotMeasured
) -> Rates:
    """Milliseconds per frame by candidate and batch size; of a file with a static batch at that size only.

    Sizes come one after the other, the candidates of one size interleaved. `not_measured` is told of sizes that a
    candidate does not take.
    """
    rates: Rates = {candidate.name: {} for candidate in candidates}
    sizes = sorted(set(batches) | {c.parser.backend.batch for c in candidates if c.parser.backend.batch is not None})
    for size in sizes:
        with ExitStack() as opened:
            runs: dict[str, Callable[[], object]] = {}
            frames_per_call = {}
            for candidate in candidates:
                if candidate.parser.backend.batch is None and size not in batches:
                    continue
                if candidate.parser.backend.batch not in (None, size):
                    continue
                try:
                    parser = _at_batch(candidate, size, opening, opened)
                except BackendError as error:
                    not_measured(f"{candidate.name} at batch {size}", str(error))
                    continue
                count = size * (_GROUPS_ON_GPU if isinstance(parser.backend, DeviceBackend) else 1)
                frames = list(islice(cycle(candidate.footage.first(SYNTHETIC)), count))
                runs[candidate.name] = partial(parser.parse_batch, frames)
                frames_per_call[candidate.name] = count
            for name, timing in interleave(runs, rounds, WARMUP).items():
                rates[name][size] = per_frame(timing, frames_per_call[name])
    return rates


def stream_rates(candidates: Sequence[Candidate], rounds: int) -> dict[str, dict[str, Timing]]:
    """Milliseconds per frame of decoding and parsing a stream: decoding ahead in a thread, and one after the other."""
    runs: dict[str, Callable[[], object]] = {}
    counts = {candidate.name: max(_STREAMED, 4 * candidate.parser.group_size) for candidate in candidates}
    for candidate in candidates:
        runs[f"{OVERLAPPED} {candidate.name}"] = partial(_overlapped, candidate, counts[candidate.name])
        runs[f"{IN_TURN} {candidate.name}"] = partial(_in_turn, candidate, counts[candidate.name])
    timings = interleave(runs, rounds, WARMUP)
    return {
        name: {way: per_frame(timings[f"{way} {name}"], count) for way in (OVERLAPPED, IN_TURN)}
        for name, count in counts.items()
    }


def per_frame(timing: Timing, frames: int) -> Timing:
    """The times of calls that take `frames` frames each, per frame."""
    return Timing.of([sample / frames for sample in timing.samples])


def _at_batch(candidate: Candidate, size: int, opening: Opening, opened: ExitStack) -> HumanParser:
    """A parser of the candidate's network that takes `size` frames at once."""
    parser = candidate.parser
    if parser.group_size == size:
        return parser
    if not isinstance(parser.backend, DeviceBackend):
        return HumanParser.on(parser.backend, name=parser.name, batch=size)  # closed with the candidate
    again = partial(HumanParser, candidate.file, backend=candidate.backend, device=opening.device)
    return opened.enter_context(again(threads=opening.threads, batch=size))


def _overlapped(candidate: Candidate, count: int) -> None:
    frames = (SourceFrame(image, Path("frame"), index) for index, image in enumerate(_frames(candidate, count)))
    with closing(prefetch(frames, _AHEAD)) as ahead:
        for _ in candidate.parser.parse_frames(ahead):
            pass


def _in_turn(candidate: Candidate, count: int) -> None:
    frames = _frames(candidate, count)
    while group := list(islice(frames, candidate.parser.group_size)):
        candidate.parser.parse_batch(group)


def _frames(candidate: Candidate, count: int) -> Iterator[Frame]:
    return islice(candidate.footage.play(), count)
