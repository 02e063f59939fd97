"""What a file is, from its first bytes: names lie, downloads turn into HTML pages, LFS leaves pointers."""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

HEAD = 4096
"""Bytes that are enough to tell."""

Kind = Literal["picture", "video", "text", "other"]


@dataclass(frozen=True)
class Sniffed:
    """`kind` for decisions, `name` for messages ("a JPEG picture", "an HTML page, ...")."""

    kind: Kind
    name: str


_PREFIXES: tuple[tuple[bytes, Kind, str], ...] = (
    (b"\x89PNG\r\n\x1a\n", "picture", "a PNG picture"),
    (b"\xff\xd8\xff", "picture", "a JPEG picture"),
    (b"GIF8", "picture", "a GIF picture"),
    (b"II*\0", "picture", "a TIFF picture"),
    (b"MM\0*", "picture", "a TIFF picture"),
    (b"II+\0", "other", "a BigTIFF picture"),
    (b"MM\0+", "other", "a BigTIFF picture"),
    (b"8BPS", "other", "a Photoshop file"),
    (b"\xff\x0a", "other", "a JPEG XL picture"),
    (b"\0\0\0\x0cJXL ", "other", "a JPEG XL picture"),
    (b"\0\0\0\x0cjP  ", "other", "a JPEG 2000 picture"),
    (b"\x1a\x45\xdf\xa3", "video", "a Matroska/WebM video"),
    (b"FLV\x01", "video", "a Flash video"),
    (b"\0\0\x01\xba", "video", "an MPEG video"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "video", "a Windows Media video"),
    (b"OggS", "video", "an Ogg file"),
    (b"YUV4MPEG2 ", "video", "a Y4M video"),
    (b"DKIF", "video", "an IVF video"),
    (b"version https://git-lfs", "text", "a Git-LFS pointer (run `git lfs pull` to get the real file)"),
    (b"ffconcat", "text", "an ffconcat playlist"),
    (b"#EXTM3U", "text", "an M3U playlist"),
    (b"%PDF", "other", "a PDF document"),
    (b"PK\x03\x04", "other", "a ZIP archive"),
    (b"\x1f\x8b", "other", "a gzip archive"),
    (b"ID3", "other", "an MP3 sound file"),
)
_HEIF_BRANDS = (b"heic", b"heix", b"heif", b"hevc", b"mif1", b"msf1", b"miaf")
_RIFF: dict[bytes, tuple[Kind, str]] = {
    b"WEBP": ("picture", "a WebP picture"),
    b"AVI ": ("video", "an AVI video"),
    b"WAVE": ("other", "a WAV sound file"),
}


def sniff(head: bytes) -> Sniffed:
    """Tell what a file is from its first `HEAD` bytes. Never fails."""
    for prefix, kind, name in _PREFIXES:
        if head.startswith(prefix):
            return Sniffed(kind, name)
    if head[:4] == b"RIFF" and head[8:12] in _RIFF:
        return Sniffed(*_RIFF[head[8:12]])
    # "BM" alone is two letters of text; the reserved zeros after the file size settle it.
    if head[:2] == b"BM" and head[6:10] == bytes(4):
        return Sniffed("picture", "a BMP picture")
    if head[4:8] == b"ftyp":
        return _sniff_boxes(head)
    if head[4:8] in (b"moov", b"mdat", b"wide", b"skip", b"free"):
        return Sniffed("video", "a QuickTime video")
    if head[:1] == b"G" and head[188:189] == b"G" and head[376:377] == b"G":
        return Sniffed("video", "an MPEG transport stream")
    return _sniff_text(head) or Sniffed("other", f"unknown data (starts with {head[:8].hex(' ')})")


def sniff_file(path: Path) -> Sniffed:
    """`sniff` on the start of a file. Raises OSError."""
    with path.open("rb") as file:
        return sniff(file.read(HEAD))


def _sniff_boxes(head: bytes) -> Sniffed:
    """Of the brands, the first says what a file is, the others what it may be read as."""
    brands = [head[place : place + 4] for place in range(8, min(int.from_bytes(head[:4], "big"), len(head)), 4)]
    brands = brands or [b""]
    if brands[0] == b"avis":
        return Sniffed("other", "an AVIF animation")
    if brands[0] == b"avif" or (brands[0] in _HEIF_BRANDS and b"avif" in brands[2:]):
        return Sniffed("picture", "an AVIF picture")
    return Sniffed("other", "a HEIC picture") if brands[0] in _HEIF_BRANDS else Sniffed("video", "an MP4 video")


def _sniff_text(head: bytes) -> Sniffed | None:
    try:
        # Incremental, because the head may end inside a character.
        text = codecs.getincrementaldecoder("utf-8-sig")().decode(head)
    except UnicodeDecodeError:
        return None
    if any(ord(letter) < 32 and letter not in "\t\n\r\f\x1b" for letter in text):
        return None
    start = text.lstrip()[:200].lower()
    if start.startswith(("<!doctype html", "<html", "<head")):
        return Sniffed("text", "an HTML page (a download link that wants a login or a click gives these)")
    if "<svg" in start:
        return Sniffed("other", "an SVG drawing")
    return Sniffed("text", "a text file")
