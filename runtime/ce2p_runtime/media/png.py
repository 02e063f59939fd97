"""PNG files whose pixels are numbers (classes, parts, people), gray or with a palette.

OpenCV turns palette pictures into colours, which loses the numbers, and writes none; Pillow does both. Gray ones are
written by OpenCV, which can be told to leave the rows unfiltered.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..base.files import atomic_path, existing_file
from ..base.text import first_line
from ..errors import MediaError
from .own_mark import marked
from .picture_headers import missing_part, picture_size
from .pictures import MAX_PIXELS

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_DEPTH, _KIND = 24, 25
"""Where a PNG's header says how many bits a sample has, and what the samples are."""
_GRAY, _PALETTE = 0, 3
_OTHER_KINDS = {2: "RGB", 4: "gray with transparency", 6: "RGB with transparency"}
_MOST_BYTES = 256 * 2**20
"""16-bit ids of the largest picture that is read have 100 MB before they are compressed."""
_COMPRESSION = 6
_AS_THEY_ARE = [cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_NONE, cv2.IMWRITE_PNG_COMPRESSION, _COMPRESSION]
"""Differences of class numbers mean nothing; equal neighbours compress as they are. Pillow cannot be told to leave
gray rows unfiltered, which takes up to twice as long."""


def encode_png(values: NDArray[np.uint8], palette: Sequence[tuple[int, int, int]] | None = None) -> bytes:
    """PNG bytes of `values`, uint8 [H, W]: indices into `palette` (RGB, up to 256), or gray without one.

    The palette is padded with black up to the largest index, since decoders refuse indices past its end.
    Raises ValueError for another dtype or shape, and for more than 256 colours.
    """
    if values.dtype != np.uint8 or values.ndim != 2 or values.size == 0:
        raise ValueError(f"a PNG of labels needs uint8 [H, W], got {values.dtype} {list(values.shape)}")
    if palette is None:
        done, data = cv2.imencode(".png", values, _AS_THEY_ARE)
        if not done:
            raise ValueError(f"a gray PNG of {list(values.shape)} cannot be encoded")
        return bytes(data)
    if len(palette) > 256:
        raise ValueError(f"a PNG palette holds at most 256 colours, got {len(palette)}")
    from PIL import Image  # not before somebody wants a palette: labels in memory do without

    colours = bytes(np.asarray(palette, np.uint8).reshape(-1, 3))
    picture = Image.fromarray(values)
    picture.putpalette(colours.ljust(3 * (int(values.max()) + 1), b"\0"))
    written = io.BytesIO()
    picture.save(written, "PNG", bits=8, compress_level=_COMPRESSION)
    return written.getvalue()


def write_png(
    path: str | Path, values: NDArray[np.uint8], palette: Sequence[tuple[int, int, int]] | None = None
) -> Path:
    """Write `encode_png(values, palette)` to `path`, whole or not at all, and return the path. Raises MediaError."""
    data = encode_png(values, palette)
    with atomic_path(path, durable=False) as temporary:
        temporary.write_bytes(marked(data))
    return Path(path)


def is_index_png(data: bytes) -> bool:
    """Whether these are the bytes of a PNG whose pixels are numbers, gray or with a palette."""
    return data.startswith(_SIGNATURE) and data[_KIND : _KIND + 1] in (bytes([_GRAY]), bytes([_PALETTE]))


def decode_index_png(data: bytes) -> NDArray[Any]:
    """The numbers in the bytes of such a PNG: uint8 [H, W], or uint16 [H, W] for 16 bits.

    Its size is not looked at: `picture_size` tells it beforehand. Raises ValueError where it cannot be decoded.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
            values = np.array(picture)  # np.asarray would be read-only
    except Exception as error:  # Pillow raises whatever the damaged part made of it
        raise ValueError(first_line(error)) from error
    depth = data[_DEPTH]
    if depth > 8:
        return values.astype(np.uint16, copy=False)
    values = values.astype(np.uint8, copy=False)
    if data[_KIND] == _GRAY and 1 < depth < 8:  # Pillow stretches 2 and 4 bits to the range of 8
        return values // np.uint8(255 // ((1 << depth) - 1))
    return values


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
    if not is_index_png(data):
        found = _OTHER_KINDS.get(data[_KIND], "colours")
        raise MediaError(f"{file}: its pixels are {found}, expected ids in gray or with a palette")
    height, width = picture_size(data) or (0, 0)
    if not 0 < width * height <= MAX_PIXELS:
        raise MediaError(f"{file}: has {width}x{height} pixels, expected 1 to {MAX_PIXELS}")
    try:
        values = decode_index_png(data)
    except ValueError as error:
        raise MediaError(f"{file}: cannot be decoded ({error}), so it is damaged; copy or make it again") from error
    if values.shape != (height, width):
        raise MediaError(f"{file}: has {values.shape} pixels where its header says {(height, width)}; make it again")
    return values


def read_labels(path: str | Path) -> NDArray[np.uint8]:
    """The class ids of a label PNG with a palette or in grey, uint8 [H, W]. Raises MediaError.

    `cv2.imread` gives the colours of the palette instead.
    """
    values = read_index_png(path)
    if values.dtype != np.uint8:
        raise MediaError(f"{path}: has 16 bits for each pixel, expected class ids of 8; is it a map of people?")
    return values
