"""Pictures from files, folders and patterns, checked before they are decoded."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ..base.files import atomic_path, existing_file
from ..errors import MediaError
from .listing import PICTURE_FORMATS, PICTURE_SUFFIXES, VIDEO_SUFFIXES, find_pictures, source_kind
from .own_mark import marked
from .picture_decoding import decode_pixels
from .picture_headers import missing_part, picture_size
from .picture_traits import picture_traits, turned
from .sniff import HEAD, sniff

__all__ = [
    "MAX_BYTES",
    "MAX_PIXELS",
    "PICTURE_SUFFIXES",
    "VIDEO_SUFFIXES",
    "WHITE",
    "Picture",
    "decode_picture",
    "find_pictures",
    "load_picture",
    "read_picture",
    "source_kind",
    "write_picture",
]

MAX_PIXELS = 50_000_000
"""Larger pictures are refused unless asked for: a few hundred kilobytes can unfold to gigabytes."""

WHITE = (255, 255, 255)

MAX_BYTES = 512 * 2**20
"""Longest picture file that is read."""

_AT_ONCE = 2**16
"""Pixels that are laid over a colour at a time, in four times their memory."""

_ROOM = 8
"""Bytes for each pixel that must be free: what is decoded, and as much again on the way."""


@dataclass(frozen=True, eq=False)
class Picture:
    """A decoded picture, and what there is to say about it."""

    image: NDArray[np.uint8]
    """uint8 BGR [H, W, 3], upright."""
    notes: tuple[str, ...] = ()
    """What was decided on the way, a line each: the first of several pictures read, transparency laid over a colour."""

    @classmethod
    def over(cls, bgra: NDArray[np.uint8], background: tuple[int, int, int], premultiplied: bool = False) -> Picture:
        """BGRA [H, W, 4] before a plain colour (RGB), with a note unless all of it is opaque."""
        if bgra[:, :, 3].min() == 255:
            return cls(np.ascontiguousarray(bgra[:, :, :3]))
        note = f"what is transparent is laid over RGB {', '.join(map(str, background))}"
        return cls(_lay_over(bgra, background, premultiplied), (note,))


def read_picture(
    path: str | Path, *, max_pixels: int = MAX_PIXELS, background: tuple[int, int, int] = WHITE
) -> NDArray[np.uint8]:
    """Decode a picture to uint8 BGR [H, W, 3], turned upright by its EXIF orientation like `cv2.imread`.

    Gray, 16-bit and CMYK pictures become 8-bit BGR; what is transparent shows `background` (RGB); of animations and
    pages the first is read. `load_picture` says so where it does. Raises MediaError for anything that is not a whole
    picture of at most `max_pixels` pixels: missing, empty, a folder, another kind of file (named), cut short, damaged
    as far as that can be noticed (see picture_decoding.py).
    """
    return load_picture(path, max_pixels=max_pixels, background=background).image


def load_picture(
    path: str | Path, *, max_pixels: int = MAX_PIXELS, background: tuple[int, int, int] = WHITE
) -> Picture:
    """`read_picture` with notes, each of which begins with the file's name."""
    file = existing_file(path, "a picture")
    return decode_picture(_read_bytes(file), str(file), max_pixels=max_pixels, background=background)


def decode_picture(
    data: bytes, name: str, *, max_pixels: int = MAX_PIXELS, background: tuple[int, int, int] = WHITE
) -> Picture:
    """`load_picture` for the bytes of a file. `name` is what messages and notes call it."""
    _check_kind(data[:HEAD], name)
    size = picture_size(data)
    if size is not None and size[0] * size[1] > max_pixels:
        raise MediaError(
            f"{name}: has {size[1]}x{size[0]} pixels ({size[0] * size[1] / 1e6:.0f} megapixels), expected at most "
            f"{max_pixels / 1e6:g}; make it smaller or allow more"
        )
    fault = missing_part(data)
    if size is None or 0 in size:
        because = f": {fault}" if fault else ""
        raise MediaError(f"{name}: is damaged (its header gives no picture size{because}); copy or download it again")
    if fault is not None:
        raise MediaError(f"{name}: is cut short or damaged ({fault}); copy or download it again")
    try:
        return _decoded(data, name, size, background)
    except ValueError as error:
        raise MediaError(
            f"{name}: is damaged ({error}); copy or download it again, or save it anew if it looks right"
        ) from None
    except MemoryError:
        raise MediaError(
            f"{name}: {size[1]}x{size[0]} pixels do not fit into the memory that is free; make it smaller first"
        ) from None


