"""Small data sets made by hand, every path spelled out: independent of the code that finds them."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIZE = (12, 10)
"""Height and width of every picture."""

TREES = {
    "lip": "{split}_images {split}_segmentations {split}_id.txt",
    "custom": "{split}_images {split}_segmentations {split}_id.txt",
    "ppp": "{split}_images {split}_segmentations {split}_id.txt",
    "ppp-published": "JPEGImages pascal_person_part_gt pascal_person_part_trainval_list/{split}.txt",
    "atr": "JPEGImages SegmentationClassAug {split}_id.txt",
    "voc": "JPEGImages SegmentationClass ImageSets/Segmentation/{split}.txt",
    "cihp": "{part}/Images {part}/Category_ids {part}/{split}_id.txt",
}
"""Folder of pictures, folder of annotations, id list."""
_PARTS = {"train": "Training", "val": "Validation", "test": "Testing"}


def places(layout: str, root: Path, split: str) -> tuple[Path, Path, Path]:
    """Folder of pictures, folder of annotations, id list of a split."""
    images, labels, id_list = (root / part for part in TREES[layout].format(split=split, part=_PARTS[split]).split())
    return images, labels, id_list


def picture(path: Path, size: tuple[int, int] = SIZE, seed: int = 0) -> NDArray[np.uint8]:
    """Write a picture of noise and return its pixels; a JPEG's are not exact."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    path.write_bytes(cv2.imencode(path.suffix, pixels)[1].tobytes())
    return pixels


def annotation(path: Path, ids: NDArray[np.generic], *, palette: bool = False) -> Path:
    """Write ids as a grey PNG of 8 or 16 bits, or as a palette PNG with colours that have nothing to do with them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.ascontiguousarray(ids))
    if palette:
        image = image.convert("L")
        image.putpalette([(7 * value + 90) % 256 for value in range(768)])
    image.save(path)
    return path


def stripes(*ids: int, size: tuple[int, int] = SIZE) -> NDArray[np.uint8]:
    """A map whose rows hold the ids in turn: with 12 rows and 3 ids, 40 pixels of each."""
    return np.broadcast_to(np.resize(np.array(ids, np.uint8), size[0])[:, None], size).copy()


def split(
    layout: str,
    root: Path,
    name: str,
    ids: list[str],
    *,
    labels: tuple[int, ...] = (0, 1, 2),
    palette: bool = False,
    annotated: bool = True,
) -> None:
    """A whole split without faults; each annotation is `stripes(*labels)`."""
    images, annotations, id_list = places(layout, root, name)
    id_list.parent.mkdir(parents=True, exist_ok=True)
    id_list.write_text("".join(f"{identity}\n" for identity in ids))
    for seed, identity in enumerate(ids):
        picture(images / f"{identity}.jpg", seed=seed)
        if annotated:
            annotation(annotations / f"{identity}.png", stripes(*labels), palette=palette)


def raw_png(ids: NDArray[np.uint8], depth: int, colour_type: int) -> bytes:
    """A PNG of 1, 2 or 4 bits per pixel, grey (0) or palette (3), written byte by byte as the PNG standard says."""
    height, width = ids.shape
    per_byte = 8 // depth
    padded = np.pad(ids, ((0, 0), (0, -width % per_byte)))
    shifts = np.arange(8 - depth, -1, -depth)
    packed = (padded.reshape(height, -1, per_byte).astype(int) << shifts).sum(-1).astype(np.uint8)
    rows = b"".join(b"\0" + row.tobytes() for row in packed)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    palette = chunk(b"PLTE", bytes(range(200, 200 + 3 * 2**depth))) if colour_type == 3 else b""
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + palette
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )
