"""The backend for a network on this machine's CPU, chosen by measurement.

Which library runs a network faster, and with how many threads, depends on network, processor and versions: on one
machine OpenVINO leads at output stride 16 and ONNX Runtime at 8. So each option that is installed is loaded and timed
on random input, in turn with the others (choice_timing.py), and the fastest stays; one that is clearly slower goes as
soon as that shows. That happens once per network and machine and is remembered (choice_memory.py): from then on nothing
else is loaded.

Times that other programs disturbed (choice_timing.py says how that shows) are taken once more at once. Where they are
no better then, the choice counts for this process only and says so. The first pass of a remembered choice is its trial
(`RememberedBackend`).

Options are loaded at once while they are timed, so the first time takes their memory together.
"""

from __future__ import annotations

import datetime
import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ..base.text import first_line
from ..measuring.machine import usable_cores
from ..measuring.timing import timed
from .base import Backend
from .choice_memory import BackendChoice, Option, choice_key, forget, recall, remember
from .choice_timing import Runner, Times, time_options

logger = logging.getLogger(__name__)

_TOPOLOGY = Path("/sys/devices/system/cpu")


def choose_backend(
    path: Path, names: Sequence[str], threads: int | None, load: Callable[[Option, bool], Backend], *, keep: bool
) -> Backend:
    """The fastest of these backends for an ONNX file on the CPU, loaded, with its `choice` filled in.

    `threads`: what the user asked for; None tries what is worth trying. `load` is called with an option and whether to
    keep what its library compiles. An option that does not load or fails is left out and named; where all do, the
    first one's error is raised. That timing begins is logged as INFO. `keep`: what was compiled of the one that stays.
    Raises OSError where the file cannot be read.
    """
    options = options_for(names, threads)
    if len(options) == 1:
        return load(options[0], keep)
    key = choice_key(path, options)
    backend = _recalled(path, key, options, lambda option: load(option, keep))
    if backend is not None:
        return backend
    logger.info(
        "%s: timing %s once for this model and machine, which takes some seconds; remembered afterwards",
        path.name,
        _joined(options),
    )
    backend, choice = _measured(path, options, lambda option: load(option, False))
    backend.choice = choice
    logger.debug("%s: backend %s (%s)", path, choice.option, choice.description)
    remember(key, path.name, choice)
    if keep:
        backend.keep()
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


class RememberedBackend(Backend):
    """`backend` as it is, with `forget` called where its first pass contradicts the time in `choice`.

    A pass made for that alone would cost half a second of every start with a ResNet-101. So the caller's first pass is
    the trial: where it fails, or takes less than half of what is remembered (something disturbed that time unseen), the
    memory is forgotten, and the network is timed anew the next time it is opened.
    """

    def __init__(self, path: Path, backend: Backend, choice: BackendChoice, forget: Callable[[], None]) -> None:
        self.name, self.device = backend.name, backend.device
        self.metadata, self.batch = backend.metadata, backend.batch
        self.choice = choice
        self._backend = backend
        self._path = path
        self._forget: Callable[[], None] | None = forget
        self._expected = choice.median_ms.get(str(choice.option), 0.0)

    def run(self, batch: NDArray[Any]) -> list[NDArray[Any]]:
        """See Backend.run."""
        forget = self._forget
        if forget is None or len(batch) != (self.batch or 1):  # that is the batch that was timed
            return self._backend.run(batch)
        self._forget = None
        try:
            took, outputs = timed(lambda: self._backend.run(batch))
        except Exception:
            forget()
            raise
        if took < self._expected / 2:
            logger.info(
                "%s: took %.3g ms when it was timed and %.3g now; the next start times it again",
                self._path,
                self._expected,
                took,
            )
            forget()
        return outputs

    def close(self) -> None:
        """See Backend.close."""
        self._backend.close()


def _recalled(path: Path, key: str, options: list[Option], load: Callable[[Option], Backend]) -> Backend | None:
    """The backend that was chosen before; None where none was, or it does not load now."""
    choice = recall(key, options)
    if choice is None:
        return None
    try:
        backend = load(choice.option)
    except Exception as error:
        logger.warning("%s: %s was chosen before and fails now (%s)", path, choice.option, first_line(error))
        return None
    backend.choice = choice
    logger.debug("%s: backend %s (%s)", path, choice.option, choice.description)
    return backend if choice.noise else RememberedBackend(path, backend, choice, lambda: forget(key))


def _measured(path: Path, options: list[Option], load: Callable[[Option], Backend]) -> tuple[Backend, BackendChoice]:
    runners = [Runner(option) for option in options]
    kept: Runner | None = None
    try:
        for runner in runners:
            runner.load(load)
        times = _times(path, runners)
        running = [runner for runner in runners if runner.backend is not None]
        kept = min(running, key=lambda runner: times.median_ms.get(str(runner.option), 0.0), default=None)
        if kept is None or kept.backend is None:
            raise next(runner.error for runner in runners if runner.error is not None)
        left_out = {str(runner.option): first_line(runner.error) for runner in runners if runner.error is not None}
        for name, reason in left_out.items():
            logger.warning("%s: %s is left out of the choice (%s)", path, name, reason)
        today = datetime.datetime.now().astimezone().date().isoformat()
        return kept.backend, BackendChoice(kept.option, times.median_ms, left_out, today, noise=times.noise)
    finally:
        for runner in runners:
            if runner is not kept:
                runner.close()


def _times(path: Path, runners: list[Runner]) -> Times:
    for runner in runners:  # the first pass does not count
        runner.run()
    times = time_options(runners)
    if times.noise and sum(runner.backend is not None for runner in runners) > 1:
        logger.info("%s: timing again (%s)", path, times.noise)
        again = time_options(runners)
        times = Times({**times.median_ms, **again.median_ms}, again.noise)
    return times


def _joined(options: list[Option]) -> str:
    """In words: "a, b and c"."""
    *first, last = map(str, options)
    return f"{', '.join(first)} and {last}"
