"""What the boxes of a media file tell, apart from any decoder: whether they add up, and how many packets they hold.

FFmpeg's readers are made to go on: they skip what they cannot read, end quietly where a file was cut, and say nothing.
The container's own lengths, counters and checksums tell. Only these are read here, not the pictures in them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from .found import Structure
from .matroska import read_matroska
from .mp4 import read_mp4
from .mpegts import read_mpegts
from .riff import read_avi

__all__ = ["Structure", "read_structure"]

_MP4_STARTS = (b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"wide", b"skip", b"free")

_RAW = {"h264", "hevc", "m4v", "mpegvideo"}
"""Streams without a container: what FFmpeg finds by their content, even where the head of a container is garbled."""
_START_CODE = re.compile(rb"\x00{2,}\x01")


def read_structure(path: Path, form: str | None = None, ids: Mapping[int, int] | None = None) -> Structure:
    """Follow an MP4/MOV, Matroska/WebM, AVI or MPEG-TS file from start to end; other formats tell nothing here.

    `form`: FFmpeg's name of the format it takes the file for; None to look at the first bytes. `ids`: of an MPEG-TS
    the streams that matter, from PyAV's `stream.id` to `stream.index`, since broadcasts carry many more than one
    video; None for all. Raises OSError.
    """
    length = path.stat().st_size
    with path.open("rb") as file:
        form = form or _guess(file.read(377))
        file.seek(0)
        if "matroska" in form:
            return read_matroska(file, length)
        if "mp4" in form:
            return read_mp4(file, length)
        if form == "avi":
            return read_avi(file, length)
        if form == "mpegts":
            return read_mpegts(file, length, ids)
        if form in _RAW and not _START_CODE.match(file.read(64)):
            return Structure(f"taken for a stream without a container ({form}), but does not begin like one")
    return Structure()


def _guess(head: bytes) -> str:
    """FFmpeg's name of the format of a file that begins so, as far as it is one of those read here."""
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return "matroska"
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return "avi"
    if head[4:8] in _MP4_STARTS:
        return "mp4"
    return "mpegts" if head[:1] == b"G" and head[188:189] == b"G" and head[376:377] == b"G" else ""
