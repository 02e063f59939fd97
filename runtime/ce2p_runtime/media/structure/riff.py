"""AVI files: RIFF chunks, which follow each other without gaps, and the index at their end."""

from __future__ import annotations

from typing import BinaryIO

from .found import Structure

_LISTS = {b"hdrl", b"strl", b"movi", b"rec ", b"odml", b"INFO"}
_MAX_INDEX = 1 << 28


def read_avi(file: BinaryIO, length: int) -> Structure:
    """Walk the chunks of all RIFF parts, and count those of each stream that hold data."""
    packets: dict[int, int] = {}
    position, problem = 0, None
    while problem is None and position + 12 <= length:
        file.seek(position)
        head = file.read(12)
        if head[:4] != b"RIFF" and position:  # after the parts anything may follow
            break
        end = _end(position, head[4:8], length)
        if head[8:] not in (b"AVI ", b"AVIX"):
            problem = f"no AVI part where one should be, at byte {position}"
        elif end > length + 1:
            problem = f"it announces {end} bytes and has {length}"
        problem = _walk(file, position + 12, min(end, length), packets) or problem
        position = end + end % 2
    if problem is None:
        for stream, count in (count_indexed(file, length) or {}).items():
            if packets.get(stream, 0) < count:
                problem = f"{packets.get(stream, 0)} of {count} indexed packets of stream {stream}"
    return Structure(problem, packets, exact=True)


def count_indexed(file: BinaryIO, length: int) -> dict[int, int] | None:
    """Packets with data of each stream, by the index at the end; None without one that covers the whole file."""
    file.seek(0)
    end = min(_end(0, file.read(8)[4:8], length), length)
    file.seek(end + end % 2)
    if file.read(4) == b"RIFF":  # of files above 1 GB, that index covers the first part only
        return None
    position = 12
    while position + 8 <= end:
        file.seek(position)
        head = file.read(8)
        size = _end(position, head[4:8], end) - position - 8
        if head[:4] == b"idx1" and size <= min(end - position, _MAX_INDEX):
            counts: dict[int, int] = {}
            index = file.read(size)
            for at in range(0, size - 15, 16):
                if index[at + 12 : at + 16] != b"\0\0\0\0" and (stream := _stream(index[at : at + 4])) is not None:
                    counts[stream] = counts.get(stream, 0) + 1
            return counts
        position += 8 + size + size % 2
    return None


def _walk(file: BinaryIO, position: int, end: int, packets: dict[int, int]) -> str | None:
    """Count the packets of the chunks from `position` to `end`; a clause on the first that cannot be."""
    inner: list[int] = [end]
    while True:
        while position >= inner[-1] - 1:  # a last odd chunk may lack its padding
            inner.pop()
            if not inner:
                return None
        file.seek(position)
        head = file.read(12)
        name, size = head[:4], _end(position, head[4:8], inner[-1]) - position - 8
        if len(head) < 8 or not _is_name(name):
            return f"no chunk where one should be, at byte {position}"
        after = position + 8 + size + size % 2
        if after > inner[-1] + size % 2:
            return f"the chunk at byte {position} is longer than what is left"
        if name == b"LIST" and head[8:12] in _LISTS:
            inner.append(min(position + 8 + size, inner[-1]))
            position += 12
            continue
        stream = _stream(name)
        if stream is not None and size:
            packets[stream] = packets.get(stream, 0) + 1
        position = after


def _end(position: int, size: bytes, limit: int) -> int:
    """Where a chunk ends. A recorder that cannot go back leaves its size open, with all bits set."""
    return limit if size == b"\xff\xff\xff\xff" else position + 8 + int.from_bytes(size, "little")


def _stream(name: bytes) -> int | None:
    """The number of the stream whose data a chunk holds: 0 of `00dc`."""
    return int(name[:2]) if name[:2].isdigit() and name[2:] in (b"dc", b"db", b"wb") else None


def _is_name(name: bytes) -> bool:
    return len(name) == 4 and all(32 <= byte < 127 for byte in name)
