"""Reading one picture or one annotation: exact ids, and a line that names the file when it is not what it should be.

Annotations are PNG files that hold one number per pixel. Four ways of storing that are in use, and OpenCV reads only
one of them right:

- 8-bit grey: the value is the id.
- palette (VOC as published): the index is the id. `cv2.imread` gives the palette's colours, or their grey instead.
- 1, 2 or 4 bit grey: the value is the id, but OpenCV and Pillow both stretch it to 0..255. Divided out again here.
- RGB with three equal channels: what painting programs and `cv2.imwrite` of a three-channel array leave. Each pixel
  still holds one number, and the public loaders (`cv2.IMREAD_GRAYSCALE`) read that number, so it is accepted. RGB with
  channels that differ holds colours; which colour means which class is not ours to guess, so it is refused.

A 16-bit class map is refused too: OpenCV would keep the high bytes, that is, zeros, and training would see background.

Data sets come from strangers: a hundred kilobytes can unfold to gigabytes or decode for minutes, so sizes and scans are
known before anything is decoded. The limits are the runtime's.
"""

from __future__ import annotations

import io
import re
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ce2p_runtime.base.text import first_line
from ce2p_runtime.media.picture_headers import MAX_JPEG_SCANS
from ce2p_runtime.media.pictures import MAX_BYTES, MAX_PIXELS
from ce2p_runtime.media.png import decode_index_png, is_index_png

from ..errors import DataError

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_END = b"IEND\xaeB`\x82"
_EXIF_ORIENTATION = 0x0112
_JPEG_MARKER = re.compile(rb"\xff([^\x00\xff])", re.DOTALL)
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF")


def read_image(path: Path) -> NDArray[np.uint8]:
    """Decode a picture to uint8 BGR [H, W, 3], as `cv2.imread` does: turned upright by its EXIF orientation.

    The published loaders of every family call `cv2.imread`, which follows EXIF since OpenCV 3.1, and so does the
    runtime; training on anything else would score differently from what users get. Unlike `cv2.imread` it takes file
    names in any language, and files cut short are an error: up to 4.x OpenCV fills the missing part of a JPEG with
    grey and says nothing. Raises DataError.
    """
    data = _bytes(path, "a picture")
    _check_pixels(path, data)
    if data.startswith(b"\xff\xd8") and _scans(data) > MAX_JPEG_SCANS:
        raise DataError(f"{path}: is a JPEG of more than {MAX_JPEG_SCANS} scans, expected about 10; save it again")
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        picture = None
    if picture is None:
        raise DataError(f"{path}: cannot be decoded, expected a JPEG or PNG picture; replace it")
    return np.asarray(picture, np.uint8)


def read_labels(path: Path) -> NDArray[np.uint8]:
    """Read an annotation PNG (grey, palette, or RGB with equal channels) to uint8 class ids [H, W]; 255 is "ignore".

    Whether the ids are classes of the data set is not looked at here. Raises DataError.
    """
    ids = _read_png(path)
    if ids.dtype != np.uint8:
        raise DataError(f"{path}: is a 16-bit PNG, expected 8 bits per pixel for class ids; save it as 8-bit grey")
    return ids.astype(np.uint8, copy=False)


def read_ids(path: Path) -> NDArray[np.int32]:
    """Read a map of person or part-instance ids (8 or 16 bit PNG) to int32 [H, W]; 0 is "none". Raises DataError."""
    return _read_png(path).astype(np.int32)


def exif_orientation(path: Path) -> int:
    """The EXIF orientation of a picture, 1 to 8; 1 (upright) where there is none, or none that can be read."""
    try:
        with Image.open(path) as picture:
            orientation = picture.getexif().get(_EXIF_ORIENTATION, 1)
    except Exception:  # Pillow raises whatever a damaged header made of it; `read_image` is what reports damage
        return 1
    return orientation if orientation in range(1, 9) else 1


