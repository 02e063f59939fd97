"""Read a camera, a network stream or a pipe as it comes: one thread receives, and never waits for the network."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

from ...errors import ConfigError, MediaError
from ..pyav import fraction, load_av
from ..video import VideoFrame
from ..video_pixels import FramePixels
from ..video_streams import check_picture_size, frame_rate, left_out_streams, pixel_shape
from .camera import Camera
from .connection import Connection, ReceivedFrame
from .frame_ledger import Entry, FrameLedger
from .frame_queue import FrameQueue, LivePolicy
from .kinds import LiveKind, LiveOptions, OpenError
from .pipe import Pipe
from .steady_clock import SteadyClock
from .stream import NetworkStream

_FIRST_WAIT, _LONGEST_WAIT = 0.5, 15.0
"""Seconds before a lost source is tried again: at first, and at most; doubled each time."""
_REFUSALS = 3
"""Answers of "no" after which a lost source is given up."""
_PATIENCE = 1.0
"""Seconds that closing waits for a thread that reads. One that waits for the network ends by itself at its time-out."""
_POLICIES = {
    "every": "the source waits for the network where that is slower",
    "latest": "frames that come while the network is busy are dropped and counted",
    "max-age": "frames older than that are dropped and counted",
}
_WITHOUT_TIMES = frozenset({"mpjpeg", "mjpeg", "h264", "hevc", "m4v", "mpegvideo", "obu"})
"""Formats that carry no times: frames get those of their arrival."""


class LiveReader:
    """Iterate over the frames of a live source, once; use as a context manager. Like `VideoReader` for files.

    Opening waits for the first frame and raises MediaError where none comes. A source that is lost later is tried
    again for `options.reconnect` seconds, with growing waits; that it is lost for good is a `problem`, with all frames
    before it delivered. Which frames are delivered is the policy's business; `ledger` has every one of them.
    Frames are taken by one thread at a time.
    """

    declared_frames: int | None = None
    estimated_frames: int | None = None

    def __init__(self, source: str, options: LiveOptions) -> None:
        self._av = load_av()
        self._options, self._kind = options, _kind(source, options)
        self.name = self._kind.name
        """The source in messages, without passwords."""
        self.path = Path(self._kind.stem)
        """What results are called after. No file has this name."""
        self.ledger = FrameLedger()
        self.problem: str | None = None
        """After the last frame: what was lost; None when the source ended as it should."""
        self.notes: list[str] = []
        self.frame_rate = Fraction(25)
        """Average frames per second; frames carry their own times, which need not be even."""
        self.sample_aspect_ratio = Fraction(1)
        """Width over height of one pixel as it is to be shown, upright."""
        self._clock: SteadyClock | None = None
        self._index = self._tries = self._lost = 0
        self._stopped = threading.Event()
        self._queue: FrameQueue[Callable[[], VideoFrame]] = FrameQueue(
            LivePolicy.read(options.policy or self._kind.policy), self._stopped
        )
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="ce2p-live", daemon=True)
        self._thread.start()
        try:
            self._first = self._take()
            if self._first is None:
                raise MediaError(self.problem or f"{self.name}: no frame can be decoded; {self._kind.cure}")
        except BaseException:
            self.close()
            raise
        height, width = self._first[0].image.shape[:2]
        self.size = (height, width)
        """(height, width) in pixels of the first frame, upright."""

    @property
    def policy(self) -> LivePolicy:
        """Which frames are delivered."""
        return self._queue.policy

    def __enter__(self) -> LiveReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def stop(self) -> None:
        """Let the iteration end before its next frame. May be called in any thread."""
        self._stopped.set()

    def close(self) -> None:
        """Stop receiving. Frames on their way are dropped as "stopped"."""
        self.stop()
        self._thread.join(_PATIENCE)
        self.ledger.close()

    def __iter__(self) -> Iterator[tuple[VideoFrame, Entry]]:
        """Each frame with its entry in the ledger."""
        while True:
            taken, self._first = self._first or self._take(), None
            if taken is None:
                return
            yield taken

    def _take(self) -> tuple[VideoFrame, Entry] | None:
        taken = self._queue.get()
        if taken is None:
            if self._error is not None:
                raise self._error
            return None
        frame, entry = taken
        try:
            return frame(), entry
        except BaseException:
            entry.fail()
            raise

    def _run(self) -> None:
        try:
            self._receive()
            self._finish_notes()
        except BaseException as error:
            self._error = error
        finally:
            self._queue.end()

    def _receive(self) -> None:
        container = self._kind.open(self._av, self._stopped)
        while container is not None:
            frames = self._index
            try:
                connection = Connection(self._av, container, self.name, self.ledger, self._stopped)
                self._read(connection)
                whole = connection.fault is None and self._kind.is_complete(container)
                if self._stopped.is_set() or whole:
                    return
            finally:
                container.close()
            self._tries = 0 if self._index > frames else self._tries
            container = self._opened_again((connection.fault or "the stream ended").removeprefix(f"{self.name}: "))

    def _read(self, connection: Connection) -> None:
        """The frames of one connection into the queue."""
        pixels = FramePixels(self._av, self.path, labels=False)
        begun = False
        with contextlib.closing(connection.frames(live=self._kind.returns)) as frames:
            for received in frames:
                check_picture_size(received.picture, self.path)
                if not begun:
                    pixels.begin(received.picture)
                    self._begin(connection, pixels)
                    begun = True
                self._hand_over(received, pixels)

    def _begin(self, connection: Connection, pixels: FramePixels) -> None:
        if self._clock is not None:
            self._clock.lose()
            return
        container, stream = connection.container, connection.stream
        self.frame_rate = frame_rate(stream)
        self.sample_aspect_ratio = pixel_shape(stream, turned=pixels.turned)
        without_times = container.format.name in _WITHOUT_TIMES and self._kind.returns
        self._clock = SteadyClock(self.frame_rate, from_zero=self._kind.returns, by_arrival=without_times)
        if self._options.policy is None and self._kind.is_complete(container):  # nothing is late in a recording
            self._queue.policy = LivePolicy("every")
        self.notes.append(f"policy {self.policy}, {_POLICIES[self.policy.name]}")
        self.notes += [*left_out_streams(container), *pixels.notes]
        if container.streams.audio:
            self.notes.append("its sound is not carried on")

    def _hand_over(self, received: ReceivedFrame, pixels: FramePixels) -> None:
        clock, picture = self._clock, received.picture
        assert clock is not None  # noqa: S101  (set with the first frame)
        pts = clock.stamp(picture.pts, fraction(picture.time_base), received.arrived)
        index, self._index = self._index, self._index + 1

        def convert() -> VideoFrame:
            return VideoFrame(pixels.array(picture), index, pts, clock.time_base, received.entry.repaired)

        # Where every frame is parsed, this thread makes its pixels, beside the network; else those that are taken.
        frame = convert() if self.policy.name == "every" else None
        self._queue.put(convert if frame is None else lambda: frame, received.entry)

    def _opened_again(self, why: str) -> Any:
        """The container of a source that came back; None where it does not, or nobody waits for it."""
        self.ledger.lose()
        self._lost += 1
        until, refusals = time.monotonic() + self._options.reconnect, 0
        while time.monotonic() < until:
            wait = min(_LONGEST_WAIT, _FIRST_WAIT * 2**self._tries) * random.uniform(0.8, 1.2)  # noqa: S311
            self._tries += 1
            if self._stopped.wait(min(wait, until - time.monotonic())):
                return None
            try:
                return self._kind.open(self._av, self._stopped)
            except OpenError as error:
                why = str(error).removeprefix(f"{self.name}: ").partition(";")[0]
                refusals += error.final
                if refusals == _REFUSALS:
                    break
        tried = f", and did not come back in {self._options.reconnect:g} s" if self._options.reconnect else ""
        self.problem = f"{self.name}: was lost after {self._index} frames ({why}){tried}; check the sender"
        return None

    def _finish_notes(self) -> None:
        """What is known at the end only."""
        if self._clock is not None and self._clock.jumps:
            self.notes.append(f"its times jump or go back: {self._clock.jumps}; the times written go on evenly")
        came_back = self._lost - (self.problem is not None)
        if came_back:
            self.notes.append(f"it was lost and came back: {came_back}")
        counts = self.ledger.counts
        failed, unread = counts.failed.get("undecodable", 0), counts.losses - self._lost
        findings = [f"frames that could not be decoded: {failed}"] if failed else []
        findings += [f"faults at reading: {unread}"] if unread else []
        if self._kind.returns:
            self.notes += findings
        elif findings and self._index:
            self.problem = f"{self.name}: is cut short or damaged: {'; '.join(findings)}; frames read: {self._index}"


def _kind(source: str, options: LiveOptions) -> LiveKind:
    """The kind that a name means, which `is_live` knows. Raises ConfigError."""
    if source == "-":
        return Pipe(options)
    if options.raw is not None:
        raise ConfigError("--raw: only for bare pixels on standard input (-); leave out")
    return NetworkStream(source, options) if "://" in source else Camera(source, options)
