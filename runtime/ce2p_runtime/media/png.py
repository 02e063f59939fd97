"""PNG files of 8-bit numbers, gray or with a palette: the format of label maps, which OpenCV cannot write."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import MediaError
from ..files import atomic_path
from .own_mark import marked

__all__ = ["encode_png", "read_labels", "write_png"]

_GRAY, _PALETTE = 0, 3


def encode_png(values: NDArray[np.uint8], palette: Sequence[tuple[int, int, int]] | None = None) -> bytes:
    """PNG bytes of `values`, uint8 [H, W]: indices into `palette` (RGB, up to 256), or gray without one.

    The palette is padded with black up to the largest index, since decoders refuse indices past its end.
    Raises ValueError for another dtype or shape, and for more than 256 colours.
    """
    if values.dtype != np.uint8 or values.ndim != 2 or values.size == 0:
        raise ValueError(f"a PNG of labels needs uint8 [H, W], got {values.dtype} {list(values.shape)}")
    height, width = values.shape
    header = struct.pack(">IIBBBBB", width, height, 8, _GRAY if palette is None else _PALETTE, 0, 0, 0)
    chunks = [_chunk(b"IHDR", header)]
    if palette is not None:
        if len(palette) > 256:
            raise ValueError(f"a PNG palette holds at most 256 colours, got {len(palette)}")
        colours = bytes(np.asarray(palette, np.uint8).reshape(-1, 3))
        chunks.append(_chunk(b"PLTE", colours.ljust(3 * (int(values.max()) + 1), b"\0")))
    # Filter 0 for every row: differences of class numbers mean nothing, equal neighbours compress as they
    # are.
    rows = np.zeros((height, width + 1), np.uint8)
    rows[:, 1:] = values
    chunks += [_chunk(b"IDAT", zlib.compress(rows.tobytes(), 6)), _chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def write_png(
    path: str | Path, values: NDArray[np.uint8], palette: Sequence[tuple[int, int, int]] | None = None
) -> Path:
    """Write `encode_png(values, palette)` to `path` atomically and return the path."""
    data = encode_png(values, palette)
    with atomic_path(path) as temporary:
        temporary.write_bytes(marked(data))
    return Path(path)


def read_labels(path: str | Path) -> NDArray[np.uint8]:
    """The class ids of a label PNG with a palette or in grey, uint8 [H, W]. Raises MediaError.

    `cv2.imread` gives the colours of the palette instead.
    """
    from ..people.index_png import read_index_png  # the package people is made of results, which write with this module

    values = read_index_png(path)
    if values.dtype != np.uint8:
        raise MediaError(f"{path}: has 16 bits for each pixel, expected class ids of 8; is it a map of people?")
    return values


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
