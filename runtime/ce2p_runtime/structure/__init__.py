"""What the boxes of a media file tell, apart from any decoder: whether they add up, and how many packets they hold.

FFmpeg's readers are made to go on: they skip what they cannot read, end quietly where a file was cut, and say nothing.
The container's own lengths, counters and checksums tell. Only these are read here, not the pictures in them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from .found import Structure
from .matroska import read_matroska
from .mp4 import read_mp4
from .mpegts import read_mpegts
from .riff import read_avi

__all__ = ["Structure", "read_structure"]

_MP4_STARTS = (b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"wide", b"skip", b"free")


def read_structure(path: Path, ids: Mapping[int, int] | None = None) -> Structure:
    """Follow an MP4/MOV, Matroska/WebM, AVI or MPEG-TS file from start to end; other formats tell nothing here.

    `ids`: of a file that FFmpeg takes for MPEG-TS the streams that matter, from PyAV's `stream.id` to `stream.index`,
    since broadcasts carry many more than one video; None for all, and for other files. Raises OSError.
    """
    length = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(377)
        file.seek(0)
        if ids is not None:
            return read_mpegts(file, length, ids)
        if head.startswith(b"\x1a\x45\xdf\xa3"):
            return read_matroska(file, length)
        if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
            return read_avi(file, length)
        if head[4:8] in _MP4_STARTS:
            return read_mp4(file, length)
        if head[:1] == b"G" and head[188:189] == b"G" and head[376:377] == b"G":
            return read_mpegts(file, length, ids)
    return Structure()
