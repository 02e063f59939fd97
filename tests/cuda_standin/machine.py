"""A GPU that is none: device memory is host memory, streams are queues that a random scheduler works off.

Work that was queued happens late, in any order that streams and events allow: only what is really ordered by them
comes out right. Reading what nobody wrote gives NaN or label 255. Touching freed memory, writing past its end, freeing
what is in use, freeing twice, using CUDA without its context, and leaving anything behind are errors.
"""

from __future__ import annotations

import random
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

__all__ = ["Machine", "Memory", "Operation", "Record", "StandInError", "Stream"]

_OF_THE_RUNTIME_API = {"runtime", "engine", "context", "session"}
"""Of TensorRT and ONNX Runtime, which make the primary context current by themselves."""
_GUARD = 256
_GUARD_BYTE, _FRESH_BYTE, _FREED_BYTE = 0xCB, 0xFF, 0xDD


class StandInError(Exception):
    """Something a real GPU would not forgive, or would do silently wrong."""


@dataclass
class Memory:
    """Device or pinned memory with guards around it. Freed memory stays, poisoned, so that a mistake does not crash."""

    nbytes: int
    kind: str
    live: bool = True

    def __post_init__(self) -> None:
        self.raw = np.full(self.nbytes + 3 * _GUARD, _GUARD_BYTE, np.uint8)
        self.offset = _GUARD + (-self.raw.ctypes.data) % _GUARD
        self.address = self.raw.ctypes.data + self.offset
        self.bytes[:] = _FRESH_BYTE

    @property
    def bytes(self) -> NDArray[np.uint8]:
        return self.raw[self.offset : self.offset + self.nbytes]

    def check_guards(self) -> None:
        around = np.concatenate([self.raw[: self.offset], self.raw[self.offset + self.nbytes :]])
        if (around != _GUARD_BYTE).any():
            raise StandInError(f"something wrote outside {self.kind} memory of {self.nbytes} bytes")


@dataclass
class Record:
    """One recording of an event."""

    done: bool = False
    time: float = 0.0
    captured: bool = False


@dataclass
class Operation:
    """Something queued on a stream."""

    name: str
    run: Callable[[], None]
    touches: Sequence[int] = ()
    """Addresses in memory that must be live until this has run."""
    after: Record | None = None
    records: Record | None = None


@dataclass
class Stream:
    """A queue; or, while it is captured, the list of what was captured."""

    handle: int
    queue: deque[Operation] = field(default_factory=deque)
    captured: list[Operation] | None = None
    capturing_thread: int = 0
    broken: str = ""


