"""The account of a video: every packet that was read gave a picture, needed none, or is counted as lost."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

from .packet_contents import PacketContents

_PATIENCE = 64
"""Packets after which a packet without a picture gives none any more: decoders hold back 32 fields at most."""


@dataclass(frozen=True)
class VideoCounts:
    """What became of the packets of a video so far: `packets + further == decoded + hidden + skipped + waiting`."""

    decoded: int = 0
    """Frames delivered."""
    damaged: int = 0
    """Frames among them that the decoder had to repair, or complained about."""
    skipped: int = 0
    """Packets that could not be decoded and gave no frame: lost pictures."""
    packets: int = 0
    """Packets of the video that were read from the container."""
    hidden: int = 0
    """Packets without a picture to show: frames that are only referred to, second fields, parameter sets, repeats,
    what an edit list leaves out, and pictures that refer to others in front of the first keyframe."""
    further: int = 0
    """Frames beyond the first that one packet gave."""
    waiting: int = 0
    """Packets whose frames are still in the decoder or not delivered yet; 0 at the end."""
    unread: int = 0
    """Errors at reading, each of which stands for an unknown number of packets."""
    resized: int = 0
    """Frames of another size than the frame before."""


@dataclass(eq=False)
class Ticket:
    """One packet on its way through the decoder, which hands this object over to the packet's frames."""

    data: bytes
    """The packet, until a frame of it has come."""
    number: int
    """Position among the packets, from 0."""
    pts: int | None
    discarded: bool
    """Whether the container says that it is not to be shown."""
    frames: int = 0
    field: bool = False
    """Whether the frame it gave is of two fields in two packets, of which this is the first."""
    failed: bool = False
    """Whether the decoder refused it or complained about it."""


class Ledger:
    """Counts packets and frames, and decides about packets that gave no frame."""

    def __init__(self, contents: PacketContents) -> None:
        self._contents = contents
        self._open: deque[Ticket] = deque()
        self._before: Ticket | None = None
        self._first_key: Ticket | None = None
        self._at_start = True
        self._given = self._delivered = self._damaged = 0
        self._packets = self._hidden = self._skipped = self._further = self._unread = self._resized = 0
        self.unexplained = 0
        """Hidden packets of codecs about which nothing is known here."""
        self.without_key = 0
        """Lost packets in front of the first keyframe, as where a recording begins between two."""
        self.left_out = 0
        """Hidden packets that the container says are not to be shown."""

    @property
    def counts(self) -> VideoCounts:
        """The account as it stands."""
        return VideoCounts(
            decoded=self._delivered,
            damaged=self._damaged,
            skipped=self._skipped,
            packets=self._packets,
            hidden=self._hidden,
            further=self._further,
            waiting=sum(not ticket.frames for ticket in self._open) + self._given - self._delivered,
            unread=self._unread,
            resized=self._resized,
        )

    def enter(self, packet: Any) -> Ticket:
        """A packet is about to be decoded."""
        ticket = Ticket(bytes(packet), self._packets, packet.pts, bool(packet.is_discard))
        self._packets += 1
        self._contents.learn(ticket.data)
        if self._first_key is None and packet.is_keyframe:
            self._first_key = ticket
        self._open.append(ticket)
        while len(self._open) > _PATIENCE:
            self._settle(self._open.popleft())
        return ticket

    def give(self, ticket: Any, *, damaged: bool, interlaced: bool) -> bool:
        """A frame came out of the decoder; `ticket` is what it carries, which some decoders leave away.

        Returns whether it counts as damaged.
        """
        if not isinstance(ticket, Ticket):
            ticket = next((waiting for waiting in self._open if not waiting.frames), None)
        self._given += 1
        damaged = damaged or (ticket is not None and ticket.failed)
        self._damaged += damaged
        if ticket is None or ticket.frames:
            self._further += 1
        if ticket is not None:
            ticket.frames += 1
            ticket.field |= interlaced and self._contents.is_field(ticket.data)
            ticket.data = b""
        return damaged

    def deliver(self, *, resized: bool) -> None:
        """A frame goes to the user."""
        self._delivered += 1
        self._resized += resized

    def at_least_damaged(self, count: int) -> None:
        """So many frames are damaged, whether or not the decoder said so."""
        self._damaged = max(self._damaged, count)

    def add_unread(self) -> None:
        """Reading failed, and goes on behind the fault."""
        self._unread += 1

    def finish(self) -> None:
        """The decoder is empty: what has given no frame by now gives none."""
        while self._open:
            self._settle(self._open.popleft())

    def _settle(self, ticket: Ticket) -> None:
        before, self._before = self._before, ticket
        if ticket.frames:
            self._at_start &= ticket is self._first_key
            return
        if ticket.discarded or self._is_leading(ticket):
            self._hidden += 1
            self.left_out += ticket.discarded
        elif ticket.failed:
            self._lose(ticket)
        elif self._contents.hides_picture(ticket.data) or self._is_second_field(ticket, before):
            self._hidden += 1
        elif self._contents.known:
            self._lose(ticket)
        else:
            self._hidden += 1
            self.unexplained += 1
        ticket.data = b""

    def _lose(self, ticket: Ticket) -> None:
        self._skipped += 1
        self.without_key += self._first_key is None or ticket.number < self._first_key.number

    def _is_second_field(self, ticket: Ticket, before: Ticket | None) -> bool:
        return before is not None and before.field and self._contents.is_field(ticket.data)

    def _is_leading(self, ticket: Ticket) -> bool:
        """Whether a picture refers to what was in front of the first keyframe, before the stream was cut there."""
        key = self._first_key
        if key is None or ticket.number <= key.number or not self._contents.may_lead(ticket.data):
            return False
        return self._at_start if ticket.pts is None or key.pts is None else ticket.pts < key.pts
