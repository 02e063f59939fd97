"""Run code that may crash, hang or fill the memory in a process of its own, case by case, and say what came of each.

A child takes many cases, of the next call too where it wants the same, since starting one costs a second; after a
crash or a hang a new child takes over with the next case.
"""

from __future__ import annotations

import multiprocessing
import resource
import signal
import sys
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Literal, TypeVar

from ce2p_runtime.errors import CE2PError

__all__ = ["Outcome", "run_isolated"]

Case = TypeVar("Case")

_waiting: dict[tuple[Any, int], _Child] = {}
"""At most one: the child of the last call."""
_SPAWN = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class Outcome:
    """What came of one case."""

    case: Any
    kind: Literal["returned", "refused", "raised", "crashed", "hung"]
    """`refused`: an error of ours, whose message is one line for the user. `raised`: any other exception."""
    value: Any = None
    """What the work returned; the message of a refusal; the traceback; the signal's or exit's name."""
    peak: int = 0
    """Bytes of memory the child had used at its worst so far, since it was started."""


def run_isolated(
    work: Callable[[Case], Any], cases: Iterable[Case], *, timeout: float = 60.0, memory: int = 2**30
) -> list[Outcome]:
    """`work(case)` for each case in a child process; `work` must be a function that a module offers by name.

    `timeout`: seconds after which a case counts as hung. `memory`: bytes that the child may use beyond what it had
    after its first case; allocations beyond fail there (RLIMIT_AS counts address space, so this is coarse). Judge real
    use by `Outcome.peak`.
    """
    outcomes: list[Outcome] = []
    child, whole = _waiting.pop((work, memory), None), False
    for other in _waiting.values():
        other.end()
    _waiting.clear()
    try:
        for case in cases:
            if child is None:
                child = _Child(work, memory)
            outcome = child.do(case, timeout)
            outcomes.append(outcome)
            if outcome.kind in ("crashed", "hung"):
                child.end()
                child = None
        whole = True
    finally:
        if child is not None and whole:
            _waiting[work, memory] = child
        elif child is not None:
            child.end()
    return outcomes


class _Child:
    """One child process with a pipe to it."""

    def __init__(self, work: Callable[[Any], Any], memory: int) -> None:
        self._pipe, theirs = _SPAWN.Pipe()
        self._process = _SPAWN.Process(target=_serve, args=(theirs, work, memory), daemon=True)
        self._process.start()
        theirs.close()
        self._started = False

    def do(self, case: Any, timeout: float) -> Outcome:
        # Imports belong to the first case and may take long on a busy machine.
        limit, self._started = (timeout if self._started else timeout + 120), True
        try:
            self._pipe.send(case)
            if not self._pipe.poll(limit):
                return Outcome(case, "hung", f"no answer within {limit:g} s")
            kind, value, peak = self._pipe.recv()
            return Outcome(case, kind, value, peak)
        except (EOFError, ConnectionError):
            self._process.join(10)
            code = self._process.exitcode
            name = signal.Signals(-code).name if code is not None and code < 0 else f"exit status {code}"
            return Outcome(case, "crashed", name)

    def end(self) -> None:
        self._pipe.close()
        self._process.join(0.5)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def _serve(pipe: Connection, work: Callable[[Any], Any], memory: int) -> None:
    limited = False
    while True:
        try:
            case = pipe.recv()
        except EOFError:
            return
        answer: tuple[str, Any]
        try:
            answer = ("returned", work(case))
        except CE2PError as error:
            answer = ("refused", str(error))
        except BaseException:
            answer = ("raised", traceback.format_exc())
        pipe.send((*answer, _peak()))
        if not limited:
            _limit(memory)
            limited = True


def _peak() -> int:
    if sys.platform == "linux":
        # Not getrusage: its maximum survives exec, so that a child begins with what its parent used.
        with open("/proc/self/status") as file:  # noqa: PTH123
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM:"))
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used if sys.platform == "darwin" else used * 1024


def _limit(memory: int) -> None:
    """Room for `memory` bytes more of address space, where the system tells how much is in use."""
    if sys.platform != "linux":
        return
    with open("/proc/self/statm") as file:  # noqa: PTH123
        pages = int(file.read().split()[0])
    limit = pages * resource.getpagesize() + memory
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
