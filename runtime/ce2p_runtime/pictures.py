"""Pictures from files, folders and patterns, checked before they are decoded."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from .errors import MediaError
from .files import atomic_path, existing_file
from .listing import PICTURE_FORMATS, PICTURE_SUFFIXES, VIDEO_SUFFIXES, find_pictures, source_kind
from .own_mark import marked
from .picture_headers import missing_part, picture_size
from .sniff import HEAD, sniff

__all__ = [
    "MAX_PIXELS",
    "PICTURE_SUFFIXES",
    "VIDEO_SUFFIXES",
    "find_pictures",
    "read_picture",
    "source_kind",
    "write_picture",
]

MAX_PIXELS = 50_000_000
"""Larger pictures are refused by `read_picture`: a few hundred kilobytes can unfold to gigabytes."""

_MAX_BYTES = 512 * 2**20


def read_picture(path: str | Path) -> NDArray[np.uint8]:
    """Decode a picture to uint8 BGR [H, W, 3], turned upright by its EXIF orientation like `cv2.imread`.

    Gray, 16-bit and CMYK pictures become 8-bit BGR; transparency is dropped; of animations the first frame is
    read. Raises MediaError for anything that is not a whole picture of at most `MAX_PIXELS` pixels: missing,
    empty, a folder, another kind of file (named), cut short, damaged.
    """
    file = existing_file(path, "a picture")
    data = _read_bytes(file)
    size = picture_size(data)
    if size is None or 0 in size:
        raise MediaError(f"{file}: is damaged (its header gives no picture size); copy or download it again")
    if size[0] * size[1] > MAX_PIXELS:
        megapixels = f"{size[1]}x{size[0]} pixels ({size[0] * size[1] / 1e6:.0f} megapixels)"
        raise MediaError(f"{file}: has {megapixels}, expected at most {MAX_PIXELS / 1e6:.0f}; make it smaller first")
    fault = missing_part(data)
    if fault is not None:
        raise MediaError(f"{file}: is cut short or damaged ({fault}); copy or download it again")
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        picture = None
    if picture is None:
        kind = sniff(data[:HEAD]).name
        raise MediaError(f"{file}: looks like {kind} but cannot be decoded, so it is damaged; copy or convert it again")
    return np.asarray(picture, np.uint8)


def write_picture(path: str | Path, picture: NDArray[np.uint8]) -> Path:
    """Write uint8 BGR [H, W, 3] in the format of the suffix (.jpg, .png), atomically. Raises MediaError."""
    suffix = Path(path).suffix
    try:
        done, data = cv2.imencode(suffix, picture)
    except cv2.error:
        done = False
    if not done:
        raise MediaError(f"{path}: no picture format for the suffix {suffix!r}; use .jpg, .png or .webp")
    with atomic_path(path) as temporary:
        temporary.write_bytes(marked(data.tobytes()))
    return Path(path)


def _read_bytes(file: Path) -> bytes:
    """All bytes of a file that starts like a picture and is not absurdly long."""
    try:
        with file.open("rb") as stream:
            head = stream.read(HEAD)
            found = sniff(head)
            if found.kind != "picture":
                cure = "use it as a video" if found.kind == "video" else "replace or convert it"
                raise MediaError(f"{file}: is {found.name}, expected a picture ({PICTURE_FORMATS}); {cure}")
            rest = stream.read(_MAX_BYTES)
    except OSError as error:
        raise MediaError(
            f"{file}: cannot be read ({error.strerror}), expected a picture; check its permissions"
        ) from error
    if len(rest) == _MAX_BYTES:
        raise MediaError(f"{file}: is longer than {_MAX_BYTES >> 20} MiB, expected a picture; make it smaller first")
    return head + rest