def write_picture(path: str | Path, picture: NDArray[np.uint8]) -> Path:
    """Write uint8 BGR [H, W, 3] in the format of the suffix (.jpg, .png), atomically. Raises MediaError.

    PNG and WebP also take BGRA [H, W, 4].
    """
    suffix = Path(path).suffix
    try:
        done, data = cv2.imencode(suffix, picture)
    except cv2.error:
        done = False
    if not done:
        raise MediaError(f"{path}: no picture format for the suffix {suffix!r}; use .jpg, .png or .webp")
    with atomic_path(path, durable=False) as temporary:
        temporary.write_bytes(marked(data.tobytes()))
    return Path(path)


def _lay_over(
    bgra: NDArray[np.uint8], background: tuple[int, int, int], premultiplied: bool = False
) -> NDArray[np.uint8]:
    """uint8 BGR [H, W, 3] of BGRA [H, W, 4] seen before a plain colour (RGB)."""
    result = np.empty((*bgra.shape[:2], 3), np.uint8)
    rows = max(1, _AT_ONCE // bgra.shape[1])
    for start in range(0, len(bgra), rows):
        *colours, alpha = (plane.astype(np.uint16) for plane in cv2.split(bgra[start : start + rows]))
        for channel, (colour, behind) in enumerate(zip(colours, reversed(background), strict=True)):
            # At most 255 * alpha, so that 16 bits hold the sum.
            front = np.minimum(colour, alpha) * 255 if premultiplied else colour * alpha
            total = front + (255 - alpha) * np.uint16(behind) + 128
            result[start : start + rows, :, channel] = (total + (total >> 8)) >> 8  # division by 255, rounded
    return result


def _decoded(data: bytes, name: str, size: tuple[int, int], background: tuple[int, int, int]) -> Picture:
    """Raises ValueError for what is damaged, and MemoryError."""
    # OpenCV calls it damage when memory runs out. Nothing is filled here, so that this costs nothing.
    np.empty((*size, _ROOM), np.uint8)
    traits = picture_traits(data)
    pixels, notes = decode_pixels(data, traits.transparent)
    expected = size[::-1] if traits.swapped else size
    if pixels.shape[:2] != expected:
        found = f"{pixels.shape[1]}x{pixels.shape[0]}"
        raise ValueError(f"it announces {expected[1]}x{expected[0]} pixels and holds {found}")
    if traits.images > 1:
        notes.append(f"holds {traits.images} pictures (an animation or pages), of which the first is read")
    if traits.cropped:
        notes.append("asks that a part of it be shown, all of it is read")
    if pixels.shape[2] == 4:
        opaque = Picture.over(pixels, background, traits.premultiplied)
        pixels = opaque.image
        notes += opaque.notes
    return Picture(turned(pixels, traits.orientation), tuple(f"{name}: {note}" for note in notes))


def _check_kind(head: bytes, name: str) -> None:
    """Raises MediaError for what does not start like a picture that can be read."""
    found = sniff(head)
    if found.kind != "picture":
        cure = "use it as a video" if found.kind == "video" else "replace or convert it"
        raise MediaError(f"{name}: is {found.name}, expected a picture ({PICTURE_FORMATS}); {cure}")
    young = {"an AVIF picture": ".avif", "a GIF picture": ".gif"}.get(found.name)
    if young and not cv2.haveImageWriter(young):  # there is no such question about reading
        raise MediaError(
            f"{name}: is {found.name}, which OpenCV {cv2.__version__} does not know; install a newer "
            "opencv-python-headless, or convert it"
        )


def _read_bytes(file: Path) -> bytes:
    """All bytes of a file that starts like a picture and is not absurdly long."""
    try:
        with file.open("rb") as stream:
            head = stream.read(HEAD)
            _check_kind(head, str(file))
            size = os.fstat(stream.fileno()).st_size
            # No more than there is: room for a limit would be taken from the address space for every file.
            rest = stream.read(min(max(size - len(head), 0), MAX_BYTES) + 1)
    except OSError as error:
        raise MediaError(
            f"{file}: cannot be read ({error.strerror}), expected a picture; check its permissions"
        ) from error
    except MemoryError:
        raise MediaError(
            f"{file}: its {size >> 20} MiB do not fit into the memory that is free; make it smaller first"
        ) from None
    if len(rest) > MAX_BYTES:
        raise MediaError(f"{file}: is longer than {MAX_BYTES >> 20} MiB, expected a picture; make it smaller first")
    return head + rest