class Machine:
    """The state behind the stand-ins of pycuda, cuda-bindings, TensorRT and ONNX Runtime."""

    def __init__(self, seed: int = 0, devices: int = 1, capability: tuple[int, int] = (9, 0)) -> None:
        self.lock = threading.RLock()
        self.random = random.Random(seed)  # noqa: S311  (an order, not a secret)
        self.devices, self.capability = devices, capability
        self.memories: list[Memory] = []
        self.streams: dict[int, Stream] = {}
        self.objects: dict[str, int] = {}
        """Kind -> how many exist: stream, event, module, graph, engine, context, retained."""
        self.problems: list[str] = []
        self.contexts = threading.local()
        self.clock = 0.0
        self.created = 0
        self.fail_at: int | None = None
        """Which creation (memory, stream, event, module, ...) fails, counted from 0."""
        self.failure: Callable[[str], Exception] = StandInError
        self.ran: list[str] = []
        """Names of all operations in the order they ran."""
        self._next_handle = 0x5000

    # Contexts

    def stack(self) -> list[Any]:
        if not hasattr(self.contexts, "stack"):
            self.contexts.stack = []
        stack: list[Any] = self.contexts.stack
        return stack

    def need_context(self, doing: str) -> None:
        if not self.stack():
            self.problems.append(f"{doing} without a current context")
            raise StandInError(self.problems[-1])

    # Objects

    def create(self, kind: str, amount: int = 1) -> None:
        """Count a new object, or fail as the test wants it."""
        with self.lock:
            self.need_context(f"making a {kind}")
            self.forbid_while_capturing(f"making a {kind}")
            number, self.created = self.created, self.created + 1
            if number == self.fail_at:
                raise self.failure(f"{kind} number {number}")
            self.objects[kind] = self.objects.get(kind, 0) + amount

    def destroy(self, kind: str) -> None:
        with self.lock:
            if not self.stack() and kind not in _OF_THE_RUNTIME_API:
                self.problems.append(f"a {kind} was destroyed without a current context")
            self.objects[kind] -= 1

    def handle(self) -> int:
        with self.lock:
            self._next_handle += 0x10
            return self._next_handle

    # Memory

    def allocate(self, nbytes: int, kind: str) -> Memory:
        with self.lock:
            self.create(kind)
            memory = Memory(nbytes, kind)
            self.memories.append(memory)
            return memory

    def free(self, memory: Memory) -> None:
        with self.lock:
            if not memory.live:
                self.problems.append(f"{memory.kind} memory of {memory.nbytes} bytes was freed twice")
                raise StandInError(self.problems[-1])
            self.forbid_while_capturing(f"freeing {memory.kind} memory")
            for stream in self.streams.values():
                for operation in stream.queue:
                    if any(self._inside(memory, address) for address in operation.touches):
                        self.problems.append(f"{memory.kind} memory was freed while {operation.name} needs it")
            self.destroy(memory.kind)
            memory.check_guards()
            memory.live = False
            memory.bytes[:] = _FREED_BYTE

    @staticmethod
    def _inside(memory: Memory, address: int) -> bool:
        return memory.address <= address < memory.address + max(memory.nbytes, 1)

    def find(self, address: int, nbytes: int = 1, kind: str = "") -> NDArray[np.uint8]:
        """Live memory, of a kind if one is named, at an address, as bytes."""
        for memory in self.memories:
            if kind in {"", memory.kind} and self._inside(memory, address):
                start = address - memory.address
                if not memory.live:
                    return self._problem(f"use of freed {memory.kind} memory of {memory.nbytes} bytes")
                if start + nbytes > memory.nbytes:
                    return self._problem(f"{nbytes} bytes at {start} of {memory.kind} memory of {memory.nbytes} bytes")
                return memory.bytes[start : start + nbytes]
        return self._problem(f"{address:#x} is no {kind or 'CUDA'} memory")

    def _problem(self, text: str) -> NoReturn:
        self.problems.append(text)
        raise StandInError(text)

    # Streams

    def new_stream(self) -> Stream:
        with self.lock:
            self.create("stream")
            stream = Stream(self.handle())
            self.streams[stream.handle] = stream
            return stream

    def enqueue(self, handle: int, operation: Operation) -> None:
        """Queue work, and perhaps let some of what waits happen meanwhile."""
        with self.lock:
            self.need_context(operation.name)
            if handle not in self.streams:
                raise StandInError(f"{operation.name} on a stream that does not exist")
            for address in operation.touches:
                self.find(address)
            stream = self.streams[handle]
            if stream.captured is not None:
                if operation.after is not None and not operation.after.captured:
                    stream.broken = "a captured stream cannot wait for work outside"
                    raise self.failure(stream.broken)
                if operation.records is not None:
                    operation.records.captured = True
                stream.captured.append(operation)
                return
            if operation.after is not None and operation.after.captured:
                raise StandInError(f"{operation.name} waits for an event that was only captured")
            stream.queue.append(operation)
            while self.random.random() < 0.3 and self.step():
                pass

    def step(self) -> bool:
        """Run one thing that can run, on any stream; False when nothing can."""
        ready = [s for s in self.streams.values() if s.queue and (s.queue[0].after is None or s.queue[0].after.done)]
        if not ready:
            return False
        self.execute(self.random.choice(ready).queue.popleft())
        return True

    def execute(self, operation: Operation) -> None:
        for address in operation.touches:
            self.find(address)
        operation.run()
        self.clock += 0.01
        self.ran.append(operation.name)
        if operation.records is not None:
            operation.records.done, operation.records.time = True, self.clock

    def synchronize(self, finished: Callable[[], bool], doing: str) -> None:
        with self.lock:
            self.need_context(doing)
            while not finished():
                if not self.step():
                    raise StandInError(f"{doing} would wait for ever")

    def forbid_while_capturing(self, doing: str) -> None:
        me = threading.get_ident()
        for stream in self.streams.values():
            if stream.captured is not None and stream.capturing_thread == me:
                stream.broken = f"{doing} is not allowed while a stream is captured"
                raise self.failure(stream.broken)

    # The end

    def check(self) -> None:
        """Raise StandInError unless everything was given back and nothing went wrong."""
        left = {kind: count for kind, count in self.objects.items() if count}
        if left:
            self.problems.append(f"left behind: {left}")
        if self.stack():
            self.problems.append(f"{len(self.stack())} contexts were not popped")
        for memory in self.memories:
            memory.check_guards()
        if self.problems:
            raise StandInError("; ".join(self.problems))
