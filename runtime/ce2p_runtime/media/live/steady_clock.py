"""Times that go on evenly, whatever a source's own times do: lack, jump, go back, wrap, or begin again."""

from __future__ import annotations

from fractions import Fraction

_LONGEST_STEP = 10
"""Seconds. More between two frames, or no time at all, means that the source has begun another count."""
_ARRIVAL_UNIT = Fraction(1, 90_000)


class SteadyClock:
    """Gives every frame a time after the one before. Steps of up to 10 s are the source's own, exactly."""

    def __init__(self, frame_rate: Fraction, *, from_zero: bool, by_arrival: bool) -> None:
        """`from_zero`: the first frame is at 0, not at its own time. `by_arrival`: the source has no times worth it."""
        self._frame_rate, self._from_zero, self._by_arrival = frame_rate, from_zero, by_arrival
        self.time_base = _ARRIVAL_UNIT
        """Seconds per unit of the times given; that of the source's first frame."""
        self.jumps = 0
        """Times that the source's count jumped or went back."""
        self._shown: int | None = None
        self._source_pts: int | None = None
        self._last_arrival = 0.0
        self._after_loss = False

    def lose(self) -> None:
        """The source broke off: the next frame comes later by as much as it arrives later."""
        self._source_pts, self._after_loss = None, True

    def stamp(self, pts: int | None, time_base: Fraction | None, arrival: float) -> int:
        """The time of the next frame in units of `time_base`. `arrival`: seconds on a monotonic clock."""
        since, self._last_arrival = arrival - self._last_arrival, arrival
        if self._shown is None and not self._by_arrival and time_base is not None:
            self.time_base = time_base
        ticks = None if pts is None or time_base is None else round(pts * time_base / self.time_base)
        if self._shown is None:
            self._shown = 0 if self._from_zero or ticks is None else ticks
        elif self._by_arrival or self._after_loss:
            self._shown += max(1 if self._by_arrival else self._frame, round(since / self.time_base))
        else:
            self._shown += self._step(ticks)
        if ticks is None and self._source_pts is not None:
            ticks = self._source_pts + self._frame
        self._source_pts, self._after_loss = ticks, False
        return self._shown

    @property
    def _frame(self) -> int:
        return max(1, round(1 / (self._frame_rate * self.time_base)))

    def _step(self, ticks: int | None) -> int:
        if ticks is None or self._source_pts is None:
            return self._frame
        step = ticks - self._source_pts
        longest = max(_LONGEST_STEP / self.time_base, Fraction(10 * self._frame))
        if 0 < step <= longest:
            return step
        self.jumps += 1
        return self._frame
