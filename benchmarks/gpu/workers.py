"""Candidates in processes of their own, timed in turn at their parent's word.

One process for each because of what they would do to each other in one: cuDNN's plans are cached without regard to
`cudnn.benchmark`, so the first to run decides for all; a hang, a crash or exhausted memory takes everything with it.
They set up side by side, and use the GPU in turn (`Turn`), so that nobody tunes while another one does.
"""

from __future__ import annotations

import contextlib
import fcntl
import multiprocessing
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.gpu.parts import EXPECTED, SkippedError, first_line
from ce2p_runtime.measuring.timing import timed

WARM_SECONDS = 0.02
"""Of passes that are not timed before those that are: clocks rise and caches fill."""
PASSES, TURN_SECONDS = 5, 0.25
"""How many passes are timed in one turn, unless they take longer than so many seconds; then fewer, one at least."""


@contextlib.contextmanager
def Turn(file: Path) -> Iterator[None]:  # noqa: N802  (reads as what it is: `with Turn(file):`)
    """Have the GPU to oneself among the processes that ask for it. Given back by the system when a process dies."""
    with file.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@dataclass(frozen=True)
class Entry:
    """One candidate at one batch size, to be made in another process: everything in it can be pickled."""

    name: str
    batch: int
    make: Callable[[], Any]
    """Gives a `network_runs.NetworkRun`; a partial of a module's function."""
    takes_turns: bool = False
    """Whether `make` asks for its turn itself, since only part of it needs the GPU."""

    @property
    def key(self) -> tuple[str, int]:
        return self.name, self.batch


