"""What parsing a frame gives: a label map at the frame's size, and ways to look at it and store it."""

from __future__ import annotations

import difflib
import operator
import re
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from .errors import MediaError
from .pictures import write_picture
from .png import write_png

__all__ = ["ParsingResult"]


@dataclass(frozen=True, eq=False)
class ParsingResult:
    """One parsed frame. Class 0 is the background; other ids index `class_names` and `palette`."""

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

    def __post_init__(self) -> None:
        if self.labels.dtype != np.uint8 or self.labels.ndim != 2:
            raise ValueError(f"labels are {self.labels.dtype} {list(self.labels.shape)}, expected uint8 [H, W]")
        if len(self.class_names) != len(self.palette):
            raise ValueError(f"{len(self.class_names)} class names with {len(self.palette)} palette colours")

    def colours(self) -> NDArray[np.uint8]:
        """The palette colour of every pixel, uint8 BGR [H, W, 3]. Ids without a class are black."""
        table = np.zeros((256, 3), np.uint8)
        table[: len(self.palette)] = np.asarray(self.palette, np.uint8).reshape(-1, 3)[:, ::-1]
        return np.take(table, self.labels, axis=0)

    def overlay(self, frame: NDArray[np.uint8], opacity: float = 0.5) -> NDArray[np.uint8]:
        """`frame` (uint8 BGR [H, W, 3]) with class colours blended over it; background pixels keep their
        exact value.

        `opacity` from 0 (frame only) to 1 (colours only). Raises ValueError for another opacity, dtype or
        size.
        """
        if frame.shape != (*self.labels.shape, 3) or frame.dtype != np.uint8:
            raise ValueError(
                f"the frame is {frame.dtype} {list(frame.shape)}, the labels are {list(self.labels.shape)}; "
                f"expected uint8 {[*self.labels.shape, 3]}: pass the frame that was parsed"
            )
        if not 0 <= opacity <= 1:
            raise ValueError(f"opacity is {opacity}, expected 0 to 1")
        blended = cv2.addWeighted(frame, 1 - opacity, self.colours(), opacity, 0)
        background = np.equal(self.labels, 0).view(np.uint8)
        return np.asarray(cv2.copyTo(frame, background, blended), np.uint8)

    def mask(self, name_or_id: str | int) -> NDArray[np.bool_]:
        """Where a class is: bool [H, W]. Names match in any case; KeyError for unknown ones."""
        return np.equal(self.labels, self._class_id(name_or_id))

    def present(self) -> dict[str, int]:
        """Pixel count of each class that occurs, by class id. Ids without a class are called `class N`."""
        counts = np.bincount(self.labels.ravel(), minlength=256)
        return {self._name(int(index)): int(counts[index]) for index in np.flatnonzero(counts)}

    def masks(self) -> dict[str, NDArray[np.bool_]]:
        """Mask (bool [H, W]) of each class that occurs, under the names that `present` gives."""
        ids = np.flatnonzero(np.bincount(self.labels.ravel(), minlength=256))
        return {self._name(int(index)): np.equal(self.labels, index) for index in ids}

    def save_labels(self, path: str | Path) -> Path:
        """Write a palette PNG (pixel = class id, palette for viewing) atomically. Raises MediaError."""
        if Path(path).suffix.lower() != ".png":
            raise MediaError(
                f"{path}: label maps are stored as PNG (other formats alter ids); use a name ending in .png"
            )
        return write_png(path, self.labels, self.palette)

    def save_overlay(self, path: str | Path, frame: NDArray[np.uint8], opacity: float = 0.5) -> Path:
        """Write `overlay(frame, opacity)` in the format of the suffix (.jpg, .png). Raises MediaError."""
        return write_picture(path, self.overlay(frame, opacity))

    def save_masks(self, folder: str | Path, stem: str) -> list[Path]:
        """Write one gray PNG (255 inside, 0 outside) per class that occurs:
        `<folder>/<stem>_<id>_<class>.png`.

        Returns the paths in order of class id. Raises ValueError when `stem` holds a path separator.
        """
        if not stem or re.search(r"[/\\\0]", stem):
            raise ValueError(f"stem is {stem!r}, expected a plain file name without folders")
        paths = []
        for index in np.flatnonzero(np.bincount(self.labels.ravel(), minlength=256)):
            # Class names come out of model files: nothing of them but letters and digits gets into a path.
            slug = re.sub(r"[^0-9A-Za-z]+", "-", self._name(int(index))).strip("-").lower() or "class"
            mask = np.equal(self.labels, index).view(np.uint8) * np.uint8(255)
            paths.append(write_png(Path(folder) / f"{stem}_{index:02d}_{slug[:40]}.png", mask))
        return paths

    def _name(self, index: int) -> str:
        return self.class_names[index] if index < len(self.class_names) else f"class {index}"

    def _class_id(self, name_or_id: str | int) -> int:
        if not isinstance(name_or_id, str):
            index = operator.index(name_or_id)
            if 0 <= index < len(self.class_names):
                return index
            raise KeyError(f"class id {index} is not in 0..{len(self.class_names) - 1}")
        if name_or_id in self.class_names:
            return self.class_names.index(name_or_id)
        folded = [name.casefold() for name in self.class_names]
        if name_or_id.casefold() in folded:
            return folded.index(name_or_id.casefold())
        near = difflib.get_close_matches(name_or_id.casefold(), folded, n=1, cutoff=0.5)
        hint = f"did you mean {self.class_names[folded.index(near[0])]!r}? " if near else ""
        raise KeyError(f"no class {name_or_id!r}; {hint}classes are {', '.join(self.class_names)}")
