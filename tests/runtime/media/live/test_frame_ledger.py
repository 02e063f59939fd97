"""Every frame is in the ledger exactly once, whoever is interrupted where."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from ce2p_runtime.errors import ConfigError
from ce2p_runtime.media.live.frame_ledger import FrameCounts, FrameLedger
from ce2p_runtime.media.live.frame_queue import FrameQueue, LivePolicy


def test_it_balances_at_any_time() -> None:
    ledger = FrameLedger()
    entries = [ledger.receive(repaired=index == 0) for index in range(6)]
    ledger.add("undecodable", 2)
    assert ledger.counts == FrameCounts(received=8, failed={"undecodable": 2}, waiting=6)
    entries[0].parse()
    entries[1].drop("late")
    entries[2].fail()
    assert ledger.counts == FrameCounts(
        received=8, parsed=1, repaired=1, dropped={"late": 1}, failed={"not parsed": 1, "undecodable": 2}, waiting=3
    )
    assert ledger.counts.balanced
    ledger.receive()  # which counts those that have their fate
    ledger.close()
    counts = ledger.counts
    assert (counts.received, counts.parsed, counts.repaired, counts.waiting) == (9, 1, 1, 0)
    assert counts.dropped == {"late": 1, "stopped": 4}
    assert counts.balanced
    assert str(counts) == (
        "9 frames = 1 parsed (1 repaired by the decoder) + 5 dropped (late 1, stopped 4) "
        "+ 3 failed (not parsed 1, undecodable 2)"
    )


def test_a_frame_has_one_fate() -> None:
    entry = FrameLedger().receive()
    entry.parse()
    with pytest.raises(RuntimeError, match=r"entered as late, but it was parsed before"):
        entry.drop("late")


def test_what_does_not_balance_is_told() -> None:
    assert not FrameCounts(received=3, parsed=1, dropped={"late": 1}).balanced


def test_latencies_are_percentiles() -> None:
    ledger = FrameLedger()
    waits = np.random.default_rng(0).permutation(np.linspace(0.001, 1.0, 1000))
    for wait in waits:
        entry = ledger.receive(arrived=0.0)
        entry.labelled_after = float(wait)
        entry.parse()
    found = ledger.counts.latency_ms
    assert found == {
        "p50": pytest.approx(500, rel=0.01),
        "p95": pytest.approx(950, rel=0.01),
        "p99": pytest.approx(990, rel=0.01),
    }


def filled(policy: str, count: int) -> tuple[FrameQueue[int], FrameLedger]:
    ledger, queue = FrameLedger(), FrameQueue[int](LivePolicy.read(policy), threading.Event())
    for number in range(count):
        queue.put(number, ledger.receive(arrived=float("-inf") if number == 0 else float("inf")))
    queue.end()
    return queue, ledger


def taken(queue: FrameQueue[int]) -> list[int]:
    return [frame for frame, _ in iter(queue.get, None)]


def test_latest_has_the_last_frame() -> None:
    queue, ledger = filled("latest", 5)
    assert taken(queue) == [4]
    assert ledger.counts.dropped == {"late": 4}


def test_max_age_drops_what_is_older() -> None:
    queue, ledger = filled("max-age=0.5", 5)
    assert taken(queue) == [1, 2, 3, 4]
    assert ledger.counts.dropped == {"too old": 1}


def test_max_age_has_a_limit_of_frames() -> None:
    queue, ledger = filled("max-age=1000", 40)
    assert taken(queue) == list(range(8, 40))
    assert ledger.counts.dropped == {"late": 8}


def test_every_waits_for_room() -> None:
    ledger, queue = FrameLedger(), FrameQueue[int](LivePolicy.read("every"), threading.Event())

    def fill() -> None:
        for number in range(50):
            queue.put(number, ledger.receive())
        queue.end()

    filling = threading.Thread(target=fill)
    filling.start()
    assert taken(queue) == list(range(50))
    filling.join()
    assert ledger.counts.dropped == {}


@pytest.mark.parametrize("text", ["", "newest", "max-age", "max-age=", "max-age=-1", "max-age=inf", "every=1"])
def test_unknown_policies_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"--live: .*expected every, latest or max-age=SECONDS"):
        LivePolicy.read(text)
