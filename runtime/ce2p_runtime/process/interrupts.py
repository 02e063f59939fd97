"""What ends a process from outside, Ctrl-C and the signals that ask it to go, as exceptions that unwind.

Everything that holds a temporary file removes it while an exception passes. By default SIGTERM raises none.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_ASKING = ("SIGINT", "SIGTERM", "SIGHUP")  # Windows has no SIGHUP
_POLL = 0.1
"""Seconds between two looks at a thread, because Ctrl-C cannot interrupt an endless wait on Windows."""
_received: list[int] = []
_failures: list[BaseException] = []


class Terminated(SystemExit):
    """Raised in the main thread where a signal other than Ctrl-C's asks the process to end; `code` is its status."""


INTERRUPTS = (KeyboardInterrupt, Terminated)
"""The exceptions that mean: somebody wants this to stop. Nothing is wrong with the work so far."""


@contextmanager
def unwind_on_signals() -> Iterator[None]:
    """In the block SIGTERM and SIGHUP raise `Terminated`, SIGINT KeyboardInterrupt, in the main thread.

    For programs, not for libraries: to be entered in the main thread. A signal that the process was started with to
    ignore, as under `nohup`, stays ignored.
    """
    _received.clear()
    _failures.clear()
    before = {}
    for name in _ASKING:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:
            before[number] = signal.signal(number, _unwind)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def interrupt_status() -> int | None:
    """The exit status that tells of the signal that came first, 128 + its number; None when there was none.

    It belongs to the last `unwind_on_signals`.
    """
    # Kept beside the exception, because libraries swallow exceptions or make others of them.
    return 128 + _received[0] if _received else None


def failed_at_the_end(error: BaseException) -> bool:
    """Whether `error` came out of work that `uninterrupted` saw through to its end: it is no mere interrupt."""
    return any(error is failure for failure in _failures)


def _unwind(number: int, frame: FrameType | None) -> None:
    _received.append(number)
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise Terminated(128 + number)


def uninterrupted(work: Callable[[], None], give_up: Callable[[], None], *, interrupted: bool = False) -> None:
    """Run `work()` where no interrupt can cut it in two, in a thread, and wait for it. Raises what it raised.

    An interrupt is raised when the work is done. A second one (the first, when what led here was one: `interrupted`)
    calls `give_up()`, which should make the work end soon. One more is raised at once.
    """
    errors: list[BaseException] = []
    claimed, done = threading.Lock(), threading.Event()

    def run() -> None:
        if not claimed.acquire(blocking=False):  # an interrupt came while a thread was being started: there are two
            return
        try:
            work()
        except BaseException as error:
            errors.append(error)
        finally:
            done.set()

    caught: BaseException | None = None
    given_up = False
    while not done.is_set():
        try:
            if not claimed.locked():
                threading.Thread(target=run, name="ce2p-finish", daemon=True).start()
            done.wait(_POLL)
        except INTERRUPTS as interrupt:
            if given_up:
                raise
            if interrupted or caught is not None:
                given_up = True
                give_up()
            caught = interrupt
    if errors:
        _failures.append(errors[0])
        raise errors[0]
    if caught is not None:
        raise caught
