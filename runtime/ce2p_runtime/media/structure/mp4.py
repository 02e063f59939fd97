"""MP4 and MOV files: boxes that fill each other exactly, and sample tables that agree with one another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from .found import Structure

_PARENTS = {"moov", "trak", "mdia", "minf", "stbl", "edts", "mvex", "moof", "traf"}
_MAX_TABLE = 1 << 28  # bytes; a table of so many samples would be a week of video
_UNIT = {"stts": 8, "ctts": 8, "stsc": 12, "stco": 4, "co64": 8, "stss": 4}
"""Bytes per entry of the tables that begin with version, flags and a count."""
_SAMPLE = {"stsz", "elst", "tkhd", "mdhd"}
_MAX_DEPTH = 8


class _FaultError(Exception):
    """A clause on what is wrong."""


class _Track:
    """The tables of one track."""

    def __init__(self) -> None:
        self.tables: dict[str, NDArray[np.int64]] = {}
        self.samples: int | None = None
        self.sizes: NDArray[np.int64] | int = 0
        self.id = 0
        self.rate = self.duration = 0  # units per second, and length in them
        self.edits: list[tuple[int, int]] = []  # length in movie units, start in the track or -1 for a pause


class _Index:
    """What the boxes of the index hold, at the start of the file and in fragments."""

    def __init__(self) -> None:
        self.tracks: list[_Track] = []
        self.runs: dict[int, int] = {}  # samples in fragments, by track id
        self.current = 0  # the track id of the fragment being read
        self.rate = 0  # movie units per second
        self.found = self.fragmented = False


def read_mp4(file: BinaryIO, length: int) -> Structure:
    """Follow all boxes but the pictures, and count the samples of each track."""
    index = _Index()
    try:
        for name, start, end in _boxes(file, 0, length):
            index.found |= name == "moov"
            if name in ("moov", "moof"):
                index.fragmented |= name == "moof"
                _parent(file, start, end, index, 0)
        if not index.found:
            raise _FaultError("its index ('moov' box) is missing")
        for track in index.tracks:
            _agree(track, length)
    except _FaultError as fault:
        return Structure(str(fault), fragmented=index.fragmented)
    partial = frozenset(at for at, track in enumerate(index.tracks) if _is_partial(track, index))
    packets = {
        at: track.samples + index.runs.get(track.id, 0)
        for at, track in enumerate(index.tracks)
        if track.samples is not None and at not in partial
    }
    return Structure(None, packets, exact=True, partial=partial, fragmented=index.fragmented)


def _boxes(file: BinaryIO, position: int, end: int) -> Iterator[tuple[str, int, int]]:
    """(name, start and end of the body) of the boxes that fill the bytes from `position` to `end`."""
    whole = position == 0
    while position + 8 <= end:
        file.seek(position)
        head = file.read(16)
        size, name, header = int.from_bytes(head[:4], "big"), head[4:8].decode("latin-1"), 8
        if size == 1:
            size, header = int.from_bytes(head[8:16], "big"), 16
        elif size == 0 and whole:  # "up to the end of the file"
            size = end - position
        elif size == 0:  # QuickTime ends lists with four zero bytes
            return
        if size < header or not name.isprintable():
            raise _FaultError(f"no box where one should be, at byte {position}")
        if position + size > end:
            where = f"the file at {end}" if whole else f"the box around it at {end}"
            raise _FaultError(f"its {name!r} box ends at byte {position + size}, {where}")
        yield name, position + header, position + size
        position += size


def _parent(file: BinaryIO, start: int, end: int, index: _Index, depth: int) -> None:
    """Read the boxes inside a `moov`, `moof` or a box in them."""
    if depth > _MAX_DEPTH:
        raise _FaultError(f"its boxes are nested more than {_MAX_DEPTH} deep")
    for name, inner, after in _boxes(file, start, end):
        index.fragmented |= name == "mvex"
        if name == "trak":
            index.tracks.append(_Track())
        if name in _PARENTS:
            _parent(file, inner, after, index, depth + 1)
        elif name == "mvhd":
            index.rate, _ = _clock(_read(file, inner, after))
        elif name == "tfhd":
            index.current = int.from_bytes(_read(file, inner, after)[4:8], "big")
        elif name == "trun":
            samples = int.from_bytes(_read(file, inner, after)[4:8], "big")
            index.runs[index.current] = index.runs.get(index.current, 0) + samples
        elif index.tracks and (name in _UNIT or name in _SAMPLE):
            _table(name, _read(file, inner, after), index.tracks[-1])


def _read(file: BinaryIO, start: int, end: int) -> bytes:
    file.seek(start)
    return file.read(min(end - start, _MAX_TABLE))


def _clock(data: bytes) -> tuple[int, int]:
    """Units per second and duration in a `mvhd` or `mdhd` box."""
    wide = bool(data and data[0])
    at = 20 if wide else 12
    return int.from_bytes(data[at : at + 4], "big"), int.from_bytes(data[at + 4 : at + (12 if wide else 8)], "big")


def _table(name: str, data: bytes, track: _Track) -> None:
    version = data[0] if data else 0
    if name == "tkhd":
        track.id = int.from_bytes(data[20:24] if version else data[12:16], "big")
    elif name == "mdhd":
        track.rate, track.duration = _clock(data)
    elif name == "elst":
        wide = 8 if version else 4
        for at in range(8, len(data) - 2 * wide - 3, 2 * wide + 4):
            begin = int.from_bytes(data[at + wide : at + 2 * wide], "big", signed=True)
            track.edits.append((int.from_bytes(data[at : at + wide], "big"), begin))
    elif name == "stsz":
        each, track.samples = int.from_bytes(data[4:8], "big"), int.from_bytes(data[8:12], "big")
        if not each and len(data) != 12 + 4 * track.samples:
            raise _FaultError(f"its table of sizes announces {track.samples} samples and has {(len(data) - 12) // 4}")
        track.sizes = each or np.frombuffer(data, ">u4", track.samples, 12).astype(np.int64)
    elif name in _UNIT:
        count = int.from_bytes(data[4:8], "big")
        if len(data) < 8 + _UNIT[name] * count:
            raise _FaultError(f"its {name!r} table announces {count} entries and has {(len(data) - 8) // _UNIT[name]}")
        kind = ">u8" if name == "co64" else ">u4"
        numbers = np.frombuffer(data, kind, count * _UNIT[name] // np.dtype(kind).itemsize, 8).astype(np.int64)
        track.tables[name] = numbers.reshape(count, _UNIT[name] // np.dtype(kind).itemsize)


def _agree(track: _Track, length: int) -> None:
    """The tables of times, sizes and places of a track must tell of the same samples, all of them in the file."""
    tables, samples = track.tables, track.samples
    if not samples:
        return
    for name, told in (("stts", "times"), ("ctts", "display times")):
        if name in tables and (count := int(tables[name][:, 0].sum())) != samples:
            raise _FaultError(f"its index has {told} for {count} of {samples} samples")
    chunks = tables.get("stco", tables.get("co64"))
    groups = tables.get("stsc")
    if chunks is None or groups is None or not len(groups) or not len(chunks):
        raise _FaultError(f"its index does not say where its {samples} samples are")
    borders = np.append(groups[:, 0], len(chunks) + 1)
    if borders[0] != 1 or (np.diff(borders) <= 0).any():
        raise _FaultError("its index lists its pieces in a wrong order")
    per_chunk = np.repeat(groups[:, 1], np.diff(borders))
    if int(per_chunk.sum()) != samples:
        raise _FaultError(f"its index has places for {int(per_chunk.sum())} of {samples} samples")
    if isinstance(track.sizes, int):
        inside = per_chunk.astype(np.float64) * track.sizes  # approximate, so that nothing overflows
    else:
        ends = np.cumsum(per_chunk)
        total = np.concatenate(([0], np.cumsum(track.sizes)))
        inside = (total[ends] - total[ends - per_chunk]).astype(np.float64)
    reach = int((chunks[:, 0] + inside).max())
    if reach > length or int(chunks.min()) < 0:
        raise _FaultError(f"its index points to byte {reach}, the file ends at {length}")


def _is_partial(track: _Track, index: _Index) -> bool:
    """Whether an edit list ends before the track does, or shows several parts of it."""
    shown = [(length, start) for length, start in track.edits if start >= 0]
    if len(shown) != 1 or not track.rate or not index.rate:
        return len(shown) > 1
    length, start = shown[0]
    # A length of 0 means "up to the end", as in fragmented files. Lengths are rounded to movie units.
    return 0 < (length + 1) * track.rate < (track.duration - start) * index.rate
