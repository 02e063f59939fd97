"""One opened container of a live source: its frames as they come, every packet of it in the account."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import MediaError
from ..video_decoding import Decoding, reason
from ..video_ledger import VideoCounts
from ..video_streams import choose_stream
from .frame_ledger import Entry, FrameLedger

_PATIENCE = 300
"""Packets for which a key frame is waited: there are streams without any, which build up a picture bit by bit."""


@dataclass(frozen=True, eq=False)
class ReceivedFrame:
    """A decoded frame."""

    picture: Any
    """PyAV's frame."""
    arrived: float
    """`time.monotonic()` when its last packet came."""
    entry: Entry


class Connection:
    """Iterate over `frames` once. Afterwards `fault` says how it came to an end."""

    def __init__(self, av: Any, container: Any, name: str, ledger: FrameLedger, stopped: threading.Event) -> None:
        """Raises MediaError where there is no video."""
        self.container = container
        self.stream = choose_stream(container, Path(name))
        self.fault: str | None = None
        """What broke it off; None where it came to an end, which of a live stream tells nothing."""
        self._av, self._ledger, self._stopped = av, ledger, stopped
        self._decoding = Decoding(av, container, self.stream)
        self._entered = VideoCounts()
        self._arrived = 0.0

    def frames(self, *, live: bool) -> Generator[ReceivedFrame, None, None]:
        """The frames as they are decoded. `live`: packets in front of the first key frame are dropped."""
        packets = self._packets() if live else None
        try:
            for picture, repaired in self._decoding.frames(packets):
                self._decoding.ledger.deliver(resized=False)
                self._account("undecodable")
                if self._stopped.is_set():
                    self._ledger.add("stopped")
                    return
                arrived = self._arrived if live else time.monotonic()
                yield ReceivedFrame(picture, arrived, self._ledger.receive(arrived=arrived, repaired=repaired))
        finally:  # what is still in the decoder when nobody wants it any more
            self._account("undecodable")
            self._decoding.ledger.finish()
            self._account("stopped")

    def _account(self, cause: str) -> None:
        """Enter the packets that gave no frame since the last time."""
        counts = self._decoding.ledger.counts
        self._ledger.add(cause, counts.skipped - self._entered.skipped)
        self._ledger.lose(counts.unread - self._entered.unread)
        self._entered = counts

    def _packets(self) -> Iterator[Any]:
        without_key = 0
        demuxed = self.container.demux(self.stream)
        while not self._stopped.is_set():
            try:
                packet = next(demuxed, None)
            except IndexError:  # PyAV trips where streams appear after the start
                return
            except self._av.error.EOFError:
                return
            except self._av.error.ExitError:
                self.fault = "nothing came in time"
                return
            except (self._av.error.FFmpegError, OSError, MediaError) as error:
                self.fault = reason(error)
                return
            if packet is None:
                return
            if not packet.size:  # the empty one at the end
                continue
            self._arrived = time.monotonic()
            if not packet.is_keyframe and without_key < _PATIENCE:
                without_key += 1
                self._ledger.add("before a key frame")
                continue
            without_key = _PATIENCE
            yield packet
