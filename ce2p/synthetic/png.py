"""PNG files whose pixels are indices into a palette, as PASCAL VOC publishes its annotations. OpenCV writes none.

Source: PNG (Portable Network Graphics) Specification, W3C: chunks, colour type 3.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["palette_png"]


def palette_png(indices: NDArray[np.uint8], palette: Sequence[tuple[int, int, int]]) -> bytes:
    """Return the bytes of an 8-bit palette PNG with `indices` (H, W) and RGB colours, one per index, at most 256.

    Raises `ValueError` for an index that has no colour.
    """
    if int(indices.max(initial=0)) >= len(palette):
        raise ValueError(f"index {indices.max()} in a picture with {len(palette)} colours")
    height, width = indices.shape
    rows = np.concatenate(
        [np.zeros((height, 1), np.uint8), indices], axis=1
    )  # each row is preceded by its filter, none
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
            _chunk(b"PLTE", bytes(channel for colour in palette for channel in colour)),
            _chunk(b"IDAT", zlib.compress(rows.tobytes())),
            _chunk(b"IEND", b""),
        ]
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
