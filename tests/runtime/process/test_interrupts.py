"""Work that an interrupt must not cut in two."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

import pytest

from ce2p_runtime.process.interrupts import Terminated, uninterrupted, unwind_on_signals

SIGNALS = [signal.SIGINT, signal.SIGTERM]
RAISED = {signal.SIGINT: KeyboardInterrupt, signal.SIGTERM: Terminated}


def interrupting(times: int, number: int, done: list[str]) -> Callable[[], None]:
    """Work that gets `times` signals sent to the process while it goes on, and waits until each has been heard."""

    def work() -> None:
        for _ in range(times):
            os.kill(os.getpid(), number)
            threading.Event().wait(0.3)  # the main thread looks every 0.1 s
        done.append("worked")

    return work


@pytest.mark.parametrize("number", SIGNALS)
def test_an_interrupt_waits_for_the_end_of_the_work(number: signal.Signals) -> None:
    done: list[str] = []
    with unwind_on_signals(), pytest.raises(RAISED[number]):
        uninterrupted(interrupting(1, number, done), lambda: done.append("gave up"))
    assert done == ["worked"]


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize(("before", "during"), [(False, 2), (True, 1)])
def test_the_second_interrupt_gives_up(before: bool, during: int, number: signal.Signals) -> None:
    done: list[str] = []
    with unwind_on_signals(), pytest.raises(RAISED[number]):
        uninterrupted(interrupting(during, number, done), lambda: done.append("gave up"), interrupted=before)
    assert done == ["gave up", "worked"]


def test_one_more_interrupt_is_raised_at_once() -> None:
    given_up, never = threading.Event(), threading.Event()

    def work() -> None:
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGINT)
            threading.Event().wait(0.3)
        never.wait(60)

    with pytest.raises(KeyboardInterrupt):
        uninterrupted(work, given_up.set)
    assert given_up.is_set()
    never.set()


def test_an_error_of_the_work_is_raised_before_an_interrupt() -> None:
    done: list[str] = []

    def work() -> None:
        interrupting(1, signal.SIGINT, done)()
        raise LookupError("no room")

    with pytest.raises(LookupError, match="no room"):
        uninterrupted(work, lambda: done.append("gave up"))
    assert done == ["worked"]


def test_without_an_interrupt_it_is_a_call() -> None:
    done: list[str] = []
    uninterrupted(lambda: done.append("worked"), lambda: done.append("gave up"))
    assert done == ["worked"]
