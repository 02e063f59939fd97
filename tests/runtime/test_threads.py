"""Reading ahead: order, errors, and no thread left behind."""

import itertools
import threading
from collections.abc import Iterator

import pytest

from ce2p_runtime.threads import prefetch


def _threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "ce2p-prefetch"]


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