def _read_png(path: Path) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """One number per pixel, [H, W], uint8 or uint16."""
    data = _bytes(path, "a PNG annotation")
    if not data.startswith(_PNG):
        kind = "is a JPEG, whose compression changes ids" if data.startswith(b"\xff\xd8") else "is no PNG"
        raise DataError(f"{path}: {kind}; expected a grey or palette PNG with one id per pixel; export it again as PNG")
    _check_pixels(path, data)
    try:
        if is_index_png(data):
            return decode_index_png(data)
        mode, values = _pixels(data)
    except ValueError as error:
        raise DataError(f"{path}: is damaged ({error}); copy or download it again") from error
    depth = data[24]
    if mode == "RGB" and depth == 8 and (values == values[..., :1]).all():
        return np.ascontiguousarray(values[..., 0])
    found = "colours" if mode == "RGB" and depth == 8 else f"pixels of kind {mode} with {depth} bits"
    raise DataError(
        f"{path}: holds {found}, expected one id per pixel (grey or palette PNG); convert colours to class ids first"
    )


def _pixels(data: bytes) -> tuple[str, NDArray[np.uint8]]:
    """What Pillow makes of a PNG: its mode and its pixels. Raises ValueError."""
    try:
        with Image.open(io.BytesIO(data)) as picture:
            return picture.mode, np.asarray(picture)
    except Exception as error:  # Pillow raises whatever the damaged part made of it
        raise ValueError(first_line(error)) from error


def _bytes(path: Path, expected: str) -> bytes:
    """All bytes of a file that is there, is not empty and, if JPEG or PNG, has its end."""
    try:
        # A pipe would wait for ever, and some devices never end.
        if path.exists() and not path.is_file() and not path.is_dir():
            raise DataError(f"{path}: is a device or pipe, expected {expected} in a regular file")
        with path.open("rb") as file:
            data = file.read(min(path.stat().st_size, MAX_BYTES) + 1)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file, expected {expected}") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}), expected {expected}") from error
    if len(data) > MAX_BYTES:
        raise DataError(f"{path}: has more than {MAX_BYTES >> 20} MiB, expected {expected}; make it smaller")
    if not data:
        raise DataError(f"{path}: is empty, expected {expected}; copy or download it again")
    if _cut_short(data):
        raise DataError(f"{path}: is cut short (its end is missing); copy or download it again")
    return data


def _check_pixels(path: Path, data: bytes) -> None:
    """Raise DataError for a picture of too many pixels, or of a format that no data set has; decodes nothing."""
    if data.startswith(_PNG):
        width, height = (int.from_bytes(data[at : at + 4], "big") for at in (16, 20))
    else:
        try:
            with Image.open(io.BytesIO(data), formats=_FORMATS) as picture:  # reads its header only
                width, height = picture.size
        except Image.DecompressionBombError as error:
            raise DataError(f"{path}: has too many pixels ({first_line(error)}); make it smaller") from error
        except Exception as error:  # Pillow raises whatever the damaged part made of it
            raise DataError(f"{path}: cannot be decoded, expected a JPEG or PNG picture; replace it") from error
    if width * height > MAX_PIXELS:
        raise DataError(f"{path}: has {width}x{height} pixels, expected at most {MAX_PIXELS:,}; make it smaller")


def _scans(data: bytes) -> int:
    """Scans of a JPEG. Segments are stepped over: a thumbnail inside one has scans of its own."""
    scans, position = 0, 2
    while (found := _JPEG_MARKER.search(data, position)) is not None:
        marker, position = found[1][0], found.end()
        if marker == 0xD9:
            break
        scans += marker == 0xDA
        if marker != 0x01 and not 0xD0 <= marker <= 0xD8:  # those stand alone
            position += int.from_bytes(data[position : position + 2], "big")
    return scans


def _cut_short(data: bytes) -> bool:
    """Whether a JPEG or PNG lacks its end marker.

    In a JPEG the marker counts only after the start of the last scan: a thumbnail inside the header has an end too.
    Inside scans 0xFF is followed by 0x00, so neither marker can appear there by chance.
    """
    if data.startswith(b"\xff\xd8"):
        return data.rfind(b"\xff\xd9") < max(data.rfind(b"\xff\xda"), 2)
    return data.startswith(_PNG) and _PNG_END not in data
