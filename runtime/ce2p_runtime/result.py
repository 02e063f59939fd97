"""What parsing a frame gives: a label map at the frame's size, and ways to look at it and store it."""

from __future__ import annotations

import difflib
import operator
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from .errors import MediaError
from .media.pictures import write_picture
from .media.png import write_png

ClassName = str | int | Iterable[str | int]
"""A class by name or id, or several of them. Names match in any case, with or without blanks, hyphens, underscores."""

_EXACT_COUNTS = 2**24
"""Pixels that OpenCV's histograms, which are float32, count exactly."""


@dataclass(frozen=True, eq=False)
class ParsingResult:
    """One parsed frame. Class 0 is the background; other ids index `class_names` and `palette`.

    Methods that want the frame that was parsed take `frame` where the parser kept it (`keep_frames=True`). Do not
    change `labels`: their counts are kept.
    """

    labels: NDArray[np.uint8]
    """uint8 [H, W], at the size of the frame that was parsed."""
    class_names: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    """RGB colour of each class, 0-255."""
    timings: dict[str, float] = field(default_factory=dict)
    """Milliseconds spent per stage."""
    source: Path | None = None
    """The picture or video the frame came from, if it came from a file."""
    frame_index: int | None = None
    """Position in the video, from 0."""
    time: float | None = None
    """Presentation time in the video, in seconds."""
    frame: NDArray[np.uint8] | None = None
    """The frame, uint8 [H, W, 3], if the parser was to keep it; the caller's own array where nothing was changed."""
    order: Literal["bgr", "rgb"] = "bgr"
    """Order of the colours in `frame` and in all frames and colours that the methods take and give."""
    notes: tuple[str, ...] = ()
    """What there is to say about the picture: the first of several was read, transparency was laid over a colour."""

    def __post_init__(self) -> None:
        if self.labels.dtype != np.uint8 or self.labels.ndim != 2:
            raise ValueError(f"labels are {self.labels.dtype} {list(self.labels.shape)}, expected uint8 [H, W]")
        if len(self.class_names) != len(self.palette):
            raise ValueError(f"{len(self.class_names)} class names with {len(self.palette)} palette colours")

    def colours(self) -> NDArray[np.uint8]:
        """The palette colour of every pixel, uint8 [H, W, 3]. Ids without a class are black."""
        return self._colours(self.labels)

    def overlay(self, frame: NDArray[np.uint8] | None = None, opacity: float = 0.5) -> NDArray[np.uint8]:
        """The frame (uint8 [H, W, 3]) with class colours blended over it; background pixels keep their exact value.

        `opacity` from 0 (frame only) to 1 (colours only). Raises ValueError for another opacity, dtype or size.
        """
        frame = self._checked(frame)
        if not 0 <= opacity <= 1:
            raise ValueError(f"opacity is {opacity}, expected 0 to 1")
        result = frame.copy()
        labels = self.labels[self._box]
        if labels.size:
            blended = cv2.addWeighted(frame[self._box], 1 - opacity, self._colours(labels), opacity, 0)
            cv2.copyTo(blended, labels, result[self._box])  # the labels are the mask: what is not 0 is copied
        return result

    def mask(self, *names: ClassName) -> NDArray[np.bool_]:
        """Where any of some classes is: bool [H, W]; without names, where anything but background is.

        `result.mask("Upper-clothes", "Coat")`, also with ids or a list. Raises KeyError for unknown ones.
        """
        return cv2.LUT(self.labels, self._inside(names)).view(np.bool_)

    def alpha(self, *names: ClassName) -> NDArray[np.uint8]:
        """`mask` as an opacity: uint8 [H, W], 255 inside and 0 outside."""
        return np.asarray(cv2.LUT(self.labels, self._inside(names) * np.uint8(255)), np.uint8)

    def cutout(self, frame: NDArray[np.uint8] | None = None, *names: ClassName) -> NDArray[np.uint8]:
        """The frame's pixels where `mask(*names)` is, with opacity: uint8 [H, W, 4]. Outside all four values are 0."""
        result = np.asarray(cv2.cvtColor(self._checked(frame), cv2.COLOR_BGR2BGRA), np.uint8)
        result[~self.mask(*names)] = 0
        return result

    def present(self) -> dict[str, int]:
        """Pixel count of each class that occurs, by class id. Ids without a class are called `class N`."""
        return {self._name(index): int(self._counts[index]) for index in self._ids()}

    def masks(self) -> dict[str, NDArray[np.bool_]]:
        """Mask (bool [H, W]) of each class that occurs, under the names that `present` gives."""
        return {self._name(index): np.equal(self.labels, index) for index in self._ids()}

    def save_labels(self, path: str | Path, *, grey: bool = False) -> Path:
        """Write a PNG whose pixels are class ids, atomically. Raises MediaError.

        With a palette for viewers; OpenCV reads such files as colours, `ce2p_runtime.read_labels` and Pillow read the
        ids. `grey`: without one, so that `cv2.imread(path, cv2.IMREAD_UNCHANGED)` gives the ids, too.
        """
        if Path(path).suffix.lower() != ".png":
            raise MediaError(
                f"{path}: label maps are stored as PNG (other formats alter ids); use a name ending in .png"
            )
        return write_png(path, self.labels, None if grey else self.palette)

    def save_overlay(self, path: str | Path, frame: NDArray[np.uint8] | None = None, opacity: float = 0.5) -> Path:
        """Write `overlay(frame, opacity)` in the format of the suffix (.jpg, .png). Raises MediaError."""
        return write_picture(path, self._bgr(self.overlay(frame, opacity)))

    def save_cutout(self, path: str | Path, frame: NDArray[np.uint8] | None = None, *names: ClassName) -> Path:
        """Write `cutout(frame, *names)` as a PNG with transparency, atomically. Raises MediaError."""
        if Path(path).suffix.lower() != ".png":
            raise MediaError(f"{path}: cut-outs are stored as PNG, which keeps transparency; use a name ending in .png")
        return write_picture(path, self._bgr(self.cutout(frame, *names)))

    def save_masks(self, folder: str | Path, stem: str) -> list[Path]:
        """Write one gray PNG (255 inside, 0 outside) per class that occurs:
        `<folder>/<stem>_<id>_<class>.png`.

        Returns the paths in order of class id. Raises ValueError when `stem` holds a path separator.
        """
        if not stem or re.search(r"[/\\\0]", stem):
            raise ValueError(f"stem is {stem!r}, expected a plain file name without folders")
        paths = []
        for index in self._ids():
            # Class names come out of model files: nothing of them but letters and digits gets into a path.
            slug = re.sub(r"[^0-9A-Za-z]+", "-", self._name(index)).strip("-").lower() or "class"
            mask = np.equal(self.labels, index).view(np.uint8) * np.uint8(255)
            paths.append(write_png(Path(folder) / f"{stem}_{index:02d}_{slug[:40]}.png", mask))
        return paths

    @cached_property
    def _box(self) -> tuple[slice, slice]:
        """Rows and columns of the box around all that is not background: often a small part of the frame."""
        x, y, width, height = cv2.boundingRect(self.labels)
        return slice(y, y + height), slice(x, x + width)

    @cached_property
    def _counts(self) -> NDArray[np.int64]:
        """Pixels of each id, [256]. OpenCV's histogram of the box takes a fraction of NumPy's time for the frame."""
        inside = self.labels[self._box]
        counts = np.zeros(256, np.int64)
        counts[0] = self.labels.size - inside.size
        rows = max(1, _EXACT_COUNTS // max(1, inside.shape[1]))
        for start in range(0, len(inside), rows):
            piece = np.ascontiguousarray(inside[start : start + rows])
            counts += cv2.calcHist([piece], [0], None, [256], [0, 256]).ravel().astype(np.int64)
        return counts

    def _ids(self) -> list[int]:
        return [int(index) for index in np.flatnonzero(self._counts)]

    def _colours(self, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        table = np.zeros((256, 3), np.uint8)
        table[: len(self.palette)] = np.asarray(self.palette, np.uint8).reshape(-1, 3)
        ordered = np.ascontiguousarray(table if self.order == "rgb" else table[:, ::-1])
        return np.asarray(cv2.applyColorMap(labels, ordered[:, None]), np.uint8)

    def _checked(self, frame: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
        """`frame`, or the one that was kept. Raises ValueError for one that cannot be the one that was parsed."""
        frame = self.frame if frame is None else frame
        if frame is None:
            raise ValueError(
                "no frame was kept: pass the one that was parsed, or open the parser with keep_frames=True"
            )
        if frame.shape != (*self.labels.shape, 3) or frame.dtype != np.uint8:
            raise ValueError(
                f"the frame is {frame.dtype} {list(frame.shape)}, the labels are {list(self.labels.shape)}; "
                f"expected uint8 {[*self.labels.shape, 3]}: pass the frame that was parsed"
            )
        return frame

    def _bgr(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """What OpenCV is to write."""
        if self.order == "bgr":
            return picture
        code = cv2.COLOR_RGB2BGR if picture.shape[2] == 3 else cv2.COLOR_RGBA2BGRA
        return np.asarray(cv2.cvtColor(picture, code), np.uint8)

    def _name(self, index: int) -> str:
        return self.class_names[index] if index < len(self.class_names) else f"class {index}"

    def _inside(self, names: tuple[ClassName, ...]) -> NDArray[np.uint8]:
        """1 for each id that is meant, [256]; without names for all but the background."""
        table = np.zeros(256, np.uint8)
        if not names:
            table[1:] = 1
        for given in names:
            several = given if isinstance(given, Iterable) and not isinstance(given, str) else (given,)
            for name in several:
                table[self._class_id(name)] = 1
        return table

    def _class_id(self, name_or_id: str | int) -> int:
        if not isinstance(name_or_id, str):
            index = operator.index(name_or_id)
            if 0 <= index < len(self.class_names):
                return index
            raise KeyError(f"class id {index} is not in 0..{len(self.class_names) - 1}")
        if name_or_id in self.class_names:
            return self.class_names.index(name_or_id)
        plain = [_plain(name) for name in self.class_names]
        wanted = _plain(name_or_id)
        if wanted in plain:
            return plain.index(wanted)
        near = [name for name in plain if wanted and wanted in name] + difflib.get_close_matches(
            wanted, plain, cutoff=0.5
        )
        hints = " or ".join(repr(self.class_names[plain.index(name)]) for name in dict.fromkeys(near[:3]))
        hint = f"did you mean {hints}? " if hints else ""
        raise KeyError(f"no class {name_or_id!r}; {hint}classes are {', '.join(self.class_names)}")


def _plain(name: str) -> str:
    """A name as people remember it: without case, blanks, hyphens, underscores."""
    return re.sub(r"[\s_-]+", "", name).casefold()
