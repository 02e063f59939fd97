"""Copy the audio of a source into a video being written: packet by packet, without decoding."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path
from typing import Any

from .containers import load_av, open_media


class AudioCopy:
    """All audio streams of a file on their way into an output container that has not written anything yet.

    Packets keep their bytes and times. (AAC out of MPEG transport streams loses the seven-byte header that
    each of its packets carries there, as every other container demands.) Raises MediaError when `source`
    cannot be opened.
    """

    def __init__(self, source: str | Path, container: Any) -> None:
        self._av = load_av()
        self._container = container
        self._source = open_media(source)
        self._targets: dict[int, Any] = {}
        self.packets = 0
        """Packets copied so far."""
        self.note: str | None = None
        """Why audio of the source is missing in the output; None when all is there, or there was none."""
        for stream in self._source.streams.audio:
            if self._can_hold(stream):
                self._targets[stream.index] = container.add_stream_from_template(stream)
            else:
                name = getattr(stream.codec_context, "name", "its")
                self.note = f"{name} audio cannot be stored in {container.format.name} and was left out"
        streams = tuple(self._source.streams[index] for index in self._targets)
        self._demuxed = self._source.demux(streams) if streams else iter(())
        self._waiting = self._next()

    def mux_until(self, time: Fraction | None) -> None:
        """Copy the packets up to `time` in seconds; all of them for None. Raises PyAV's errors."""
        # In step with the video: a player reads both from the same part of the file, and muxers give up
        # waiting for the other stream after some seconds.
        while (packet := self._waiting) is not None:
            stamp = packet.pts if packet.dts is None else packet.dts
            if time is not None and stamp is not None and stamp * packet.time_base > time:
                return
            packet.stream = self._targets[packet.stream_index]
            try:
                self._container.mux_one(packet)
                self.packets += 1
            except self._av.error.ArgumentError:  # no time stamp, or one before the last: damage in the source
                self.note = "audio packets with impossible time stamps were left out"
            self._waiting = self._next()

    def close(self) -> None:
        """Release the source."""
        self._source.close()

    def _next(self) -> Any:
        """The next packet, or None at the end or where the source is damaged."""
        try:
            for packet in self._demuxed:
                if packet.size:  # the empty one at the end means "flush"
                    return packet
        except IndexError:  # PyAV trips at the end when damage made streams appear after the start
            return None
        except (self._av.error.FFmpegError, OSError) as error:
            self.note = f"audio ends early, since its source is damaged ({error})"
        return None

    def _can_hold(self, stream: Any) -> bool:
        """Whether the container takes the stream. Only a header tells: codec lists promise too much."""
        try:
            with self._av.open(io.BytesIO(), "w", format=self._container.format.name) as probe:
                probe.add_stream_from_template(stream)
                probe.start_encoding()
        except (self._av.error.FFmpegError, ValueError, OSError):
            return False
        return True
