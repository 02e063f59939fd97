"""The mark in every PNG and JPEG that this package writes, by which its own results are told from users' pictures."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

_TEXT = b"ce2p"
_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8"
_IHDR_END = 33
"""Bytes of a PNG up to the end of its header, which is always the first chunk."""
_CHUNK = b"Software\0" + _TEXT
_PNG_MARK = struct.pack(">I", len(_CHUNK)) + b"tEXt" + _CHUNK + struct.pack(">I", zlib.crc32(b"tEXt" + _CHUNK))
_JPEG_MARK = b"\xff\xfe" + struct.pack(">H", len(_TEXT) + 2) + _TEXT


def marked(data: bytes) -> bytes:
    """A PNG (a text chunk) or JPEG (a comment) with the mark; bytes of any other format as they are."""
    if data.startswith(_PNG):
        return data[:_IHDR_END] + _PNG_MARK + data[_IHDR_END:]
    if data.startswith(_JPEG):
        place = _after_jfif(data)
        return data[:place] + _JPEG_MARK + data[place:]
    return data


def bears_mark(path: str | Path) -> bool:
    """Whether a file is a picture with the mark where `marked` puts it. Raises OSError."""
    with Path(path).open("rb") as file:
        head = file.read(_IHDR_END + len(_PNG_MARK))
    if head.startswith(_JPEG):
        return head.startswith(_JPEG_MARK, _after_jfif(head))
    return head.startswith(_PNG) and head.startswith(_PNG_MARK, _IHDR_END)


def _after_jfif(data: bytes) -> int:
    """Where a JPEG's first segment may be put: the JFIF header, if there is one, must come before it."""
    if data[2:4] != b"\xff\xe0":
        return 2
    return 4 + int.from_bytes(data[4:6], "big")
