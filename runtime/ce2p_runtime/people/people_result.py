"""What parsing a frame with several people gives: classes, people and each person's parts, and pictures of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ..media.pictures import write_picture
from ..result import ParsingResult
from .instances import Person
from .part_instances import PartInstance

_OUTLINES = ((0, 255, 255), (255, 128, 0), (0, 220, 0), (255, 0, 255), (0, 128, 255), (255, 255, 255), (255, 255, 0))
"""BGR colour of each person's outline, in turn."""


@dataclass(frozen=True, eq=False)
class PeopleResult:
    """One parsed frame. Class 0 is the background; other ids index `class_names` and `palette`."""

    labels: NDArray[np.uint8]
    """uint8 [H, W]: class of each pixel, of everybody ("global parsing")."""
    humans: NDArray[np.uint16]
    """uint16 [H, W]: person of each pixel, 0 for none; the largest person is 1, and smaller ones are drawn over it."""
    parts: NDArray[np.uint16]
    """uint16 [H, W]: part of each pixel, an index into `part_instances` from 1; 0 for none."""
    part_instances: tuple[PartInstance, ...]
    people: tuple[Person, ...]
    """Person k of `humans` is entry k - 1. Masks are the refined ones where refinement was on."""
    class_names: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    """RGB colour of each class, 0-255."""
    timings: dict[str, float] = field(default_factory=dict)
    """Milliseconds spent per stage."""
    source: Path | None = None

    def parsing(self) -> ParsingResult:
        """The label map alone, as `HumanParser` gives it."""
        return ParsingResult(self.labels, self.class_names, self.palette, self.timings, self.source)

    def overlay(self, frame: NDArray[np.uint8], opacity: float = 0.5) -> NDArray[np.uint8]:
        """`frame` (uint8 BGR [H, W, 3]) with class colours blended over it and an outline and number per person.

        Raises ValueError as `ParsingResult.overlay`.
        """
        picture = self.parsing().overlay(frame, opacity)
        thick = max(1, round(min(picture.shape[:2]) / 300))
        # The largest first, so that the people seen in front have their outline whole.
        for number, person in enumerate(self.people, start=1):
            if person.mask is not None:
                _outline(picture, person.mask, _OUTLINES[(number - 1) % len(_OUTLINES)], str(number), thick)
        return picture

    def save_overlay(self, path: str | Path, frame: NDArray[np.uint8], opacity: float = 0.5) -> Path:
        """Write `overlay(frame, opacity)` in the format of the suffix (.jpg, .png), atomically. Raises MediaError."""
        return write_picture(path, self.overlay(frame, opacity))


def _outline(
    picture: NDArray[np.uint8], mask: NDArray[np.bool_], colour: tuple[int, int, int], text: str, thick: int
) -> None:
    """Draw a mask's outer contours, and its number at its top."""
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not contours:
        return
    cv2.drawContours(picture, contours, -1, (0, 0, 0), thick + 2)
    cv2.drawContours(picture, contours, -1, colour, thick)
    largest = max(contours, key=cv2.contourArea)
    x, y = largest[largest[:, 0, 1].argmin(), 0]
    scale = 0.5 * thick
    place = (int(x) + 2 * thick, max(int(y), 0) + round(24 * scale))
    for shade, width in (((0, 0, 0), thick + 2), (colour, thick)):
        cv2.putText(
            picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, color=shade, thickness=width, lineType=cv2.LINE_AA
        )
