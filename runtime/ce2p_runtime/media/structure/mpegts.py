"""MPEG transport streams: sync bytes, continuity counters, error marks and the checksums of their tables.

Every packet of 188 bytes carries a counter of four bits per stream, so all losses but multiples of 16 packets show.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from .found import Structure

_SIZE = 188
_LAYOUTS = ((188, 0), (192, 4), (204, 0))
"""Distance between packets and bytes in front of each: plain, with a time (camcorders), with parity (broadcasts)."""
_AT_ONCE = 1 << 14  # packets, 3 MB
_NULL, _PAT = 0x1FFF, 0
_PMT = 2  # kind of table
_GARBAGE = "bytes between packets"
_VIDEO_STREAM_IDS = range(0xE0, 0xF0)
_PICTURE_EACH = {0x1B, 0x24}
"""Kinds of streams, H.264 and HEVC, of which FFmpeg's reader gives a packet for every picture that starts."""
_VIDEO = _PICTURE_EACH | {0x01, 0x02, 0x10}  # MPEG-1, MPEG-2, MPEG-4


class _Findings:
    """Faults by kind, and what is known of each stream."""

    def __init__(self) -> None:
        self.faults: dict[str, int] = {}
        self.last: dict[int, int] = {}  # stream: counter of the last packet
        self.tables: set[int] = {_PAT}
        self.kinds: dict[int, int] = {}  # stream: what the program tables say it is
        self.timed: dict[int, int] = {}  # stream: elementary packets with a display time

    def add(self, fault: str, count: int = 1) -> None:
        if count:
            self.faults[fault] = self.faults.get(fault, 0) + count


def read_mpegts(file: BinaryIO, length: int, ids: Mapping[int, int] | None) -> Structure:
    """Follow all packets of the streams `ids` (None: of all) and of the tables that name them.

    A display time in an elementary packet says that a picture starts in it: so many there must be at least.
    """
    found = _Findings()
    stride, ahead = _layout(file.read(64 * 204))
    file.seek(0)
    for packets in _packets(file, stride, ahead, found):
        _follow(packets, ids, found)
    if length % stride and _GARBAGE not in found.faults:
        found.add(f"its last transport packet has {length % stride} of {stride} bytes")
    clauses = [
        text if count == 1 and "its last" in text else f"{text}: {count}" for text, count in found.faults.items()
    ]
    least = {
        (ids or {}).get(at, -1): count for at, count in found.timed.items() if found.kinds.get(at) in _PICTURE_EACH
    }
    return Structure(f"transport stream: {', '.join(clauses)}" if clauses else None, least)


def _layout(head: bytes) -> tuple[int, int]:
    """The one of the layouts in which the most packets begin with their sync byte."""
    return max(
        _LAYOUTS, key=lambda layout: head[layout[1] :: layout[0]].count(b"\x47") / len(head[:: layout[0]] or b" ")
    )


def _packets(file: BinaryIO, stride: int, ahead: int, found: _Findings) -> Iterator[NDArray[np.uint8]]:
    """uint8 [N, 188]: runs of packets with their sync byte, past bytes that are none."""
    rest = b""
    while data := file.read(_AT_ONCE * stride):
        data = rest + data
        start = 0
        while len(data) - start >= stride:
            count = (len(data) - start) // stride
            packets = np.frombuffer(data, np.uint8, count * stride, start).reshape(-1, stride)[:, ahead : ahead + _SIZE]
            broken = np.flatnonzero(packets[:, 0] != 0x47)
            good = int(broken[0]) if len(broken) else count
            if good:
                yield packets[:good]
            start += good * stride
            if good < count:
                after = _next_packet(data, start + ahead + 1, stride) - ahead
                found.add(_GARBAGE, after - start)
                start = after
        rest = data[start:]


def _next_packet(data: bytes, start: int, stride: int) -> int:
    """Where the next packet starts: a sync byte with another one a packet further on, or the end of the data."""
    while (at := data.find(b"\x47", start)) >= 0:
        if at + stride >= len(data) or data[at + stride] == 0x47:
            return at
        start = at + 1
    return len(data)


def _follow(packets: NDArray[np.uint8], ids: Mapping[int, int] | None, found: _Findings) -> None:
    streams = (packets[:, 1].astype(np.int32) & 0x1F) << 8 | packets[:, 2]
    marked = (packets[:, 1] & 0x80) != 0
    _tables(packets[(streams == _PAT) & ~marked], found)  # they tell where the others are, and what
    for table in found.tables - {_PAT}:
        _tables(packets[(streams == table) & ~marked], found)
    for stream in np.unique(streams).tolist():
        mine = streams == stream
        if stream in found.tables or (stream != _NULL and (ids is None or stream in ids)):
            found.add("packets marked as damaged", int((mine & marked).sum()))
            _continuity(stream, packets[mine], found)
            _payloads(stream, packets[mine], found)


