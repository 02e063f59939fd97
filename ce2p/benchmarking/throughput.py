"""Frames per second: over batch sizes, and of a stream with and without decoding ahead."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from functools import partial
from itertools import cycle, islice
from pathlib import Path

from ce2p_runtime import BackendError, HumanParser
from ce2p_runtime.backends import DeviceBackend
from ce2p_runtime.measuring.timing import Timing, interleave
from ce2p_runtime.media.sources import SourceFrame
from ce2p_runtime.process.threads import prefetch

from .candidates import Candidate, NotMeasured, Opening
from .frames import DRAWN, Frame

__all__ = ["IN_TURN", "OVERLAPPED", "WARMUP", "batch_sweep", "stream_rates", "sweep_rounds"]

OVERLAPPED, IN_TURN = "overlapped", "in turn"
WARMUP = 1
"""Rounds per batch size that do not count: the networks are warm already, their new shapes are not."""
_GROUPS_ON_GPU = 4
"""Groups per call on a GPU, where two are in flight: one alone would measure latency."""
_AHEAD = 4
"""Frames decoded ahead, as `ce2p_runtime.media.sources` does it."""
_STREAMED = 8
"""Frames per call of a stream, at least."""

Rates = dict[str, dict[int, Timing]]


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
                frames = list(islice(cycle(candidate.footage.first(DRAWN)), count))
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
    assert parser.model is not None  # noqa: S101  (candidates are opened from files)
    return opened.enter_context(
        HumanParser(parser.model, backend=candidate.backend, device=opening.device, threads=opening.threads, batch=size)
    )


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