@dataclass
class Outcome:
    """What became of an entry."""

    entry: Entry
    precision: str = ""
    distance: float = float("nan")
    """Relative L2 of its logits to the reference."""
    agreement: float = 0.0
    """Of their labels."""
    set_up: float = 0.0
    """Seconds it took to make."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""
    """Why it cannot run; empty where it can."""
    expected: bool = True
    """Whether that is something this machine lacks, rather than a fault."""


class Workers:
    """Groups of entries, a process for each group. Use as a context manager: its end ends them all.

    `seconds`: what setting up may take. A process does not begin an entry for which, judging by those before it, no
    time is left; one that is still busy when the time is up is ended, and what it had made is lost.
    """

    def __init__(self, groups: Sequence[Sequence[Entry]], reference: NDArray[Any], turn: Path, seconds: float) -> None:
        self._seconds, self._deadline = seconds, time.monotonic() + seconds
        self.outcomes: dict[tuple[str, int], Outcome] = {}
        self._owners: dict[tuple[str, int], Connection] = {}
        self._processes: dict[Connection, Any] = {}
        self._waiting: dict[Connection, list[Entry]] = {}
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["benchmarks.gpu.network_runs"])  # imports PyTorch once, touches no GPU
        for group in groups:
            ours, theirs = context.Pipe()
            process = context.Process(
                target=_serve, args=(theirs, list(group), reference, turn, self._deadline), daemon=True
            )
            process.start()
            theirs.close()
            self._processes[ours], self._waiting[ours] = process, list(group)

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        for connection in list(self._processes):
            self._end(connection)

    def ready(self) -> None:
        """Wait until all are made or the time is up."""
        while any(self._waiting.values()) and (left := self._deadline - time.monotonic()) > 0:
            for connection in wait([c for c, entries in self._waiting.items() if entries], left):
                assert isinstance(connection, Connection)
                self._take(connection)
        for connection, entries in self._waiting.items():
            for entry in entries:
                self.outcomes[entry.key] = Outcome(entry, problem=f"not ready after {self._seconds:.0f} s, and ended")
            if entries:
                self._forget(connection)
            entries.clear()

    def time(self, keys: Sequence[tuple[str, int]], rounds: int) -> dict[tuple[str, int], list[float]]:
        """Milliseconds of the passes of `rounds` turns, the order shuffled in each round.

        Who ends meanwhile is missing from the result, and its outcome has the problem.
        """
        samples: dict[tuple[str, int], list[float]] = {key: [] for key in keys}
        shuffler = random.Random(0)  # noqa: S311  (an order, not a secret)
        for _ in range(rounds):
            order = list(samples)
            shuffler.shuffle(order)
            for key in order:
                try:
                    self._owners[key].send(key)
                    answer = self._owners[key].recv()
                except (EOFError, OSError):
                    answer = self._ending(self._owners[key])
                if isinstance(answer, str):
                    self.outcomes[key].problem, self.outcomes[key].expected = answer, False
                    del samples[key]
                else:
                    samples[key] += answer
        return samples

    def _take(self, connection: Connection) -> None:
        """One outcome, or the end of a process that crashed."""
        entries = self._waiting[connection]
        try:
            outcome: Outcome = connection.recv()
        except (EOFError, OSError):
            problem = self._ending(connection)
            for entry in entries:
                self.outcomes[entry.key] = Outcome(entry, problem=problem, expected=False)
            entries.clear()
            self._forget(connection)
            return
        self.outcomes[outcome.entry.key] = outcome
        self._owners[outcome.entry.key] = connection
        entries.pop(0)

    def _ending(self, connection: Connection) -> str:
        process = self._processes[connection]
        process.join(5)
        return f"its process ended with {process.exitcode}"

    def _forget(self, connection: Connection) -> None:
        """End a process; what it had made cannot be timed any more."""
        problem = "its process was ended with another one's set-up"
        self._end(connection)
        for key, owner in self._owners.items():
            if owner is connection and not self.outcomes[key].problem:
                self.outcomes[key].problem = problem

    def _end(self, connection: Connection) -> None:
        process = self._processes[connection]
        process.kill()
        process.join()
        connection.close()


def _serve(
    connection: Connection, entries: Sequence[Entry], reference: NDArray[Any], turn: Path, deadline: float
) -> None:
    """A worker's life: make every entry, then run whatever is asked for. `deadline`: by the system's one clock."""
    steps: dict[tuple[str, int], Callable[[], object]] = {}
    longest = 0.0
    for entry in entries:
        started = time.monotonic()
        try:
            if started + longest > deadline:
                raise SkippedError(f"no time was left to set it up; the ones before it took up to {longest:.0f} s")
            outcome, steps[entry.key] = _made(entry, reference, turn)
        except Exception as error:  # every library raises its own kinds
            outcome = Outcome(entry, problem=first_line(error), expected=_expected(error))
        outcome.set_up = time.monotonic() - started
        longest = max(longest, outcome.set_up)
        connection.send(outcome)
    with contextlib.suppress(EOFError):
        while True:
            connection.send(_turn(steps[connection.recv()]))


def _made(entry: Entry, reference: NDArray[Any], turn: Path) -> tuple[Outcome, Callable[[], object]]:
    """An entry's candidate, held against the reference."""
    with contextlib.nullcontext() if entry.takes_turns else Turn(turn):
        candidate = entry.make()
    with Turn(turn):
        logits = np.asarray(candidate.logits()[:1], np.float32)
    distance = float(np.linalg.norm(logits - reference) / np.linalg.norm(reference))
    agreement = float(np.mean(np.argmax(logits, axis=1) == np.argmax(reference, axis=1)))
    return Outcome(entry, candidate.precision, distance, agreement, facts=candidate.facts), candidate.step


def _turn(step: Callable[[], object]) -> list[float] | str:
    """Milliseconds of some passes after others that warm up, or what went wrong."""
    try:
        until = time.perf_counter() + WARM_SECONDS
        step()
        while time.perf_counter() < until:
            step()
        samples = [timed(step)[0]]
        while len(samples) < PASSES and sum(samples) < TURN_SECONDS * 1e3:
            samples.append(timed(step)[0])
        return samples
    except Exception as error:  # every library raises its own kinds
        return first_line(error)


def _expected(error: Exception) -> bool:
    """Whether an error says that this machine lacks something; exhausted memory is that, too."""
    return isinstance(error, (*EXPECTED, MemoryError)) or type(error).__name__ == "OutOfMemoryError"
