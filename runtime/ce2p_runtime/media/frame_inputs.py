"""What people give for a frame: arrays, PIL images, picture files and their bytes. Each becomes uint8 BGR [H, W, 3]."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from ..cuda.arrays import is_device_array
from ..errors import MediaError
from ..result import ParsingResult
from .pictures import MAX_BYTES, MAX_PIXELS, WHITE, Picture, decode_picture, load_picture

Order = Literal["bgr", "rgb"]

_KINDS = "an array, a PIL image, a path, or the bytes of a picture file"
_AS_ARRAY = "uint8 array: grey [H, W], colours [H, W, 3] or colours and opacity [H, W, 4]"


@dataclass(frozen=True, eq=False)
class TakenFrame:
    """A frame as the network takes it."""

    image: Any
    """uint8 BGR [H, W, 3]; an array on a GPU as it was given."""
    source: Path | None = None
    notes: tuple[str, ...] = ()

    def annotate(self, result: ParsingResult) -> ParsingResult:
        """`result` with this frame's origin written into it."""
        return dataclasses.replace(result, source=self.source, notes=self.notes)


@dataclass(frozen=True)
class FrameInputs:
    """How frames are taken. Raises ValueError for settings that mean nothing."""

    order: Order = "bgr"
    """Order of the colours in arrays. PIL images and files say it themselves."""
    background: tuple[int, int, int] = WHITE
    """RGB behind what is transparent."""
    max_pixels: int = MAX_PIXELS
    """Of picture files and PIL images; arrays are in memory already."""
    keep_frames: bool = False
    """Whether results keep their frames."""

    def __post_init__(self) -> None:
        if self.order not in get_args(Order):
            raise ValueError(f"order is {self.order!r}, expected 'bgr' (as OpenCV has it) or 'rgb'")
        if len(self.background) != 3 or not all(0 <= value <= 255 for value in self.background):
            raise ValueError(f"background is {self.background}, expected three values from 0 to 255 (RGB)")
        if self.max_pixels < 1:
            raise ValueError(f"max_pixels is {self.max_pixels}, expected at least 1")

    def take(self, value: Any) -> TakenFrame:
        """A frame of anything that people have.

        Arrays [H, W] are grey, [H, W, 3] colours in `order`, [H, W, 4] colours in `order` and opacity. PIL images are
        taken as they lie, without their EXIF orientation, so that labels fit them; files are turned upright. Arrays on
        a GPU stay there.

        Raises ValueError for anything else, and MediaError for files that are no whole picture.
        """
        if isinstance(value, np.ndarray):
            return self._take_array(value)
        if isinstance(value, str | os.PathLike):
            name = value if isinstance(value, str) else Path(value)  # a path would lose a slash of a URL
            picture = load_picture(name, max_pixels=self.max_pixels, background=self.background)
            return TakenFrame(picture.image, Path(name), picture.notes)
        if isinstance(value, bytes | bytearray | memoryview):
            return self._take_bytes(bytes(value), "picture given as bytes")
        if _is_pil_image(value):
            return self._take_pil(value)
        if is_device_array(value):
            if self.order != "bgr":
                raise ValueError(
                    "order='rgb' is for arrays in main memory, a frame on a GPU must be BGR; flip it there"
                )
            return TakenFrame(value)
        if hasattr(value, "read"):
            return self._take_bytes(_read_stream(value), str(getattr(value, "name", "picture given as a stream")))
        more = "; use parse_batch or stream for several" if isinstance(value, list | tuple) else ""
        raise ValueError(f"a frame is {type(value).__name__}, expected {_KINDS}{more}")

    def finish(self, result: ParsingResult, image: Any) -> ParsingResult:
        """`result` in the caller's order of colours, with its frame if that is to be kept; on a GPU it never is."""
        kept = None
        if self.keep_frames and isinstance(image, np.ndarray):
            kept = image if self.order == "bgr" else np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)
        return dataclasses.replace(result, order=self.order, frame=kept)

    def _take_bytes(self, data: bytes, name: str) -> TakenFrame:
        picture = decode_picture(data, name, max_pixels=self.max_pixels, background=self.background)
        return TakenFrame(picture.image, None, picture.notes)

    def _take_array(self, array: NDArray[Any]) -> TakenFrame:
        shape = array.shape
        if array.dtype != np.uint8 or len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] not in (3, 4)):
            raise ValueError(f"a frame is {array.dtype} {list(shape)}, expected a {_AS_ARRAY}{_cure(array)}")
        if 0 in shape:
            raise ValueError(f"a frame is {list(shape)}, expected at least one pixel")
        if len(shape) == 2:
            return TakenFrame(cv2.cvtColor(array, cv2.COLOR_GRAY2BGR))
        if shape[2] == 3:
            return TakenFrame(array if self.order == "bgr" else cv2.cvtColor(array, cv2.COLOR_RGB2BGR))
        bgra = array if self.order == "bgr" else np.asarray(cv2.cvtColor(array, cv2.COLOR_RGBA2BGRA), np.uint8)
        return self._laid_over(bgra, "frame")

    def _take_pil(self, image: Any) -> TakenFrame:
        width, height = image.size
        if width * height > self.max_pixels:
            raise MediaError(
                f"PIL image: has {width}x{height} pixels, expected at most {self.max_pixels}; "
                "make it smaller or allow more with max_pixels"
            )
        if image.mode in ("I", "F"):
            raise ValueError(
                f"a frame is a PIL image of mode {image.mode}, whose values have no set range; convert it to L or RGB"
            )
        try:
            if image.mode.startswith("I;16"):
                return self._take_array((np.asarray(image) >> 8).astype(np.uint8))
            if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
                bgra = cv2.cvtColor(np.asarray(image.convert("RGBA")), cv2.COLOR_RGBA2BGRA)
                return self._laid_over(np.asarray(bgra, np.uint8), "PIL image")
            return TakenFrame(cv2.cvtColor(np.asarray(image.convert("RGB")), cv2.COLOR_RGB2BGR))
        except ValueError as error:
            raise ValueError(f"a frame is a PIL image of mode {image.mode}: {error}; convert it to RGB") from None
        except MemoryError:
            raise MediaError(
                f"PIL image: its {width}x{height} pixels do not fit into the memory that is free"
            ) from None
        except Exception as error:  # it is read from its file only now, and Pillow raises anything for damage
            raise MediaError(f"PIL image: cannot be decoded ({error}); copy or download its file again") from None

    def _laid_over(self, bgra: NDArray[np.uint8], name: str) -> TakenFrame:
        picture = Picture.over(bgra, self.background)
        return TakenFrame(picture.image, None, tuple(f"{name}: {note}" for note in picture.notes))


