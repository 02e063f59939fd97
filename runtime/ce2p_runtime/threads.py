"""Read ahead in a thread, so that decoding the next frames overlaps with work on the current one."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterable
from typing import TypeVar

__all__ = ["prefetch"]

T = TypeVar("T")

_POLL = 0.1
"""Seconds between looks at the other side. Only a wait that should never happen lasts this long."""


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
