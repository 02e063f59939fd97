"""Every packet of a video gives a frame, needs none, or is counted as lost; what is damaged is told."""

from __future__ import annotations

import gc
import itertools
from pathlib import Path

import numpy as np
import pytest

from ce2p_runtime.media.bits import Bits
from ce2p_runtime.media.h264_fields import FieldReader
from ce2p_runtime.media.packet_contents import PacketContents
from ce2p_runtime.media.video import VideoReader
from ce2p_runtime.media.video_ledger import Ticket
from tests.runtime.media.clips import assert_balanced, copy_packets, make_clip, moving, packets_of, read, zero_packet

av = pytest.importorskip("av")

_FRAMES = 50


def _clip(path: Path) -> Path:
    codec, options = {".webm": ("libvpx-vp9", {"deadline": "realtime", "cpu-used": "8"}), ".avi": ("mpeg4", {})}.get(
        path.suffix, ("libx264", {"bf": "2"})
    )
    return make_clip(path, codec, _FRAMES, options=options)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts", ".avi", ".webm"])
def test_a_lost_keyframe_is_counted_with_all_frames_that_hang_on_it(suffix: str, tmp_path: Path) -> None:
    whole = _clip(tmp_path / f"a{suffix}")
    key = next(number for number, packet in enumerate(packets_of(whole)) if packet[3] and number)
    if suffix == ".ts":  # its packets are spread over transport packets: drop those with the keyframe
        path = _without_unit(whole, key, tmp_path / "b.ts")
    else:
        path = zero_packet(whole, key, tmp_path / f"b{suffix}")
    frames, reader = read(path)
    counts = reader.counts
    assert_balanced(reader)
    assert counts.skipped + counts.damaged + (_FRAMES - counts.packets) > 0
    assert len(frames) == counts.decoded == counts.packets - counts.hidden - counts.skipped + counts.further
    assert reader.problem is not None


def _without_unit(source: Path, number: int, target: Path) -> Path:
    """A transport stream without the packets of one frame."""
    data, keep, seen = source.read_bytes(), bytearray(), -1
    for start in range(0, len(data), 188):
        packet = data[start : start + 188]
        video = (packet[1] & 0x1F, packet[2]) == (1, 0)
        seen += video and bool(packet[1] & 0x40)
        if not video or seen != number:
            keep += packet
    target.write_bytes(keep)
    return target


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi"])
@pytest.mark.parametrize("lost", [1, 3])
def test_one_frame_of_many_is_missed(suffix: str, lost: int, tmp_path: Path) -> None:
    """Not a share of the frames: one that is missing is one too many."""
    whole = make_clip(tmp_path / f"a{suffix}", "mjpeg", 300, pixels="yuvj420p")
    path = whole
    for number in range(lost):
        path = zero_packet(path, 150 + 40 * number, tmp_path / f"b{number}{suffix}")
    frames, reader = read(path)
    assert 300 - lost == len(frames)
    assert reader.counts.skipped == lost
    assert f"packets not decoded: {lost}" in str(reader.problem)
    assert_balanced(reader)


@pytest.mark.parametrize(("codec", "suffix"), [("libx264", ".ts"), ("libx264", ".mkv"), ("mpeg2video", ".ts")])
def test_what_hangs_on_a_keyframe_before_the_beginning_is_lost(codec: str, suffix: str, tmp_path: Path) -> None:
    whole = make_clip(tmp_path / f"a{suffix}", codec, _FRAMES, options={"g": "20", "bf": "2"})
    path = copy_packets(whole, tmp_path / f"b{suffix}", start=5)
    lost = next(number for number, packet in enumerate(packets_of(path)) if packet[3])
    frames, reader = read(path)
    assert reader.counts.skipped == lost > 10
    assert len(frames) == 45 - lost - reader.counts.hidden
    assert f"in front of the first keyframe: {lost}" in str(reader.problem)
    assert_balanced(reader)


