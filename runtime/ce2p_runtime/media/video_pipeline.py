"""Video from source to sinks: decoding, parsing and encoding at once, with an account of every frame."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import AsyncIterator, Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from types import TracebackType
from typing import Protocol

from ..result import ParsingResult
from .live.frame_ledger import FrameCounts
from .live.kinds import LiveOptions
from .sources import Source, SourceFrame, open_source

_Parsed = tuple[SourceFrame, ParsingResult]


class FrameParser(Protocol):
    """What parses: a `HumanParser`."""

    def parse_frames(self, frames: Iterable[SourceFrame]) -> Iterator[_Parsed]:
        """Each frame with its result, in order."""


class Sink(Protocol):
    """Where parsed frames go: a `VideoSink`, or whatever has these methods."""

    def write(self, frame: SourceFrame, result: ParsingResult) -> None:
        """Take one. What takes long goes into a thread of the sink's own."""

    def __enter__(self) -> object:
        """Begin; nothing comes before."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        """Finish what was written, or remove it where `error` says that it is not whole."""


class VideoPipeline(AbstractContextManager["VideoPipeline"]):
    """Parse a video, camera, stream or pipe; iterate over it once, or let it `run`.

        with VideoPipeline("rtsp://camera/live", parser) as pipeline:
            for frame, result in pipeline: ...
            print(pipeline.counts)

        async for frame, result in pipeline: ...    # the same from asyncio, beside the loop's other tasks

    The source decodes in a thread ahead of the network, each sink encodes in threads behind it, and what waits between
    them is bounded: the slowest of the three sets the pace, and the memory stays flat. Which frames of a live source
    are parsed is said by `live.policy`. `counts` has every frame of a video exactly once, at any time, also after an
    exception or an interrupt.

    `source`: a name, or a source that is open already (then `live` has no effect, and the caller closes it). `sinks`
    are entered and left with the pipeline, and get each frame before the caller does. Iterate in one thread at a time;
    `stop` may come from any. Raises what the source, the parser and the sinks raise.
    """

    def __init__(
        self,
        source: str | Path | Source,
        parser: FrameParser,
        sinks: Sequence[Sink] = (),
        *,
        live: LiveOptions = LiveOptions(),  # noqa: B008  (frozen)
    ) -> None:
        self._stack = ExitStack()
        self._parser, self._sinks = parser, tuple(sinks)
        self._stopped, self._advancing = threading.Event(), threading.Lock()
        self._frames: Generator[_Parsed, None, None] = self._parse()
        self.source = (
            source if isinstance(source, Source) else self._stack.enter_context(open_source(source, live=live))
        )
        """The opened source, with its notes and problems."""
        self.source.accounted = True

    def __enter__(self) -> VideoPipeline:
        with contextlib.ExitStack() as entering:
            entering.callback(self._stack.close)
            for sink in self._sinks:
                self._stack.enter_context(sink)
            entering.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        try:
            with self._advancing:  # a thread may still be at work for a cancelled task
                self._frames.close()
        finally:
            try:
                self._stack.__exit__(kind, error, trace)
            finally:
                self.source.ledger.close()

    @property
    def counts(self) -> FrameCounts:
        """What became of every frame of a video so far."""
        return self.source.ledger.counts

    def stop(self) -> None:
        """Let the iteration end before its next frame."""
        self._stopped.set()
        if self.source.live is not None:
            self.source.live.stop()

    def run(self) -> FrameCounts:
        """Parse to the end, for what the sinks make of it. Raises MediaError for what could not be read."""
        for _ in self:
            pass
        self.source.raise_problem()
        return self.counts

    def __iter__(self) -> Iterator[_Parsed]:
        while (parsed := self._next()) is not None:
            yield parsed

    async def __aiter__(self) -> AsyncIterator[_Parsed]:
        """The same beside other tasks: a thread parses the next frame meanwhile."""
        try:
            while (parsed := await asyncio.to_thread(self._next)) is not None:
                yield parsed
        finally:  # also where the task is cancelled while the thread works
            self.stop()

    def _next(self) -> _Parsed | None:
        with self._advancing:
            return next(self._frames, None)

    def _parse(self) -> Generator[_Parsed, None, None]:
        under_way: deque[SourceFrame] = deque()
        try:
            for frame, result in self._parser.parse_frames(self._taken(under_way)):
                frame.entry.label()
                for sink in self._sinks:
                    sink.write(frame, result)
                under_way.remove(frame)
                frame.entry.parse()
                yield frame, result
        except Exception:
            for frame in under_way:
                frame.entry.fail()
            raise

    def _taken(self, under_way: deque[SourceFrame]) -> Iterator[SourceFrame]:
        for frame in self.source:
            if self._stopped.is_set():
                return
            under_way.append(frame)
            yield frame
