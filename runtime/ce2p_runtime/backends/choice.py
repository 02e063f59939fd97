"""The backend for a network on this machine's CPU, chosen by measurement.

Which library runs a network faster, and with how many threads, depends on network, processor and versions: on one
machine OpenVINO leads at output stride 16 and ONNX Runtime at 8. So each option that is installed is loaded and timed
on random input, in turn with the others (timing.py), and the fastest stays. That happens once per network and machine
and is remembered (choice_memory.py).

All options are loaded at once while they are timed, so the first time takes their memory together.
"""

from __future__ import annotations

import datetime
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..machine import usable_cores
from ..metadata import ModelMetadata
from ..timing import interleave
from .base import Backend
from .choice_memory import BackendChoice, Option, choice_key, recall, remember

__all__ = ["ChoosableBackend", "choose_backend", "options_for"]

logger = logging.getLogger(__name__)

ROUNDS = 5
BUDGET = 20.0
"""Seconds of timing that are enough: networks that take longer get fewer rounds."""

_TOPOLOGY = Path("/sys/devices/system/cpu")


class ChoosableBackend(Backend, Protocol):
    """A backend that keeps why it was chosen."""

    choice: BackendChoice | None


Loader = Callable[[Path, str, int | None], ChoosableBackend]


def choose_backend(path: Path, loaders: Mapping[str, Loader], threads: int | None) -> ChoosableBackend:
    """The fastest of these backends for an ONNX file on the CPU, loaded, with its `choice` filled in.

    `loaders`: by name, called with (path, "cpu", threads). `threads`: what the user asked for; None tries what is worth
    trying. An option that does not load or fails is left out and named; where all do, the first one's error is raised.
    A single option is loaded as it is. Raises OSError where the file cannot be read.
    """
    options = options_for(loaders, threads)
    if len(options) == 1:
        return _load(path, loaders, options[0])
    key = choice_key(path, options)
    backend = _recalled(path, loaders, key, options)
    if backend is not None:
        return backend
    logger.info("%s: timing %s, once on this machine", path, ", ".join(map(str, options)))
    backend, choice = _measured(path, loaders, options)
    backend.choice = choice
    logger.info("%s: backend %s (%s)", path, choice.option, choice.description)
    remember(key, path.name, choice)
    return backend


def options_for(names: Iterable[str], threads: int | None) -> list[Option]:
    """What is worth timing: each backend with its library's own number of threads, and with one per usable core.

    The libraries take one thread per physical core of the machine, so the two are one where those are the usable cores.
    Given `threads` are the only ones.
    """
    counts: list[int | None] = [threads]
    usable = usable_cores()
    if threads is None and usable is not None and usable != _physical_cores():
        counts.append(usable)
    return [Option(name, count) for name in names for count in counts]


def _physical_cores() -> int | None:
    """Cores of the machine, hyperthreads of one counted once; None where the system does not say."""
    files = list(_TOPOLOGY.glob("cpu[0-9]*/topology/thread_siblings_list"))
    try:
        return len({file.read_text() for file in files}) or None
    except OSError:
        return None


def _load(path: Path, loaders: Mapping[str, Loader], option: Option) -> ChoosableBackend:
    return loaders[option.backend](path, "cpu", option.threads)


def _recalled(path: Path, loaders: Mapping[str, Loader], key: str, options: list[Option]) -> ChoosableBackend | None:
    """The backend that was chosen before; None where none was, or it does not load any more."""
    choice = recall(key, options)
    if choice is None:
        return None
    try:
        backend = _load(path, loaders, choice.option)
    except Exception as error:
        logger.warning("%s: %s was chosen before and fails now (%s)", path, choice.option, _one_line(error))
        return None
    backend.choice = choice
    logger.info("%s: backend %s (%s)", path, choice.option, choice.description)
    return backend


class _Runner:
    """An option being timed: `run` never raises, a failure is kept."""

    def __init__(self, option: Option) -> None:
        self.option = option
        self.backend: ChoosableBackend | None = None
        self.error: Exception | None = None
        self._input: NDArray[Any] | None = None

    def load(self, path: Path, loaders: Mapping[str, Loader]) -> None:
        try:
            self.backend = _load(path, loaders, self.option)
            self._input = _random_input(self.backend.metadata, self.backend.batch or 1)
        except Exception as error:
            self.fail(error)

    def run(self) -> None:
        if self.backend is None or self._input is None:
            return
        try:
            self.backend.run(self._input)
        except Exception as error:
            self.fail(error)

    def fail(self, error: Exception) -> None:
        self.error = error
        self.close()

    def close(self) -> None:
        if self.backend is not None:
            with suppress(Exception):  # a loser that does not even close is no reason to have no winner
                self.backend.close()
            self.backend = None


def _measured(
    path: Path, loaders: Mapping[str, Loader], options: list[Option]
) -> tuple[ChoosableBackend, BackendChoice]:
    runners = [_Runner(option) for option in options]
    kept: _Runner | None = None
    try:
        for runner in runners:
            runner.load(path, loaders)
        times = _times(runners)
        running = [runner for runner in runners if runner.backend is not None]
        kept = min(running, key=lambda runner: times.get(str(runner.option), 0.0), default=None)
        if kept is None or kept.backend is None:
            raise next(runner.error for runner in runners if runner.error is not None)
        left_out = {str(runner.option): _one_line(runner.error) for runner in runners if runner.error is not None}
        for name, reason in left_out.items():
            logger.warning("%s: %s is left out of the choice (%s)", path, name, reason)
        times = {name: ms for name, ms in times.items() if name not in left_out}
        today = datetime.datetime.now().astimezone().date().isoformat()
        return kept.backend, BackendChoice(kept.option, times, left_out, today)
    finally:
        for runner in runners:
            if runner is not kept:
                runner.close()


def _times(runners: list[_Runner]) -> dict[str, float]:
    """Median milliseconds by option; nothing where fewer than two of them run."""
    started = time.perf_counter()
    for runner in runners:
        runner.run()
    seconds = time.perf_counter() - started
    running = {str(runner.option): runner.run for runner in runners if runner.backend is not None}
    if len(running) < 2:
        return {}
    timings = interleave(running, _rounds(seconds), warmup=0)
    return {name: timing.median_ms for name, timing in timings.items()}


def _rounds(seconds: float) -> int:
    """How often to time options that take so long together."""
    return max(1, min(ROUNDS, int(BUDGET / max(seconds, 1e-9))))


def _random_input(metadata: ModelMetadata, batch: int) -> NDArray[Any]:
    """Noise of the network's own kind. Its time does not depend on what it sees."""
    height, width = metadata.input_size
    noise = np.random.default_rng(0)
    if metadata.input_kind == "uint8":
        return noise.integers(0, 256, (batch, height, width, 3), np.uint8)
    return noise.standard_normal((batch, 3, height, width), np.float32).astype(metadata.io)


def _one_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
