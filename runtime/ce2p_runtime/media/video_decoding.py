"""Decode the packets of a video one by one, go on behind damage, and gather everything that shows a loss."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from .decoder_words import listening
from .ffv1 import slices_intact
from .packet_contents import PacketContents
from .structure import Structure, read_structure
from .video_ledger import Ledger, Ticket

_MAX_READ_ERRORS = 16
"""Read errors in a row after which the rest of a file is given up."""


class Decoding:
    """One pass through a stream of an opened container."""

    def __init__(self, av: Any, container: Any, stream: Any) -> None:
        self._av, self._container, self._stream = av, container, stream
        context = stream.codec_context
        # One thread: with frame threads, frames around a damaged packet are lost (21 of 23 delivered); with
        # slice threads, PyAV's default, damage is not marked (14 of 491 frames) [both measured, FFmpeg 8].
        stream.thread_type = "NONE"
        context.thread_count = 1  # some decoders have threads of their own kind
        context.copy_opaque = True  # frames bring along the ticket of their packet
        self._codec = context.codec.canonical_name
        self._checksums = {True: 0, False: 0}
        self._reader_words, self._reader_word = 0, ""
        self.ledger = Ledger(PacketContents(self._codec, bytes(context.extradata or b"")))
        self.last_error = ""
        """What the decoder or the container's reader said last."""

    def frames(self, packets: Iterable[Any] | None = None) -> Iterator[tuple[Any, bool]]:
        """PyAV's frames, in the order of display, each with whether it is damaged.

        `packets`: those to decode, where not all of the stream.
        """
        for packet in self._packets() if packets is None else packets:
            packet.opaque = ticket = self.ledger.enter(packet)
            if self._codec == "ffv1":
                self._checksums[slices_intact(ticket.data)] += 1
            yield from self._decoded(packet, ticket)
        yield from self._decoded(None, None)
        self.ledger.finish()
        if self._checksums[True]:  # when none is right, the file was written without
            self.ledger.at_least_damaged(self._checksums[False])

    def _packets(self) -> Iterator[Any]:
        """All packets of the stream, going on after read errors where the demuxer can."""
        errors = 0
        demuxed = self._container.demux(self._stream)
        while errors < _MAX_READ_ERRORS:
            with listening(self._av) as words:
                try:
                    packet = next(demuxed, None)
                except IndexError:  # PyAV trips at the end when damage made streams appear after the start
                    return
                except (self._av.error.FFmpegError, OSError) as error:
                    errors += 1
                    self.ledger.add_unread()
                    self.last_error = reason(error)
                    demuxed = self._container.demux(self._stream)
                    continue
            if words:
                self._reader_words, self._reader_word = self._reader_words + len(words), words[-1][2].strip()
            if packet is None:
                return
            if packet.size:  # the empty one at the end means "flush", which `frames` does
                errors = 0
                yield packet

    def _decoded(self, packet: Any, ticket: Ticket | None) -> list[tuple[Any, bool]]:
        """What `frames` yields of a packet, or for None at the end; entered into the ledger."""
        frames: list[Any] = []
        with listening(self._av) as words:
            try:
                frames = self._stream.decode(None) if packet is None else packet.decode()
            except self._av.error.EOFError:
                pass
            except (self._av.error.FFmpegError, OSError) as error:
                words.append((0, "", reason(error)))
        if words:
            self.last_error = words[-1][2].strip()
            if ticket is not None:
                ticket.failed = True
        given = []
        for frame in frames:
            damaged = frame.is_corrupt or (ticket is None and bool(words))
            repaired = self.ledger.give(frame.opaque, damaged=damaged, interlaced=frame.interlaced_frame)
            given.append((frame, repaired))
        return given

    def notes(self, structure: Structure) -> list[str]:
        """After the last frame: what was left out but not lost."""
        notes = []
        if self._stream.index in structure.partial:
            notes.append(
                "its edit list shows only a part of the recording; whether all of its frames were read is not known"
            )
        if self._reader_words:  # often about what is of no account for the pictures
            notes.append(f"FFmpeg met faults in the container: {self._reader_words} ({self._reader_word})")
        if self.ledger.left_out:
            notes.append(f"frames that the edit list leaves out: {self.ledger.left_out}")
        if self.ledger.unexplained:
            notes.append(f"packets of {self._codec} without a picture, lost or on purpose: {self.ledger.unexplained}")
        return notes

    def structure(self, path: Path) -> Structure:
        """What the container's boxes tell about the file that is being decoded."""
        ids = {stream.id: stream.index for stream in self._container.streams}
        return read_structure(path, self._container.format.name, ids)

    def findings(self, structure: Structure, announced: int | None) -> list[str]:
        """After the last frame: a clause for everything that shows a loss or damage."""
        counts, findings = self.ledger.counts, []
        if announced is not None and counts.packets != announced:
            came = counts.packets - counts.hidden - counts.skipped
            findings.append(f"{came} of {announced - counts.hidden} announced frames")
        if counts.skipped or counts.unread:
            why = self.last_error or "no frame came"
            if self.ledger.without_key:
                why = f"in front of the first keyframe: {self.ledger.without_key}"
            findings.append(f"packets not decoded: {counts.skipped + counts.unread} ({why})")
        if counts.damaged:
            findings.append(f"frames repaired by the decoder: {counts.damaged}")
        packets = structure.packets.get(self._stream.index)
        if packets is not None and (counts.packets < packets or (structure.exact and counts.packets > packets)):
            findings.append(f"{counts.packets} of {packets} video blocks")
        if structure.problem is not None:
            findings.append(structure.problem)
        return findings


def reason(error: Exception) -> str:
    """What an error of PyAV or of the system says, without the name of what was read."""
    return getattr(error, "strerror", None) or str(error)