@pytest.mark.parametrize(("first", "last"), [(10, 12), (3, 4)])
def test_doubled_packets_in_avi_are_too_many(first: int, last: int, tmp_path: Path) -> None:
    path = _clip(tmp_path / "a.avi")
    packets, data = packets_of(path), path.read_bytes()
    start, end = (data.index(b"00dc" + len(p[2]).to_bytes(4, "little") + p[2]) for p in (packets[first], packets[last]))
    path.write_bytes(data[:end] + data[start:end] + data[end:])
    _, reader = read(path)
    assert reader.problem is not None
    assert_balanced(reader)


@pytest.mark.parametrize("damage", ["zeroed", "flipped", "dropped", "doubled", "sent twice", "marked"])
@pytest.mark.parametrize("at", [0.3, 0.5, 0.7])
def test_damaged_transport_packets_are_told(damage: str, at: float, tmp_path: Path) -> None:
    path = _clip(tmp_path / "a.ts")
    data = bytearray(path.read_bytes())
    start = int(len(data) * at) // 188 * 188
    while (data[start + 1] & 0x1F, data[start + 2]) != (1, 0):
        start += 188
    if damage == "zeroed":
        data[start : start + 500] = bytes(500)
    elif damage == "flipped":
        data[start + 3] ^= 0x05
    elif damage == "dropped":
        del data[start : start + 188]
    elif damage in ("doubled", "sent twice"):  # the standard allows to send one twice, but FFmpeg takes both
        data[start:start] = data[start : start + 188 * (1 + (damage == "doubled"))]
    else:
        data[start + 1] |= 0x80
    path.write_bytes(data)
    _, reader = read(path)
    assert reader.problem is not None
    assert_balanced(reader)


