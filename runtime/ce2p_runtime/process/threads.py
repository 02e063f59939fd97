"""Threads: reading ahead in one, doing what follows in one behind, taking turns, and what a fork leaves of them."""

from __future__ import annotations

import atexit
import ctypes
import os
import queue
import threading
import time
import weakref
from collections.abc import Callable, Generator, Iterable
from contextlib import AbstractContextManager
from functools import wraps
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar

T = TypeVar("T")

_POLL = 0.1
"""Seconds between looks at the other side. Only a wait that should never happen lasts this long."""
_PATIENCE = 5.0
"""Seconds that an interpreter which exits leaves to threads that an interrupt has cut off from who waits for them."""

_running: weakref.WeakKeyDictionary[threading.Thread, threading.Event] = weakref.WeakKeyDictionary()
"""Threads of this module and what tells each to stop."""


@atexit.register
def _let_threads_end() -> None:
    """Let each finish the step it is at: a thread torn out of a library in C++ makes that abort the whole process."""
    until = time.monotonic() + _PATIENCE
    left = [(thread, stop) for thread, stop in _running.items() if thread.is_alive()]
    for _, stop in left:
        stop.set()
    for thread, _ in left:
        thread.join(max(0.0, until - time.monotonic()))


def prefetch(iterable: Iterable[T], depth: int = 4) -> Generator[T, None, None]:
    """Yield the items of `iterable` in order while a thread reads up to `depth` of them ahead.

    Besides the queue, the thread holds one item and the consumer another: `depth + 2` items are alive at
    most. An exception of the iterable is raised here, after the items that came before it. When the consumer
    stops early (break, exception, `close()`), the thread finishes the item it is at, and is joined before
    this generator ends: afterwards nobody touches the iterable any more. The thread starts with the first
    item asked for. Raises ValueError for a depth below 1.
    """
    if depth < 1:
        raise ValueError(f"prefetch depth is {depth}, expected 1 or more")
    return _prefetched(iterable, depth)


class _Reader(threading.Thread):
    """Moves items from an iterable into a bounded queue: `(item, None)`, then one `(None, error or None)`."""

    def __init__(self, iterable: Iterable[object], depth: int) -> None:
        # daemon: an interpreter that exits does not wait for a read that never returns.
        super().__init__(name="ce2p-prefetch", daemon=True)
        self.items: queue.Queue[tuple[bool, object]] = queue.Queue(depth)
        self.stop = threading.Event()
        self._iterable = iterable
        _running[self] = self.stop

    def run(self) -> None:
        end: BaseException | None = None
        try:
            iterator = iter(self._iterable)
            try:
                for item in iterator:
                    if not self._put((True, item)):
                        break
            finally:
                # A generator left half-way is closed in the thread that ran it (codec contexts insist on
                # that).
                if isinstance(iterator, Generator):
                    iterator.close()
        except BaseException as error:
            end = error
        self._put((False, end))

    def _put(self, entry: tuple[bool, object]) -> bool:
        """Queue `entry`; False when the consumer has gone (on a full queue nobody else would tell)."""
        while not self.stop.is_set():
            try:
                self.items.put(entry, timeout=_POLL)
                return not self.stop.is_set()  # room may have come from a consumer that is leaving
            except queue.Full:
                continue
        return False

    def finish(self) -> None:
        """Called by the consumer: end the thread and wait for it."""
        self.stop.set()
        while True:
            try:
                self.items.get_nowait()  # makes room, so that a waiting `put` returns at once
            except queue.Empty:
                break
        self.join()


def _prefetched(iterable: Iterable[T], depth: int) -> Generator[T, None, None]:
    reader = _Reader(iterable, depth)
    reader.start()
    try:
        while True:
            try:
                # With a timeout, because Ctrl-C cannot interrupt an endless wait on Windows.
                more, item = reader.items.get(timeout=_POLL)
            except queue.Empty:
                continue
            if more:
                yield item  # type: ignore[misc]  # the queue carries items and one exception
                del item  # the consumer owns it now; do not keep a frame alive while waiting for the next
            elif isinstance(item, BaseException):
                raise item
            else:
                return
    finally:
        reader.finish()


