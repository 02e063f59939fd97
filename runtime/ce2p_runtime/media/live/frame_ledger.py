"""The account of a source's frames: each is in it exactly once, as parsed, dropped or failed, or still on its way."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

_PARSED = "parsed"
_FAILED = ("undecodable", "not parsed")
_RESOLUTION = 1.01
"""Ratio of neighbouring latencies that are told apart: an endless stream must not fill the memory with them."""
_SHORTEST = 1e-4


@dataclass(frozen=True)
class FrameCounts:
    """What became of the frames of a source: `received == parsed + all dropped + all failed + waiting`."""

    received: int = 0
    """Frames of the source that arrived, decoded or not."""
    parsed: int = 0
    """Frames whose labels were made and handed to every sink."""
    repaired: int = 0
    """Frames among the parsed ones whose picture the decoder had to repair."""
    dropped: dict[str, int] = field(default_factory=dict)
    """Frames left out on purpose, by cause: late, too old, before a key frame, stopped."""
    failed: dict[str, int] = field(default_factory=dict)
    """Frames that gave no labels, by cause: undecodable, not parsed."""
    waiting: int = 0
    """Frames on their way to the network; 0 at the end."""
    losses: int = 0
    """Times that the source broke off or could not be read, each with an unknown number of frames."""
    latency_ms: dict[str, float] = field(default_factory=dict)
    """p50, p95 and p99 from a frame's arrival on this machine to its labels, within 1 %; live sources only."""

    @property
    def balanced(self) -> bool:
        """Whether every frame is there exactly once. Anything else is an error in this program."""
        return self.received == self.parsed + self.waiting + sum((*self.dropped.values(), *self.failed.values()))

    def __str__(self) -> str:
        parts = [f"{self.parsed} parsed" + (f" ({self.repaired} repaired by the decoder)" if self.repaired else "")]
        for name, causes in {"dropped": self.dropped, "failed": self.failed}.items():
            if causes:
                each = ", ".join(f"{cause} {count}" for cause, count in causes.items())
                parts.append(f"{sum(causes.values())} {name} ({each})")
        if self.waiting:
            parts.append(f"{self.waiting} waiting")
        lost = f"; losses: {self.losses}" if self.losses else ""
        times = ", ".join(f"{name} {value:.0f} ms" for name, value in self.latency_ms.items())
        return f"{self.received} frames = {' + '.join(parts)}{lost}" + (f"; latency {times}" if times else "")


@dataclass(eq=False)
class Entry:
    """One frame in the ledger. Exactly one of `parse`, `drop` and `fail` is called, once."""

    arrived: float | None = None
    """`time.monotonic()` when the frame came; None where that tells nothing, as for files."""
    repaired: bool = False
    labelled_after: float | None = None
    fate: str | None = None

    def label(self) -> None:
        """The labels are there: the latency ends here."""
        if self.arrived is not None:
            self.labelled_after = time.monotonic() - self.arrived

    def parse(self) -> None:
        """The frame is through."""
        self._settle(_PARSED)

    def drop(self, cause: str) -> None:
        """The frame is left out on purpose."""
        self._settle(cause)

    def fail(self, cause: str = "not parsed") -> None:
        """The frame gives no labels."""
        self._settle(cause)

    def _settle(self, fate: str) -> None:
        if self.fate is not None:
            raise RuntimeError(f"a frame is entered as {fate}, but it was {self.fate} before; report this")
        self.fate = fate  # one assignment, which no interrupt can cut in two


class FrameLedger:
    """Counts frames. `receive` is called in one thread, never the one that interrupts reach; the rest in any.

    An interrupt may come between any two steps of the thread that parses. So that thread only writes a frame's fate
    into its entry; the entries are counted by the thread that receives.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: list[Entry] = []
        self._fates: Counter[str] = Counter()
        self._latencies: Counter[int] = Counter()
        self._received = self._repaired = self._losses = 0

    @property
    def counts(self) -> FrameCounts:
        """The account as it stands."""
        with self._lock:
            entries = list(self._open)
            fates, latencies, repaired = self._fates.copy(), self._latencies.copy(), self._repaired
            received, losses = self._received, self._losses
        waiting = sum(_count(entry, fates, latencies) for entry in entries)
        repaired += sum(entry.repaired and entry.fate == _PARSED for entry in entries)
        parsed = fates.pop(_PARSED, 0)
        return FrameCounts(
            received=received,
            parsed=parsed,
            repaired=repaired,
            dropped={cause: count for cause, count in sorted(fates.items()) if cause not in _FAILED},
            failed={cause: count for cause, count in sorted(fates.items()) if cause in _FAILED},
            waiting=waiting,
            losses=losses,
            latency_ms=_percentiles(latencies),
        )

    def receive(self, *, arrived: float | None = None, repaired: bool = False) -> Entry:
        """A frame came, and is on its way from now on."""
        entry = Entry(arrived, repaired)
        with self._lock:
            self._collect()
            self._open.append(entry)
            self._received += 1
        return entry

    def add(self, cause: str, count: int = 1) -> None:
        """Frames came that have their fate already: "undecodable", or a cause to drop them."""
        if count:
            with self._lock:
                self._fates[cause] += count
                self._received += count

    def lose(self, times: int = 1) -> None:
        """The source broke off, or could not be read."""
        with self._lock:
            self._losses += times

    def close(self) -> None:
        """Nobody parses any more: what is still on its way is dropped as "stopped"."""
        with self._lock:
            for entry in self._open:
                if entry.fate is None:
                    entry.drop("stopped")

    def _collect(self) -> None:
        still_open = []
        for entry in self._open:
            if _count(entry, self._fates, self._latencies):
                still_open.append(entry)
            else:
                self._repaired += entry.repaired and entry.fate == _PARSED
        self._open = still_open


def _count(entry: Entry, fates: Counter[str], latencies: Counter[int]) -> bool:
    """Count an entry that has its fate; True for one that has not."""
    if entry.fate is None:
        return True
    fates[entry.fate] += 1
    if entry.labelled_after is not None:
        latencies[round(math.log(max(_SHORTEST, entry.labelled_after), _RESOLUTION))] += 1
    return False


def _percentiles(latencies: Counter[int]) -> dict[str, Any]:
    """Nearest-rank percentiles in milliseconds."""
    total, found, passed = sum(latencies.values()), {}, 0
    ranks = {f"p{share}": math.ceil(total * share / 100) for share in (50, 95, 99)}
    for step in sorted(latencies):
        passed += latencies[step]
        for name, rank in ranks.items():
            if name not in found and passed >= rank:
                found[name] = round(_RESOLUTION**step * 1e3, 3)
    return found