def _continuity(stream: int, packets: NDArray[np.uint8], found: _Findings) -> None:
    """Counters go up by one with every packet that has a payload."""
    # One packet may be sent twice, but FFmpeg takes both for data, so that is a fault here.
    field, payload = (packets[:, 3] & 0x20) != 0, (packets[:, 3] & 0x10) != 0
    restart = field & (packets[:, 4] > 0) & ((packets[:, 5] & 0x80) != 0)
    counters = (packets[:, 3] & 0x0F).astype(np.int32)
    last = found.last.get(stream)
    before = np.concatenate(([counters[0] - payload[0] if last is None else last], counters[:-1]))
    wrong = ((counters - before - payload) % 16 != 0) & ~restart
    found.add("gaps in the continuity counters", int(wrong.sum()))
    found.last[stream] = int(counters[-1])


def _payloads(stream: int, packets: NDArray[np.uint8], found: _Findings) -> None:
    """Adaptation fields fit and are padded with 0xFF; elementary packets start where the header says so."""
    field, payload = (packets[:, 3] & 0x20) != 0, (packets[:, 3] & 0x10) != 0
    lengths = np.where(field, packets[:, 4].astype(np.int32) + 1, 0)
    found.add("impossible packet headers", int((lengths > 184).sum() + (~field & ~payload).sum()))
    starts = np.minimum(4 + lengths, _SIZE - 4)
    rows = np.arange(len(packets))
    opens = [packets[rows, starts + at] for at in range(4)]
    prefix = (opens[0] == 0) & (opens[1] == 0) & (opens[2] == 1)
    video = prefix & np.isin(opens[3], _VIDEO_STREAM_IDS) & payload & (lengths < 181)
    unit = (packets[:, 1] & 0x40) != 0
    if found.kinds.get(stream) in _VIDEO:  # in sound, the same bytes may come by chance
        found.add("frames that start unannounced", int((video & ~unit).sum()))
        found.add("frames without their header", int((unit & payload & ~video & (lengths < 181)).sum()))
    timed = video & unit & (lengths < 177) & (packets[rows, np.minimum(starts + 7, _SIZE - 1)] & 0x80 != 0)
    found.timed[stream] = found.timed.get(stream, 0) + int(timed.sum())


def _tables(packets: NDArray[np.uint8], found: _Findings) -> None:
    """Check the checksums of the program tables, and learn from the first one where the others are."""
    for packet in packets:
        if not packet[1] & 0x40 or not packet[3] & 0x10:
            continue
        start = 4 + (int(packet[4]) + 1 if packet[3] & 0x20 else 0)
        data = packet[start:].tobytes()
        section = data[1 + data[0] :] if data else b""
        size = 3 + (int.from_bytes(section[1:3], "big") & 0xFFF)
        if len(section) < size:  # goes on in the next packet: rare, and guarded by the counters
            continue
        section = section[:size]
        if _crc(section):
            found.add("program tables with a wrong checksum")
        elif section[0] == _PAT:
            numbers = [section[at : at + 4] for at in range(8, size - 4, 4)]
            found.tables |= {int.from_bytes(n[2:], "big") & _NULL for n in numbers if n[:2] != b"\0\0"}
        elif section[0] == _PMT:
            _learn_kinds(section[:-4], found)


def _learn_kinds(section: bytes, found: _Findings) -> None:
    at = 12 + (int.from_bytes(section[10:12], "big") & 0xFFF)
    while at + 5 <= len(section):
        found.kinds[int.from_bytes(section[at + 1 : at + 3], "big") & _NULL] = section[at]
        at += 5 + (int.from_bytes(section[at + 3 : at + 5], "big") & 0xFFF)


def _crc(data: bytes) -> int:
    """CRC-32/MPEG-2, which is 0 over a section with its own checksum."""
    value = 0xFFFFFFFF
    for byte in data:
        value = (value << 8 & 0xFFFFFFFF) ^ _CRC[value >> 24 ^ byte]
    return value


def _crc_entry(byte: int) -> int:
    value = byte << 24
    for _ in range(8):
        value = (value << 1 & 0xFFFFFFFF) ^ (0x04C11DB7 if value & 0x80000000 else 0)
    return value


_CRC = [_crc_entry(byte) for byte in range(256)]
