"""Open media files safely, and ask what they announce.

Safely: FFmpeg opens URLs, device names and playlists that name further files as willingly as a video; here
only the one local file that was named is ever opened.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..base.files import existing_file
from ..errors import MediaError
from .pyav import load_av, open_arguments
from .sniff import sniff_file
from .structure import read_structure
from .structure.riff import count_indexed

__all__ = ["PLAIN_FORMATS", "announced_frames", "load_av", "open_media"]

# What FFmpeg may take a file for. Playlists (hls, concat, dash), which name further files and addresses,
# pictures, subtitles and text art are not among them.
PLAIN_FORMATS = (
    "mov,matroska,avi,mpegts,mpeg,flv,ogg,asf,mxf,nut,ivf,h264,hevc,mpegvideo,m4v,mjpeg,obu,dv,rm,yuv4mpegpipe"
)

_LARGE_AVI = 1 << 30
"""Above this size AVI files are of several parts, and not all writers count the frames of all parts."""


def open_media(path: str | Path) -> Any:
    """Open a local audio or video file, and nothing else, with PyAV. Raises MediaError."""
    file = existing_file(path, "a video")
    av = load_av()
    try:
        found = sniff_file(file)
        if found.kind in ("picture", "text"):
            raise MediaError(f"{file}: is {found.name}, expected a video; check the path or fetch the file again")
        # Without the prefix, "concat:a|b" or "subfile,..." would be taken for protocols.
        options = {"protocol_whitelist": "file", "format_whitelist": PLAIN_FORMATS}
        return av.open(f"file:{file}", options=options, **open_arguments(av))
    except (av.error.FFmpegError, OSError) as error:
        cut = read_structure(file).problem if isinstance(error, av.error.FFmpegError) else error.strerror
        fault = f"cannot be opened ({cut})" if cut else f"is {found.name} that cannot be opened as a video"
        raise MediaError(f"{file}: {fault}, expected a whole video file; copy or convert it again") from error


def announced_frames(path: Path, container: Any, stream: Any) -> int | None:
    """How many packets of an opened video the container announces, where its announcement can be trusted."""
    # FFmpeg's own figure counts what a broken recorder never filled in (AVI: 1073741824), repeats that are no
    # pictures, the first fragment only, or ticks of a clock (IVF).
    name, frames = container.format.name, stream.frames or None
    if "mp4" in name:
        structure = read_structure(path, name)
        if structure.problem is None:
            return structure.packets.get(stream.index)
        return None if structure.fragmented else frames
    if name == "avi":
        length = path.stat().st_size
        with path.open("rb") as file:
            indexed = count_indexed(file, length)
        if indexed is not None:
            return indexed.get(stream.index)
        return frames if frames is not None and 8 * frames < length < _LARGE_AVI else None
    return None
