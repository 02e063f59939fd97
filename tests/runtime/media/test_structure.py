"""The boxes of containers: whole files add up, lies about lengths and counts are told, in little memory."""

from __future__ import annotations

import io
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from ce2p_runtime.media.structure import read_structure
from ce2p_runtime.media.structure.riff import count_indexed
from tests.runtime.media.clips import make_clip


def _box(name: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I", 8 + len(body)) + name + body


def _table(name: bytes, *entries: int, count: int | None = None) -> bytes:
    per = {b"stts": 2, b"ctts": 2, b"stsc": 3, b"stco": 1}[name]
    number = len(entries) // per if count is None else count
    return _box(name, struct.pack(f">{2 + len(entries)}I", 0, number, *entries))


def _movie(*tables: bytes, each: int = 10, samples: int = 4, sizes: bytes = b"") -> bytes:
    stsz = _box(b"stsz", struct.pack(">III", 0, each, samples), sizes)
    head = _box(b"mdhd", struct.pack(">6I", 0, 0, 0, 1000, 4000, 0))
    stbl = _box(b"stbl", stsz, *tables)
    trak = _box(b"trak", _box(b"mdia", head, _box(b"minf", stbl)))
    return _box(b"ftyp", b"isom") + _box(b"moov", _box(b"mvhd", bytes(100)), trak)


_TIMES, _PLACES = _table(b"stts", 4, 1), (_table(b"stsc", 1, 4, 1), _table(b"stco", 0))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (_movie(_TIMES, *_PLACES), None),
        (_movie(_table(b"stts", 3, 1), *_PLACES), "times for 3 of 4 samples"),
        (_movie(_TIMES, _table(b"ctts", 9, 1), *_PLACES), "display times for 9 of 4"),
        (_movie(_TIMES), "does not say where its 4 samples are"),
        (_movie(_TIMES, _table(b"stsc", 1, 3, 1), _table(b"stco", 0)), "places for 3 of 4"),
        (_movie(_TIMES, _table(b"stsc", 2, 4, 1), _table(b"stco", 0)), "wrong order"),
        (_movie(_TIMES, _table(b"stsc", 1, 4, 1), _table(b"stco", 1 << 20)), "points to byte 1048616"),
        (_movie(_table(b"stts", 4, 1, count=1 << 30), *_PLACES), "announces 1073741824 entries and has 1"),
        (_movie(_TIMES, *_PLACES, each=0), "announces 4 samples and has 0"),
        (
            _movie(
                _table(b"stts", 0xFFFFFFFF, 1),
                _table(b"stsc", 1, 0xFFFFFFFF, 1),
                _table(b"stco", 0),
                each=0xFFFFFFFF,
                samples=0xFFFFFFFF,
            ),
            "points to byte",
        ),
        (_movie(_TIMES, *_PLACES)[:-3], "box ends at byte"),
        (_box(b"ftyp", b"isom") + _box(b"mdat", bytes(50)), "index ('moov' box) is missing"),
        (_box(b"ftyp", b"isom") + _box(b"moov", struct.pack(">I", 90) + b"trak"), "the box around it at"),
        (_box(b"ftyp", b"isom") + bytes(30), "no box where one should be"),
    ],
)
def test_mp4_tables_must_agree(data: bytes, words: str | None, tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(data)
    tracemalloc.start()
    structure = read_structure(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert structure.problem is None if words is None else words in str(structure.problem)
    assert words is not None or structure.packets == {0: 4}
    assert peak < 1 << 20


def test_boxes_nested_without_end_are_told(tmp_path: Path) -> None:
    data = b""
    for _ in range(5000):
        data = _box(b"moov", data)
    (tmp_path / "a.mp4").write_bytes(data)
    assert "nested more than" in str(read_structure(tmp_path / "a.mp4").problem)


def _double_size(data: bytearray, at: int) -> None:
    data[at : at + 4] = (2 * int.from_bytes(data[at : at + 4], "little")).to_bytes(4, "little")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("size of the file", "announces"),
        ("size of a chunk", "longer than what is left|no chunk where one should be"),
        ("name of a chunk", "no chunk where one should be"),
        ("missing index entries", "indexed packets"),
    ],
)
def test_avi_chunks_must_follow_each_other(name: str, words: str, tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.avi", "mpeg4")
    assert read_structure(path).problem is None
    assert read_structure(path).packets == {0: 25}
    data = bytearray(path.read_bytes())
    first, middle = data.index(b"00dc", data.index(b"movi")), data.index(b"00dc", len(data) // 2)
    if name == "size of the file":
        _double_size(data, 4)
    elif name == "size of a chunk":
        _double_size(data, middle + 4)
    elif name == "name of a chunk":
        data[middle : middle + 4] = b"\1\2\3\4"
    else:  # a frame that is now called something else
        data[first : first + 4] = b"JUNK"
    path.write_bytes(data)
    problem = str(read_structure(path).problem)
    assert any(word in problem for word in words.split("|")), problem


def test_the_index_of_the_first_of_several_parts_does_not_count_the_file(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.avi", "mpeg4")
    data = path.read_bytes()
    assert count_indexed(io.BytesIO(data), len(data)) == {0: 25}
    movie = b"movi" + 3 * (b"00dc\x04\0\0\0abcd")
    part = b"AVIX" + b"LIST" + len(movie).to_bytes(4, "little") + movie
    data += b"RIFF" + len(part).to_bytes(4, "little") + part
    assert count_indexed(io.BytesIO(data), len(data)) is None
    path.write_bytes(data)
    assert read_structure(path).packets == {0: 28}
    assert read_structure(path).problem is None


def _block(data: bytearray) -> int:
    """Where the name of a block in the middle of a Matroska file is."""
    return next(at for at in range(len(data) // 2, len(data)) if data[at] == 0xA3 and data[at + 1] & 0xC0 == 0x40)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: data.__setitem__(slice(-40, None), b""), "ends at byte"),
        (lambda data: data.__setitem__(_block(data), 0xA7), "holds a number of"),
        (lambda data: data.__setitem__(_block(data), 0x8F), "no Matroska element"),
        (lambda data: data.__setitem__(data.index(b"\x18\x53\x80\x67") + 3, 0x27), "no Matroska element"),
    ],
)
def test_webm_elements_must_fill_each_other(change: Callable[[bytearray], None], words: str, tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.webm", "libvpx", options={"deadline": "realtime"})
    assert read_structure(path).problem is None
    data = bytearray(path.read_bytes())
    change(data)
    path.write_bytes(data)
    assert words in str(read_structure(path).problem)


def test_every_changed_byte_in_a_matroska_cluster_is_told(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mkv")
    whole = read_structure(path)
    assert (whole.problem, whole.packets) == (None, {0: 25})
    data = path.read_bytes()
    for at in range(data.index(b"\x1f\x43\xb6\x75") + 4, data.index(b"\x1c\x53\xbb\x6b", 500), 97):
        path.write_bytes(data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :])
        assert read_structure(path).problem is not None, at


def test_clusters_of_live_recordings_end_where_others_begin(tmp_path: Path) -> None:
    structure = read_structure(make_clip(tmp_path / "a.mkv", container={"live": "1", "cluster_time_limit": "200"}))
    assert (structure.problem, structure.packets) == (None, {0: 25})


@pytest.mark.parametrize("table", [0, 0x1000])
def test_program_tables_are_verified(table: int, tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.ts")
    data = bytearray(path.read_bytes())
    numbers = range(0, len(data), 188)
    at = next(at for at in numbers if (data[at + 1] & 0x1F) << 8 | data[at + 2] == table)
    data[at + 14] ^= 1
    path.write_bytes(data)
    assert "wrong checksum: 1" in str(read_structure(path).problem)


def test_other_formats_tell_nothing(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.flv")
    assert read_structure(path).problem is None
    assert read_structure(path).packets == {}
