"""Reading ahead and working behind: order, errors, and no thread left behind."""

import itertools
import threading
import weakref
from collections.abc import Iterator

import pytest

from ce2p_runtime.process.threads import Worker, prefetch


def _threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name in ("ce2p-prefetch", "ce2p-worker")]


@pytest.mark.parametrize("depth", [1, 3, 100])
def test_order_is_kept(depth: int) -> None:
    assert list(prefetch(range(50), depth)) == list(range(50))
    assert _threads() == []


def test_none_is_an_item() -> None:
    assert list(prefetch([None, 0, None])) == [None, 0, None]


def test_error_comes_after_the_items_before_it() -> None:
    def source() -> Iterator[int]:
        yield from (1, 2, 3)
        raise LookupError("broken source")

    ahead = prefetch(source(), 1)
    seen = list(itertools.islice(ahead, 3))
    with pytest.raises(LookupError, match="broken source"):
        next(ahead)
    assert seen == [1, 2, 3]
    assert _threads() == []


def test_error_of_an_iterable_that_cannot_start() -> None:
    with pytest.raises(TypeError):
        list(prefetch(5))  # type: ignore[arg-type]
    assert _threads() == []


def test_early_stop_ends_the_thread_and_closes_the_source_in_it() -> None:
    closed_in = []

    def source() -> Iterator[int]:
        try:
            yield from itertools.count()
        finally:
            closed_in.append(threading.current_thread().name)

    ahead = prefetch(source(), 2)
    assert [next(ahead) for _ in range(3)] == [0, 1, 2]
    assert _threads() == ["ce2p-prefetch"]
    ahead.close()
    assert _threads() == []
    assert closed_in == ["ce2p-prefetch"]


def test_a_consumer_that_raises_leaves_no_thread() -> None:
    def consume() -> None:
        for item in prefetch(itertools.count(), 2):
            if item == 5:
                raise ValueError("consumer")

    with pytest.raises(ValueError, match="consumer"):
        consume()
    assert _threads() == []


def test_no_more_than_depth_and_one_are_read_ahead() -> None:
    read: list[int] = []
    full = threading.Event()

    def source() -> Iterator[int]:
        for number in itertools.count():
            read.append(number)
            if number == 4:
                full.set()
            yield number

    ahead = prefetch(source(), 3)
    assert next(ahead) == 0
    assert full.wait(10)  # 0 is out, 1 2 3 queued, 4 in the thread's hand
    assert read == [0, 1, 2, 3, 4]
    ahead.close()
    assert read == [0, 1, 2, 3, 4]


def test_depth_is_checked_at_once_and_nothing_starts_before_the_first_item() -> None:
    with pytest.raises(ValueError, match="depth is 0"):
        prefetch([1], 0)
    ahead = prefetch(iter([1]), 1)
    assert _threads() == []
    ahead.close()


# Working behind


@pytest.mark.parametrize("depth", [1, 3, 100])
def test_a_worker_does_everything_in_order(depth: int) -> None:
    done: list[int] = []
    worker = Worker(done.append, depth)
    for number in range(50):
        worker.put(number)
    worker.finish()
    assert done == list(range(50))
    assert _threads() == []


def test_a_worker_that_is_behind_lets_its_caller_wait() -> None:
    go, handed = threading.Event(), []
    worker = Worker(lambda _: go.wait(30), 2)

    def hand_over() -> None:
        for number in range(6):
            worker.put(number)
            handed.append(number)

    caller = threading.Thread(target=hand_over)
    caller.start()
    caller.join(0.5)
    assert len(handed) == 3  # one at work, two waiting
    go.set()
    caller.join(30)
    worker.finish()
    assert len(handed) == 6


def test_an_error_of_the_work_is_raised_by_the_next_item_and_at_the_end() -> None:
    done: list[int] = []

    def work(number: int) -> None:
        if number == 2:
            raise LookupError("broken work")
        done.append(number)

    worker = Worker(work, 1)

    def hand_over() -> None:
        for number in range(50):
            worker.put(number)

    with pytest.raises(LookupError, match="broken work"):
        hand_over()
    with pytest.raises(LookupError, match="broken work"):
        worker.put(50)
    with pytest.raises(LookupError, match="broken work"):
        worker.finish()
    worker.stop()
    assert done == [0, 1]
    assert _threads() == []


def test_an_error_on_the_last_item_is_raised_at_the_end() -> None:
    worker = Worker(lambda number: 1 // number)
    worker.put(1)
    worker.put(0)
    with pytest.raises(ZeroDivisionError):
        worker.finish()


def test_a_stopped_worker_drops_what_waits() -> None:
    started, go, done = threading.Event(), threading.Event(), []

    def work(number: int) -> None:
        started.set()
        go.wait(30)
        done.append(number)

    worker = Worker(work, 10)
    for number in range(5):
        worker.put(number)
    assert started.wait(30)
    stopping = threading.Thread(target=worker.stop)
    stopping.start()
    go.set()
    stopping.join(30)
    assert done[0] == 0
    assert len(done) < 5
    assert _threads() == []
    with pytest.raises(RuntimeError, match="has ended"):
        worker.put(9)


def test_a_worker_holds_no_item_it_is_done_with() -> None:
    class Frame:
        pass

    done = threading.Event()
    worker = Worker(lambda _: done.set())
    frame = Frame()
    alive = weakref.ref(frame)
    worker.put(frame)
    del frame
    assert done.wait(30)
    for _ in range(100):
        if alive() is None:
            break
        threading.Event().wait(0.05)
    assert alive() is None
    worker.finish()


def test_the_depth_of_a_worker_is_checked() -> None:
    with pytest.raises(ValueError, match="depth is 0"):
        Worker(print, 0)
