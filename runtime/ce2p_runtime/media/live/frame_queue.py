"""Between the thread that receives frames and the one that parses them: which frames are worth waiting for."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import Generic, TypeVar

from ...errors import ConfigError
from .frame_ledger import Entry

T = TypeVar("T")

_DEPTH = 4
"""Frames that wait under `every`: enough to even out frames that take long, 6 MB each at 1080p."""
_DEEPEST = 32
"""Frames that wait under `max-age`, however long that is."""
_POLL = 0.1
"""Seconds, because Ctrl-C cannot interrupt an endless wait on Windows."""


@dataclass(frozen=True)
class LivePolicy:
    """Which frames are parsed where the network is slower than the source."""

    name: str
    max_age: float | None = None
    """Seconds."""

    @classmethod
    def read(cls, text: str) -> LivePolicy:
        """`every`, `latest` or `max-age=SECONDS`. Raises ConfigError."""
        name, _, value = text.partition("=")
        if text in ("every", "latest"):
            return cls(text)
        try:
            age = float(value) if name == "max-age" else 0.0
        except ValueError:
            age = 0.0
        if not 0 < age < float("inf"):
            raise ConfigError(f"--live: {text!r}, expected every, latest or max-age=SECONDS such as max-age=0.5")
        return cls(name, age)

    def __str__(self) -> str:
        return self.name if self.max_age is None else f"{self.name}={self.max_age:g}"


class FrameQueue(Generic[T]):
    """Frames that wait to be parsed. One thread puts, one gets."""

    def __init__(self, policy: LivePolicy, stopped: threading.Event) -> None:
        self.policy = policy
        """May be changed before the first frame is put."""
        self._stopped = stopped
        self._waiting: deque[tuple[T, Entry]] = deque()
        self._changed = threading.Condition()
        self._ended = False

    def put(self, frame: T, entry: Entry) -> None:
        """Append a frame: `every` waits for room, the others drop the oldest frame for it as "late"."""
        depth = {"every": _DEPTH, "latest": 1}.get(self.policy.name, _DEEPEST)
        with self._changed:
            while len(self._waiting) == depth and self.policy.name == "every" and not self._stopped.is_set():
                self._changed.wait(_POLL)
            if self._stopped.is_set():
                return  # the entry stays open, and is closed with the ledger
            if len(self._waiting) == depth:
                self._waiting.popleft()[1].drop("late")
            self._waiting.append((frame, entry))
            self._changed.notify_all()

    def end(self) -> None:
        """No frame follows."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def get(self) -> tuple[T, Entry] | None:
        """The next frame, waiting for it; None at the end. Frames beyond `max-age` are dropped as "too old"."""
        with self._changed:
            while not self._stopped.is_set():
                while self._waiting and self._is_too_old(self._waiting[0][1]):
                    self._waiting.popleft()[1].drop("too old")
                if self._waiting:
                    taken = self._waiting.popleft()
                    self._changed.notify_all()
                    return taken
                if self._ended:
                    return None
                self._changed.wait(_POLL)
        return None

    def _is_too_old(self, entry: Entry) -> bool:
        limit, arrived = self.policy.max_age, entry.arrived
        return limit is not None and arrived is not None and time.monotonic() - arrived > limit