@pytest.mark.parametrize("number", [3, 20, 37])
def test_changed_pixels_are_told_by_the_checksums_of_matroska(number: int, tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mkv", "rawvideo", _FRAMES, options={})
    packet, data = packets_of(path)[number][2], bytearray(path.read_bytes())
    data[data.index(packet) + 1000] ^= 1
    path.write_bytes(data)
    frames, reader = read(path)
    assert len(frames) == _FRAMES
    assert "wrong checksums: 1 of" in str(reader.problem)


def test_what_the_decoder_complains_about_is_damage(tmp_path: Path) -> None:
    """H.264 shows another piece of picture where one is garbled, and calls the frame good."""
    whole = make_clip(tmp_path / "a.mp4", images=moving(_FRAMES, 144, 176), options={"bf": "0"})
    plain, _ = read(whole)
    packet, data = packets_of(whole)[15][2], bytearray(whole.read_bytes())
    at = data.index(packet) + len(packet) // 2
    data[at : at + 40] = bytes(range(40))
    whole.write_bytes(data)
    frames, reader = read(whole)
    assert len(frames) == _FRAMES
    assert not np.array_equal(frames[15].image, plain[15].image)
    assert reader.counts.damaged >= 1
    assert "repaired by the decoder" in str(reader.problem)


def test_pyav_keeps_its_own_log_level(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mp4")
    before = av.logging.get_level(), av.logging.get_skip_repeated()
    read(path)
    assert (av.logging.get_level(), av.logging.get_skip_repeated()) == before


def test_frames_that_are_only_referred_to_are_hidden_and_not_lost(tmp_path: Path) -> None:
    """VP8 says with one bit that a frame is not to be shown."""

    def hide(number: int, packet: bytes) -> bytes | None:
        return bytes([packet[0] & ~0x10]) + packet[1:] if number in (5, 6, 17) else None

    whole = make_clip(tmp_path / "a.webm", "libvpx", options={"deadline": "realtime"})
    path = copy_packets(whole, tmp_path / "b.webm", change=hide)
    frames, reader = read(path)
    assert reader.problem is None
    assert (len(frames), reader.counts.hidden, reader.counts.skipped) == (22, 3, 0)
    assert_balanced(reader)


def test_the_account_balances_while_reading(tmp_path: Path) -> None:
    with VideoReader(make_clip(tmp_path / "a.mp4", options={"bf": "3"})) as reader:
        for _ in reader:
            counts = reader.counts
            assert counts.packets + counts.further == counts.decoded + counts.hidden + counts.skipped + counts.waiting
            assert counts.waiting <= 20


@pytest.mark.parametrize("after", [3, 100])
def test_packets_do_not_outlive_the_reader(after: int, tmp_path: Path) -> None:
    """PyAV keeps what is attached to a packet in a table of its own until the packet is gone."""
    path = zero_packet(make_clip(tmp_path / "a.mp4", "mjpeg", pixels="yuvj420p"), 5, tmp_path / "b.mp4")
    gc.collect()
    gc.disable()
    try:
        with VideoReader(path) as reader:
            for _ in itertools.islice(reader, after):
                pass
        del reader, _
        # The first frame waits for the collector, since its side data were looked at.
        assert sum(type(thing) is Ticket for thing in gc.get_objects()) <= 1
    finally:
        gc.enable()


def _bits(*fields: tuple[int, int] | int) -> bytes:
    """Bytes from (value, number of bits) or from Exp-Golomb numbers."""
    text = ""
    for one in fields:
        if isinstance(one, tuple):
            text += f"{one[0]:0{one[1]}b}"
        else:
            code = f"{one + 1:b}"
            text += "0" * (len(code) - 1) + code
    text += "1"
    return int(text.ljust(-(-len(text) // 8) * 8, "0"), 2).to_bytes(-(-len(text) // 8), "big")


def _sequence(frames_only: int, high: bool) -> bytes:
    chroma: tuple[tuple[int, int] | int, ...] = (1, 0, 0, (0, 1), (0, 1)) if high else ()
    head = ((100 if high else 77, 8), (0, 8), (30, 8), 0, *chroma)
    return b"\x67" + _bits(*head, 4, 2, 1, (0, 1), 44, 17, (frames_only, 1))


def _slice(field: int) -> bytes:
    # First macroblock 0, kind P, picture set 0, frame number of 8 bits, field or not.
    return b"\x41" + _bits(0, 5, 0, (3, 8), (field, 1), (0, 1), 7, 7, 7)


@pytest.mark.parametrize("high", [False, True])
@pytest.mark.parametrize(("frames_only", "field", "expected"), [(0, 1, True), (0, 0, False), (1, 1, False)])
def test_slices_of_single_fields_are_known_by_their_header(
    frames_only: int, field: int, expected: bool, high: bool
) -> None:
    reader = FieldReader()
    reader.learn(_sequence(frames_only, high))
    reader.learn(b"\x68" + _bits(0, 0))
    assert reader.is_field(_slice(field)) is expected


@pytest.mark.parametrize(
    ("codec", "packet", "hides"),
    [
        ("h264", b"\0\0\1\x09\xf0\0\0\1\x67\x64\0\0\1\x68\xee", True),
        ("h264", b"\0\0\1\x67\x64\0\0\1\x65\x88", False),
        ("h264", bytes(50), False),
        ("hevc", b"\0\0\1\x40\1\0\0\1\x42\1\0\0\1\x44\1", True),
        ("hevc", b"\0\0\1\x26\1\xaf", False),
        ("vp8", b"\x11\0\0abc", False),
        ("vp8", b"\x01\0\0abc", True),
        ("vp9", b"\x86\0abc", False),
        ("av1", b"\x12\0\x0a\1\0", True),
        ("av1", b"\x12\0\x32\2\x10\0", False),
        ("av1", bytes(20), False),
        ("mpeg4", b"\0\0\1\xb6\x51\0", True),
        ("mpeg4", b"\0\0\1\xb6\x11" + bytes(40), False),
        ("mpeg4", bytes(30), False),
        ("mpeg2video", b"\0\0\1\xb3\1\2\3", True),
        ("mpeg2video", b"\0\0\1\0\1\2\3", False),
        ("mjpeg", b"", False),
        ("h264", b"", False),
    ],
)
def test_what_a_packet_holds(codec: str, packet: bytes, hides: bool) -> None:
    contents = PacketContents(codec, b"")
    assert contents.known
    assert contents.hides_picture(packet) is hides


def test_of_unknown_codecs_nothing_is_claimed() -> None:
    assert not PacketContents("a codec of tomorrow", b"").known


def test_bits_end_where_the_bytes_end() -> None:
    bits = Bits(b"\x5a")
    assert [bits.take(4), bits.golomb(), bits.take(1), bits.golomb()] == [5, 0, 0, 0]
    with pytest.raises(IndexError):
        bits.golomb()
