"""Read PNG files whose pixels are numbers (person ids, part ids, classes), gray or with a palette.

OpenCV turns palette pictures into colours, which loses the numbers. The samples of a palette PNG are stored exactly as
those of a gray one, so the file is handed to OpenCV with its header changed to gray and its palette left out.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import MediaError
from ..files import existing_file
from ..media.picture_headers import missing_part
from ..media.pictures import MAX_PIXELS

__all__ = ["read_index_png"]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GRAY, _PALETTE = 0, 3
_MOST_BYTES = 256 * 2**20
"""16-bit ids of the largest picture that is read have 100 MB before they are compressed."""
_KINDS = {2: "RGB", 4: "gray with transparency", 6: "RGB with transparency"}


def read_index_png(path: str | Path) -> NDArray[Any]:
    """The numbers of a PNG: uint8 [H, W], or uint16 [H, W] for 16-bit files. Raises MediaError naming the file."""
    file = existing_file(path, "a PNG of ids")
    if file.stat().st_size > _MOST_BYTES:
        raise MediaError(f"{file}: has more than {_MOST_BYTES >> 20} MiB, expected a PNG of ids; make it smaller first")
    try:
        data = file.read_bytes()
    except OSError as error:
        raise MediaError(f"{file}: cannot be read ({error.strerror}), expected a PNG of ids") from error
    if not data.startswith(_SIGNATURE) or data[12:16] != b"IHDR" or len(data) < 33:
        raise MediaError(f"{file}: is no PNG, expected one whose pixels are ids (other formats alter them)")
    fault = missing_part(data)
    if fault is not None:
        raise MediaError(f"{file}: is cut short or damaged ({fault}); copy or make it again")
    width, height, depth, kind = struct.unpack(">IIBB", data[16:26])
    if kind not in (_GRAY, _PALETTE):
        raise MediaError(
            f"{file}: its pixels are {_KINDS.get(kind, 'colours')}, expected ids in gray or with a palette"
        )
    if not 0 < width * height <= MAX_PIXELS:
        raise MediaError(f"{file}: has {width}x{height} pixels, expected 1 to {MAX_PIXELS}")
    try:
        values = cv2.imdecode(np.frombuffer(_as_gray(data), np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        values = None
    if values is None or values.shape != (height, width):
        raise MediaError(f"{file}: cannot be decoded, so it is damaged; copy or make it again")
    if depth < 8:  # the decoder stretches 1, 2 and 4 bits to the range of 8
        values = values // np.uint8(255 // ((1 << depth) - 1))
    return np.asarray(values)


def _as_gray(data: bytes) -> bytes:
    """The same samples in a gray PNG without palette, transparency or gamma."""
    parts = [_SIGNATURE]
    for name, body in _chunks(data):
        if name == b"IHDR":
            parts.append(_chunk(name, body[:9] + bytes([_GRAY]) + body[10:]))
        elif name in (b"IDAT", b"IEND"):
            parts.append(_chunk(name, body))
    return b"".join(parts)


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    position = len(_SIGNATURE)
    while position + 12 <= len(data):
        (length,) = struct.unpack(">I", data[position : position + 4])
        yield data[position + 4 : position + 8], data[position + 8 : position + 8 + length]
        position += 12 + length


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