class Worker(Generic[T]):
    """Does `work` on items in a thread of its own, in the order they come.

        worker = Worker(writer.write_frame)
        for frame in frames:
            worker.put(frame)
        worker.finish()

    At most `depth` items wait, one more is at work; `put` waits for room, so that a slow worker slows its caller down
    instead of filling the memory. Nothing is lost silently: what `work` raised is raised by each `put` that follows
    and by `finish`. Call `put`, `finish` and `stop` from one thread at a time; always end with `finish` or `stop`.
    """

    def __init__(self, work: Callable[[T], object], depth: int = 4) -> None:
        if depth < 1:
            raise ValueError(f"depth is {depth}, expected 1 or more")
        self._work = work
        self._items: queue.Queue[tuple[T] | None] = queue.Queue(depth)
        self._error: BaseException | None = None
        self._stopping = threading.Event()
        # daemon: an interpreter that exits does not wait for a write that never returns.
        self._thread = threading.Thread(target=self._run, name="ce2p-worker", daemon=True)
        _running[self._thread] = self._stopping
        self._thread.start()

    def put(self, item: T) -> None:
        """Hand an item over. Raises what `work` raised on an earlier one; the item is then not worked on."""
        queued = self._queue((item,))
        if self._error is not None:
            raise self._error
        if not queued:
            raise RuntimeError("this worker has ended, nothing can be handed to it")

    def finish(self) -> None:
        """Wait until everything handed over is done, and end the thread. Raises what `work` raised."""
        self._queue(None)
        self._thread.join()
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """End the thread behind the item it is at; the items behind that one are dropped. May cut a `finish` short."""
        self._stopping.set()
        self._thread.join()

    def _queue(self, entry: tuple[T] | None) -> bool:
        """Wait for room and use it; False when the thread has ended."""
        while self._thread.is_alive():
            try:
                self._items.put(entry, timeout=_POLL)
                return True
            except queue.Full:
                continue
        return False

    def _run(self) -> None:
        try:
            while (entry := self._next()) is not None:
                self._work(entry[0])
                del entry  # do not keep a frame alive while waiting for the next
        except BaseException as error:
            self._error = error

    def _next(self) -> tuple[T] | None:
        while not self._stopping.is_set():
            try:
                return self._items.get(timeout=_POLL)
            except queue.Empty:
                continue
        return None


class _Locked(Protocol):
    @property
    def _lock(self) -> AbstractContextManager[Any]: ...


Owner = TypeVar("Owner", bound=_Locked)
P = ParamSpec("P")


def one_at_a_time(method: Callable[Concatenate[Owner, P], T]) -> Callable[Concatenate[Owner, P], T]:
    """Run `method` with its object's `_lock` held, a threading.RLock.

    Reentrant, because the garbage collector may call such a method in the middle of another one of the same thread.
    """

    @wraps(method)
    def alone(self: Owner, /, *args: P.args, **kwargs: P.kwargs) -> T:
        with self._lock:
            return method(self, *args, **kwargs)

    return alone


_kept: weakref.WeakSet[object] = weakref.WeakSet()


def keep_in_children(thing: object) -> None:
    """Never let `thing` go in processes forked from this one; here it lives as long as somebody refers to it.

    A fork copies a network but not the threads that belong to it. The copy runs: the calling thread does the work
    alone. Destroying it would wait for threads that do not exist; ONNX Runtime then ends the process with a
    segmentation fault, and OpenVINO hangs at its exit (seen with 1.32 and 2026.4). A child's end frees the memory
    anyway.
    """
    _kept.add(thing)


def _after_fork_in_child() -> None:
    for thing in _kept:
        # One reference more than anybody gives back. A list would not do: the interpreter clears it at its end.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_after_fork_in_child)
