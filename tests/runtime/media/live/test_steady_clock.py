"""Times of live sources: the source's own steps where they are steps, and one frame where they are not."""

from __future__ import annotations

from fractions import Fraction

import pytest

from ce2p_runtime.media.live.steady_clock import SteadyClock

MILLISECOND = Fraction(1, 1000)


def stamped(stamps: list[int | None], *, from_zero: bool = True) -> tuple[list[int], SteadyClock]:
    clock = SteadyClock(Fraction(25), from_zero=from_zero, by_arrival=False)
    return [clock.stamp(pts, MILLISECOND, 0.0) for pts in stamps], clock


@pytest.mark.parametrize(
    ("stamps", "shown", "jumps"),
    [
        ([500, 520, 600, 620], [0, 20, 100, 120], 0),  # uneven times stay as they are
        ([None, -15, 25, 65], [0, 40, 80, 120], 0),  # RTSP: the first comes without a time
        ([0, 40, None, 120], [0, 40, 80, 120], 0),
        ([0, 40, 5, 45], [0, 40, 80, 120], 1),  # back, as where two recordings were put together
        ([0, 40, 40, 80], [0, 40, 80, 120], 1),  # the same again
        ([0, 40, 2**33, 2**33 + 40], [0, 40, 80, 120], 1),  # forward by a day
        ([2**33 - 40, 2**33, 40, 80], [0, 40, 80, 120], 1),  # MPEG-TS counts to 2**33
        ([0, 9_000, 18_000], [0, 9_000, 18_000], 0),  # ten seconds are a slow camera
        ([None, None, None], [0, 40, 80], 0),
    ],
)
def test_times_go_on_evenly(stamps: list[int | None], shown: list[int], jumps: int) -> None:
    found, clock = stamped(stamps)
    assert found == shown
    assert clock.jumps == jumps
    assert clock.time_base == MILLISECOND


def test_a_pipe_keeps_its_own_times() -> None:
    assert stamped([7777, 7797, 7877], from_zero=False)[0] == [7777, 7797, 7877]


def test_after_a_loss_frames_are_later_by_what_it_lasted() -> None:
    clock = SteadyClock(Fraction(25), from_zero=True, by_arrival=False)
    assert [clock.stamp(0, MILLISECOND, 10.0), clock.stamp(40, MILLISECOND, 10.04)] == [0, 40]
    clock.lose()
    # The new session counts anew, and in another unit.
    ticks = Fraction(1, 90_000)
    assert [clock.stamp(1_000_000, ticks, 13.04), clock.stamp(1_003_600, ticks, 13.1)] == [3040, 3080]
    assert clock.jumps == 0


def test_what_has_no_times_gets_those_of_its_arrival() -> None:
    clock = SteadyClock(Fraction(25), from_zero=True, by_arrival=True)
    shown = [clock.stamp(index, Fraction(1, 25), arrival) for index, arrival in enumerate([5.0, 5.5, 5.5, 6.0])]
    assert [round(float(pts * clock.time_base), 4) for pts in shown] == [0.0, 0.5, 0.5, 1.0]
    assert sorted(set(shown)) == shown  # two at once still have an order
