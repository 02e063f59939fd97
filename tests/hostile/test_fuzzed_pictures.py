"""Damaged picture files of every format: each is read or refused, none crashes, hangs or fills the memory."""

from __future__ import annotations

import struct
import zlib
from collections import Counter
from collections.abc import Iterator

import cv2
import numpy as np
import pytest

from ce2p_runtime.media.pictures import decode_picture
from tests.hostile.isolated import Outcome, run_isolated
from tests.hostile.mutations import mutations
from tests.hostile.picture_files import many_scans, picture_files, tiff

GIB = 2**30

NOTICED = {"PNG": 0.95, "TIFF, deflate": 0.95, "TIFF, JPEG": 0.7, "TIFF, LZW": 0.7}
NOTICED |= dict.fromkeys([name for name in picture_files() if "JPEG" in name and "TIFF" not in name], 0.7)
"""Least share of the damage that must be refused; other formats carry nothing that would tell."""


def _decode(case: tuple[str, bytes]) -> tuple[tuple[int, ...], str]:
    """Shape and dtype of what is read."""
    image = decode_picture(case[1], case[0]).image
    return image.shape, str(image.dtype)


def _check(outcomes: list[Outcome]) -> None:
    """Raises AssertionError with the names of those that ended in another way than they may."""
    bad = [
        (outcome.case[0], outcome.kind, outcome.value)
        for outcome in outcomes
        if outcome.kind not in ("returned", "refused")
    ]
    assert not bad, bad[:3]
    for outcome in outcomes:
        if outcome.kind == "refused":
            assert str(outcome.value).startswith(outcome.case[0])
            assert "\n" not in outcome.value
        else:
            shape, dtype = outcome.value
            assert shape[2:] == (3,)
            assert dtype == "uint8"
    assert max(outcome.peak for outcome in outcomes) < GIB


@pytest.mark.parametrize("name", picture_files())
def test_damaged_pictures_are_read_or_refused(name: str, fuzz_seed: int, fuzz_count: int) -> None:
    whole = picture_files()[name]
    outcomes = run_isolated(_decode, [(name, whole), *mutations(whole, fuzz_seed, fuzz_count)])
    assert outcomes[0].kind == "returned", outcomes[0].value
    _check(outcomes)
    damaged = [outcome for outcome in outcomes if outcome.case[1] != whole]
    kinds = Counter(outcome.kind for outcome in damaged)
    assert kinds["refused"] >= NOTICED.get(name, 0.1) * len(damaged), kinds


_HUNDRED = struct.pack(">II", 100, 100)


def _bombs() -> Iterator[tuple[str, bytes]]:
    yield "2000 scans of 7000 x 7000", many_scans(7000, 2000)
    usual = ((258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, 30000), (279, 100))
    yield "TIFF of two widths", tiff((256, 30000), (256, 10), (257, 30000), (257, 10), *usual)
    yield "TIFF of unsorted widths", tiff((257, 10), (256, 10), (257, 30000), (256, 30000), *usual)
    yield "TIFF of one huge tile", tiff((256, 10), (257, 10), *usual, (322, 60000), (323, 60000))
    if cv2.haveImageWriter(".avif"):
        large = cv2.imencode(".avif", np.full((5000, 6000, 3), 90, np.uint8), (cv2.IMWRITE_AVIF_SPEED, 10))[1].tobytes()
        yield "AVIF of 30 megapixels that says 100 x 100", large.replace(struct.pack(">II", 6000, 5000), _HUNDRED, 1)
    yield "PNG of 14000 x 14000", _png(14000, 14000, zlib.compress(bytes(64)))
    yield "PNG of 50 megapixels", _png(7071, 7071, zlib.compress(bytes(7071 * 7072), 9))
    yield "JPEG of 50 megapixels", _flat(".jpg")
    yield "progressive JPEG of 50 megapixels", _flat(".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    yield "JPEG of nothing but fill bytes", b"\xff\xd8\xff\xe0" + b"\xff" * 5_000_000
    yield "GIF of a million blocks", b"GIF89a" + struct.pack("<HH", 10, 10) + b"\0\0\0" + b"\x21\xfe\0" * 1_000_000


def _png(width: int, height: int, pixels: bytes) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def _flat(suffix: str, *options: int) -> bytes:
    return bytes(cv2.imencode(suffix, np.full((7071, 7071, 3), 90, np.uint8), options)[1].tobytes())


def test_files_that_ask_for_more_than_they_hold_cost_little() -> None:
    outcomes = run_isolated(_decode, _bombs(), timeout=90, memory=4 * GIB)
    _check(outcomes)
    read = [outcome.case[0] for outcome in outcomes if outcome.kind == "returned"]
    assert read == ["PNG of 50 megapixels", "JPEG of 50 megapixels", "progressive JPEG of 50 megapixels"]
