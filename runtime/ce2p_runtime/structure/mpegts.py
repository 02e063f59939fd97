"""MPEG transport streams: sync bytes, continuity counters, error marks and the checksums of their tables.

Every packet of 188 bytes carries a counter of four bits per stream, so all losses but multiples of 16 packets show.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from .found import Structure

__all__ = ["read_mpegts"]

_SIZE = 188
_AT_ONCE = 1 << 14  # packets, 3 MB
_NULL, _PAT = 0x1FFF, 0
_VIDEO_STREAM_IDS = range(0xE0, 0xF0)


class _Findings:
    """Faults by kind, and what each stream's last packet was."""

    def __init__(self) -> None:
        self.faults: dict[str, int] = {}
        self.last: dict[int, tuple[int, bytes]] = {}  # stream: counter and packet
        self.tables: set[int] = {_PAT}

    def add(self, fault: str, count: int = 1) -> None:
        if count:
            self.faults[fault] = self.faults.get(fault, 0) + count


def read_mpegts(file: BinaryIO, length: int, ids: Collection[int] | None) -> Structure:
    """Follow all packets of the streams `ids` (None: of all) and of the tables that name them."""
    found = _Findings()
    for packets in _packets(file, found):
        _follow(packets, ids, found)
    if length % _SIZE and "bytes between packets" not in found.faults:
        found.add(f"its last transport packet has {length % _SIZE} of {_SIZE} bytes")
    clauses = [
        text if count == 1 and "its last" in text else f"{text}: {count}" for text, count in found.faults.items()
    ]
    return Structure(f"transport stream: {', '.join(clauses)}" if clauses else None)


def _packets(file: BinaryIO, found: _Findings) -> Iterator[NDArray[np.uint8]]:
    """uint8 [N, 188]: runs of packets with their sync byte, past bytes that are none."""
    rest = b""
    while data := file.read(_AT_ONCE * _SIZE):
        data = rest + data
        start = 0
        while len(data) - start >= _SIZE:
            count = (len(data) - start) // _SIZE
            packets = np.frombuffer(data, np.uint8, count * _SIZE, start).reshape(-1, _SIZE)
            broken = np.flatnonzero(packets[:, 0] != 0x47)
            good = int(broken[0]) if len(broken) else count
            if good:
                yield packets[:good]
            start += good * _SIZE
            if good < count:
                after = _next_packet(data, start + 1)
                found.add("bytes between packets", after - start)
                start = after
        rest = data[start:]


def _next_packet(data: bytes, start: int) -> int:
    """Where the next packet starts: a sync byte with another one a packet further on, or the end of the data."""
    while (at := data.find(b"\x47", start)) >= 0:
        if at + _SIZE >= len(data) or data[at + _SIZE] == 0x47:
            return at
        start = at + 1
    return len(data)


def _follow(packets: NDArray[np.uint8], ids: Collection[int] | None, found: _Findings) -> None:
    streams = (packets[:, 1].astype(np.int32) & 0x1F) << 8 | packets[:, 2]
    marked = (packets[:, 1] & 0x80) != 0
    for stream in np.unique(streams).tolist():
        mine = streams == stream
        if stream in found.tables:
            _tables(packets[mine & ~marked], found)
        elif stream == _NULL or (ids is not None and stream not in ids):
            continue
        found.add("packets marked as damaged", int((mine & marked).sum()))
        _continuity(stream, packets[mine], found)
        _payloads(packets[mine], found)


def _continuity(stream: int, packets: NDArray[np.uint8], found: _Findings) -> None:
    """Counters go up by one with every packet that has a payload; one packet may be sent twice."""
    field, payload = (packets[:, 3] & 0x20) != 0, (packets[:, 3] & 0x10) != 0
    restart = field & (packets[:, 4] > 0) & ((packets[:, 5] & 0x80) != 0)
    counters = (packets[:, 3] & 0x0F).astype(np.int32)
    last = found.last.get(stream)
    before = np.concatenate(([counters[0] - payload[0] if last is None else last[0]], counters[:-1]))
    wrong = ((counters - before - payload) % 16 != 0) & ~restart
    for at in np.flatnonzero(wrong).tolist():
        previous = packets[at - 1].tobytes() if at else (last[1] if last else b"")
        same = packets[at].tobytes()[12:] == previous[12:]  # a repeated packet may carry a new clock
        found.add("gaps in the continuity counters", int(not (same and counters[at] == before[at])))
    found.last[stream] = int(counters[-1]), packets[-1].tobytes()


def _payloads(packets: NDArray[np.uint8], found: _Findings) -> None:
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
    found.add("frames that start unannounced", int((video & ~unit).sum()))


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
