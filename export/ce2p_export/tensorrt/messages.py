"""What TensorRT says while it builds: its messages, collected, and its progress, passed on. Both are thread-safe."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ce2p_runtime.backends.tensorrt_log import listening
from ce2p_runtime.base.progress import Progress


class Messages:
    """TensorRT's warnings and errors of one build, in order, each once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._warnings: list[str] = []
        self._errors: list[str] = []

    def add(self, level: int, text: str) -> None:
        """Keep a message of a level of `logging`."""
        kept = self._errors if level >= logging.ERROR else self._warnings
        with self._lock:
            if level >= logging.WARNING and text not in kept:
                kept.append(text)

    @property
    def warnings(self) -> tuple[str, ...]:
        with self._lock:
            return tuple(self._warnings)

    @property
    def errors(self) -> tuple[str, ...]:
        with self._lock:
            return tuple(self._errors)


@contextmanager
def collecting() -> Iterator[Messages]:
    """Messages of everything TensorRT does in this process meanwhile, in whatever thread."""
    messages = Messages()
    with listening(messages.add):
        yield messages


class Watch:
    """The state behind a progress monitor: which phases run, and whether somebody wants to stop."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._lock = threading.Lock()
        self._totals: dict[str, int] = {}
        self.cancelled = False
        self.error: BaseException | None = None
        """What `progress` raised, KeyboardInterrupt included; it must not pass through TensorRT's frames."""

    def start(self, phase: str, total: int) -> None:
        with self._lock:
            self._totals[phase] = total
        self._tell(phase, 0, total)

    def step(self, phase: str, done: int) -> bool:
        with self._lock:
            total = self._totals.get(phase, done)
        return self._tell(phase, done, total)

    def finish(self, phase: str) -> None:
        with self._lock:
            total = self._totals.pop(phase, 0)
        self._tell(phase, total, total)

    def _tell(self, phase: str, done: int, total: int) -> bool:
        if self.cancelled:
            return False
        try:
            wanted = self._progress(phase, done, total) is not False
        except BaseException as error:
            self.error = error
            wanted = False
        self.cancelled = self.cancelled or not wanted
        return wanted


def make_monitor(trt: Any, watch: Watch) -> Any:
    """An IProgressMonitor that fills `watch`. It must outlive the build."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            watch.start(phase_name, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            return watch.step(phase_name, step + 1)

        def phase_finish(self, phase_name: str) -> None:
            watch.finish(phase_name)

    return Monitor()
