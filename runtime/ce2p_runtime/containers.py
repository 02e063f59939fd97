"""Open media files safely, and check whether a container's boxes add up.

Safely: FFmpeg opens URLs, device names and playlists that name further files as willingly as a video; here
only the one local file that was named is ever opened.

Add up: FFmpeg's Matroska reader ends quietly where a file was cut, and skips to the next cluster after
damage: a file that announced 60 frames gave 22 and no error [measured]. The container's own lengths tell.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from .errors import MediaError
from .files import existing_file
from .sniff import sniff_file

__all__ = ["Structure", "load_av", "open_media", "read_structure"]

# What FFmpeg may take a file for. Playlists (hls, concat, dash), which name further files and addresses,
# pictures, subtitles and text art are not among them.
_FORMATS = "mov,matroska,avi,mpegts,mpeg,flv,ogg,asf,mxf,nut,ivf,h264,hevc,mpegvideo,m4v,mjpeg,obu,dv,rm,yuv4mpegpipe"

# Element names of Matroska, as far as the walk needs them.
_EBML, _SEGMENT, _TRACKS, _CLUSTER = 0x1A45DFA3, 0x18538067, 0x1654AE6B, 0x1F43B675
_SIMPLE_BLOCK, _GROUP, _BLOCK, _TRACK, _NUMBER = 0xA3, 0xA0, 0xA1, 0xAE, 0xD7
_FILLERS = {0xEC, 0xBF}  # Void and CRC-32 are allowed anywhere
# SeekHead, Info, Cues, Attachments, Chapters, Tags
_IN_SEGMENT = _FILLERS | {
    _TRACKS, _CLUSTER, 0x114D9B74, 0x1549A966, 0x1C53BB6B, 0x1941A469, 0x1043A770, 0x1254C367
}  # fmt: skip
# Timestamp, Position, PrevSize, SilentTracks, EncryptedBlock
_IN_CLUSTER = _FILLERS | {_SIMPLE_BLOCK, _GROUP, 0xE7, 0xA7, 0xAB, 0x5854, 0xAF}
# BlockDuration, ReferenceBlock, ReferencePriority, ReferenceVirtual, CodecState, DiscardPadding,
# BlockAdditions, BlockVirtual, Slices, ReferenceFrame
_IN_GROUP = _FILLERS | {_BLOCK, 0x9B, 0xFB, 0xFA, 0xFD, 0xA4, 0x75A2, 0x75A1, 0xA2, 0x8E, 0xC8}
_PARENTS = {_SEGMENT: _IN_SEGMENT, _CLUSTER: _IN_CLUSTER, _GROUP: _IN_GROUP}


@dataclass(frozen=True)
class Structure:
    """What the boxes of a media file tell."""

    problem: str | None = None
    """A clause that says where the file is cut or garbled; None when it is not or cannot be told."""
    blocks: tuple[int, ...] = ()
    """Matroska: how many blocks each track has, in the order of the tracks."""


def load_av() -> Any:
    """The `av` module, imported on first use since pictures do not need it. Raises MediaError without it."""
    try:
        import av
    except ImportError as error:
        raise MediaError(f'video needs PyAV, which cannot be imported ({error}); pip install "ce2p[cli]"') from error
    return av


def open_media(path: str | Path) -> Any:
    """Open a local audio or video file, and nothing else, with PyAV. Raises MediaError."""
    file = existing_file(path, "a video")
    av = load_av()
    try:
        found = sniff_file(file)
        if found.kind in ("picture", "text"):
            raise MediaError(f"{file}: is {found.name}, expected a video; check the path or fetch the file again")
        # Without the prefix, "concat:a|b" or "subfile,..." would be taken for protocols.
        options = {"protocol_whitelist": "file", "format_whitelist": _FORMATS}
        return av.open(f"file:{file}", options=options, metadata_errors="replace")
    except (av.error.FFmpegError, OSError) as error:
        cut = read_structure(file).problem if isinstance(error, av.error.FFmpegError) else error.strerror
        fault = f"cannot be opened ({cut})" if cut else f"is {found.name} that cannot be opened as a video"
        raise MediaError(f"{file}: {fault}, expected a whole video file; copy or convert it again") from error


def read_structure(path: Path) -> Structure:
    """Follow the boxes of an MP4/MOV, Matroska/WebM, AVI or MPEG-TS file from start to end.

    Only their lengths and names are read, not what is in them. Raises OSError.
    """
    length = path.stat().st_size
    with path.open("rb", buffering=0) as file:
        head = file.read(377)
        if head.startswith(b"\x1a\x45\xdf\xa3"):
            return _matroska(file, length)
        problem = None
        if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
            announced = 8 + int.from_bytes(head[4:8], "little")
            if announced > length + 1:
                problem = f"it announces {announced} bytes and has {length}"
        elif head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"skip", b"free"):
            problem = _mp4(file, length)
        elif head[:1] == b"G" and head[188:189] == b"G" and head[376:377] == b"G" and length % 188:
            problem = f"its last transport packet has {length % 188} of 188 bytes"
    return Structure(problem)


def _mp4(file: BinaryIO, length: int) -> str | None:
    position, index_found = 0, False
    while position + 8 <= length:
        file.seek(position)
        head = file.read(16)
        size, name = int.from_bytes(head[:4], "big"), head[4:8].decode("latin-1")
        if size == 1:
            size = int.from_bytes(head[8:16], "big")
        elif size == 0:  # "up to the end of the file"
            size = length - position
        if size < 8 or not name.isprintable():
            return f"no box where one should be, at byte {position}"
        if position + size > length:
            return f"its {name!r} box ends at byte {position + size}, the file at {length}"
        index_found |= name == "moov"
        position += size
    return None if index_found else "its index ('moov' box) is missing"


def _matroska(file: BinaryIO, length: int) -> Structure:
    """Walk all elements down to the blocks. Clusters without a length (live recordings) end the walk."""
    position = 0
    blocks: dict[int, int] = {}
    ends: list[tuple[int, set[int]]] = [(length, {_EBML, _SEGMENT})]
    while True:
        while position >= ends[-1][0]:
            ends.pop()
            if not ends:
                return Structure(None, tuple(blocks.values()))
        end, allowed = ends[-1]
        file.seek(position)
        data = file.read(16)
        element = _element(data)
        if element is None or element[0] not in allowed:
            # After the segment anything may follow; inside it, an unknown name means that the lengths are
            # wrong.
            fault = f"no Matroska element where one should be, at byte {position}" if len(ends) > 1 else None
            return Structure(fault, tuple(blocks.values()))
        name, size, header = element
        if size is None:
            if name != _SEGMENT:
                return Structure()
            size = length - position - header
        after = position + header + size
        if after > end:
            found = f"ends at byte {after}, the file at {length}" if after > length else "is longer than its parent"
            return Structure(f"the Matroska element at byte {position} {found}", tuple(blocks.values()))
        if name == _TRACKS:
            file.seek(position + header)
            blocks = dict.fromkeys(_track_numbers(file.read(min(size, 1 << 20))), 0)
        elif name in (_SIMPLE_BLOCK, _BLOCK) and (track := data[header] & 0x7F) in blocks:
            blocks[track] += 1
        if name in _PARENTS:
            ends.append((after, _PARENTS[name]))
        position = position + header if name in _PARENTS else after


def _track_numbers(tracks: bytes) -> list[int]:
    """Numbers of the tracks, in order, from the body of a Tracks element."""
    numbers, position = [], 0
    while (element := _element(tracks[position : position + 16])) is not None:
        name, size, header = element
        if size is None:
            break
        if name == _NUMBER:
            numbers.append(int.from_bytes(tracks[position + header : position + header + size], "big"))
        # Into a track to find its number, past everything else.
        position += header if name == _TRACK else header + size
    return numbers


def _element(data: bytes) -> tuple[int, int | None, int] | None:
    """(id, size or None for unknown, bytes of both) of the EBML element header at the start of `data`."""
    if not data or data[0] < 0x10:
        return None
    id_length = 9 - data[0].bit_length()
    rest = data[id_length:]
    if not rest or rest[0] == 0:
        return None
    size_length = 9 - rest[0].bit_length()
    if len(rest) < size_length:
        return None
    mask = (1 << 7 * size_length) - 1
    size = int.from_bytes(rest[:size_length], "big") & mask
    return int.from_bytes(data[:id_length], "big"), None if size == mask else size, id_length + size_length