def several_frames(frames: Iterable[Any]) -> Iterable[Any]:
    """`frames`, unless they are one frame: its rows would be parsed as pictures. Raises ValueError."""
    one = isinstance(frames, str | bytes | bytearray | memoryview | os.PathLike) or _is_pil_image(frames)
    if one or (isinstance(frames, np.ndarray) and frames.ndim != 4) or hasattr(frames, "read"):
        raise ValueError(f"one {type(frames).__name__} where several frames are expected; put it into a list")
    return frames


def _is_pil_image(value: object) -> bool:
    # Nobody has an image of a library that is not loaded, and loading it takes time.
    module = sys.modules.get("PIL.Image")
    return module is not None and isinstance(value, module.Image)


def _read_stream(stream: Any) -> bytes:
    pieces, length = [], 0
    while piece := stream.read(2**20):
        if not isinstance(piece, bytes):
            raise ValueError(f"a frame is a stream of {type(piece).__name__}, expected one of bytes; open it with 'rb'")
        pieces.append(piece)
        length += len(piece)
        if length > MAX_BYTES:
            raise MediaError(f"stream: is longer than {MAX_BYTES >> 20} MiB, expected a picture")
    return b"".join(pieces)


def _cure(array: NDArray[Any]) -> str:
    """What to do with arrays of the usual other kinds."""
    if array.ndim == 4:
        return "; pass several with parse_batch"
    if array.ndim == 3 and array.shape[0] in (1, 3, 4) and array.shape[2] not in (3, 4):
        return "; move the colours last with frame.transpose(1, 2, 0)"
    if array.dtype.kind == "f":
        return "; for values from 0 to 1 that is (frame * 255).round().astype(np.uint8)"
    return ""
