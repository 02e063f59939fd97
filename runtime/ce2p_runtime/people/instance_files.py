"""People that the user brings: a JSON file in COCO's manner, or a folder of id pictures.

JSON, as detectors write their results (one entry per person, in any order):

    [{"image": "street.jpg", "bbox": [x, y, width, height], "score": 0.93, "segmentation": ...}, ...]

or COCO's annotation form:

    {"images": [{"id": 7, "file_name": "street.jpg"}, ...], "annotations": [{"image_id": 7, "bbox": ..., ...}, ...]}

Pictures are told by their names without folder and suffix. `bbox` is in pixels, (0, 0) the outer corner of the first
one; it may be left out where there is a segmentation. `score` may be left out and is 1 then. `segmentation` may be left
out or hold what coco_masks.py reads. `category_id`, if there, is 1 for people (as in COCO); entries of other categories
are counted in `left_out`.

A folder holds `<name>.png` per picture, whose pixels are person ids, 0 for nobody: CIHP's Human_ids, for one.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..base.bounded_json import read_json
from ..errors import MediaError
from ..media.png import read_index_png
from .coco_masks import segmentation_mask
from .instances import Person, check_people, crop_box, people_of_ids

_PERSON = 1
_MOST_BYTES = 512 * 2**20
"""Of a JSON file: COCO's largest has 450 MB."""
Size = tuple[int, int]


class Instances(Protocol):
    """The people of many pictures, by the pictures' names (file names without folder and suffix)."""

    left_out: int
    """Entries that are no people."""

    def names(self) -> frozenset[str]:
        """Every picture this source knows of, with people or without."""

    def people(self, name: str, size: Size, least_score: float = -math.inf) -> list[Person] | None:
        """The people of the picture `name`, whose size is (H, W) pixels; None for a picture that is not there.

        Those with a score below `least_score` may be left out, which saves their masks. Raises MediaError naming file
        and entry where they do not fit, or are more than `check_people` allows.
        """

    def below(self, name: str, least_score: float) -> int:
        """How many people of a picture `people` leaves out because of their score."""


def open_instances(path: str | Path) -> InstanceFolder | InstanceJson:
    """Open a folder of id pictures or a JSON file, which is checked in full. Raises MediaError."""
    path = Path(path)
    if path.is_dir():
        return InstanceFolder(path)
    if not path.is_file():
        raise MediaError(f"{path}: no such file, expected people as a JSON file or a folder of id PNGs; check the path")
    return InstanceJson(path)


class InstanceFolder:
    """`<folder>/<name>.png` with person ids."""

    left_out = 0

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._names = frozenset(file.stem for file in folder.glob("*.png") if not file.name.startswith("."))
        if not self._names:
            raise MediaError(f"{folder}: no PNG in this folder, expected <name>.png with person ids for each picture")

    def names(self) -> frozenset[str]:
        """See Instances."""
        return self._names

    def below(self, name: str, least_score: float) -> int:
        """See Instances: pictures have no scores, so that all are 1."""
        return 0

    def people(self, name: str, size: Size, least_score: float = -math.inf) -> list[Person] | None:
        """See Instances."""
        if name not in self._names:
            return None
        file = self.folder / f"{name}.png"
        ids = read_index_png(file)
        if ids.shape != tuple(size):
            raise MediaError(
                f"{file}: has {ids.shape[1]}x{ids.shape[0]} pixels, its picture {size[1]}x{size[0]}; use its own ids"
            )
        try:
            return people_of_ids(ids)
        except ValueError as error:
            raise MediaError(f"{file}: {error}") from error


class InstanceJson:
    """A JSON file; the masks are decoded when a picture is asked for."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.left_out = 0
        self._entries: dict[str, list[tuple[int, dict[str, Any]]]] = {}
        try:
            if file.stat().st_size > _MOST_BYTES:
                raise MediaError(f"{file}: has more than {_MOST_BYTES >> 20} MiB; split it by pictures")
            document = read_json(file.read_bytes(), what="it")
        except (OSError, ValueError) as error:
            raise MediaError(f"{file}: is not readable as JSON ({error}); expected a list of people") from error
        try:
            self._enter(document)
        except ValueError as error:
            raise MediaError(f"{file}: {error}") from error

    def names(self) -> frozenset[str]:
        """See Instances."""
        return frozenset(self._entries)

    def below(self, name: str, least_score: float) -> int:
        """See Instances."""
        return sum(_score(entry) < least_score for _, entry in self._entries.get(name, []))

    def people(self, name: str, size: Size, least_score: float = -math.inf) -> list[Person] | None:
        """See Instances."""
        if name not in self._entries:
            return None
        chosen = [(number, entry) for number, entry in self._entries[name] if _score(entry) >= least_score]
        try:
            check_people(len(chosen), size)  # before any mask is decoded
        except ValueError as error:
            raise MediaError(f"{self.file}: {name}: {error}") from error
        people = []
        for number, entry in chosen:
            try:
                people.append(_person(entry, size))
            except ValueError as error:
                raise MediaError(f"{self.file}: entry {number} (of {name}): {error}") from error
        return people

    def _enter(self, document: Any) -> None:
        """Sort the entries by picture. Raises ValueError."""
        files: dict[int | str, str] = {}
        entries = document
        if isinstance(document, dict) and isinstance(document.get("annotations"), list):
            entries, images = document["annotations"], document.get("images") or []
            if not isinstance(images, list):
                raise ValueError(f"its images are {images!s:.60}, expected [{{id, file_name}}, ...]")
            for image in images:
                if not isinstance(image, dict) or not isinstance(image.get("file_name"), str):
                    raise ValueError(f"an image is {image!s:.80}, expected id and file_name")
                if not isinstance(image.get("id"), (int, str)):
                    raise ValueError(f"the id of an image is {image.get('id')!s:.60}, expected a number or a text")
                files[image["id"]] = image["file_name"]
                self._entries.setdefault(_stem(image["file_name"]), [])
        if not isinstance(entries, list):
            raise ValueError("holds no list of people; expected [{image, bbox, score, segmentation}, ...]")
        for number, entry in enumerate(entries):
            try:
                name = _image_name(entry, files)
                _check(entry)
            except ValueError as error:
                raise ValueError(f"entry {number}: {error}") from error
            found = self._entries.setdefault(name, [])
            if entry.get("category_id", _PERSON) == _PERSON:
                found.append((number, entry))
            else:
                self.left_out += 1


def _stem(name: str) -> str:
    return Path(name).stem


def _image_name(entry: Any, files: dict[int | str, str]) -> str:
    """The name of the picture an entry belongs to. Raises ValueError."""
    if not isinstance(entry, dict):
        raise ValueError(f"is {entry!s:.60}, expected an object with image, bbox, score, segmentation")
    for key in ("image", "file_name"):
        if isinstance(entry.get(key), str):
            return _stem(entry[key])
    number = entry.get("image_id")
    if files:
        if not isinstance(number, (int, str)) or number not in files:
            raise ValueError(f"its image_id is {number!r:.60}, which is not among the file's images")
        return _stem(files[number])
    if isinstance(number, str):
        return _stem(number)
    raise ValueError("does not name its picture; expected `image` with the file name")


def _check(entry: dict[str, Any]) -> None:
    """Raises ValueError for a box or a score that cannot be one, or if there is neither box nor segmentation."""
    box, score = entry.get("bbox"), entry.get("score", 1.0)
    if box is None and not entry.get("segmentation"):
        raise ValueError("has neither bbox nor segmentation")
    if box is not None and not (isinstance(box, list) and len(box) == 4 and all(map(_is_finite, box))):
        raise ValueError(f"its bbox is {box!s:.60}, expected [x, y, width, height] in pixels")
    if box is not None and min(box[2:]) <= 0:
        raise ValueError(f"its bbox is {box}, expected a width and a height above 0")
    if not _is_finite(score):
        raise ValueError(f"its score is {score!r:.40}, expected a finite number")


def _is_finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _score(entry: dict[str, Any]) -> float:
    return float(entry.get("score", 1.0))


def _person(entry: dict[str, Any], size: Size) -> Person:
    """Raises ValueError where the entry does not fit a (H, W) picture."""
    segmentation, box = entry.get("segmentation"), entry.get("bbox")
    mask = segmentation_mask(segmentation, size) if segmentation else None
    score = _score(entry)
    if box is None:
        assert mask is not None  # noqa: S101  (checked when the file was read)
        whole = people_of_ids(mask.astype(np.uint8))
        if not whole:
            raise ValueError("its segmentation is empty and it has no bbox")
        return Person(whole[0].box, mask, score)
    x, y, width, height = map(float, box)
    corners = (x, y, x + width, y + height)
    crop_box(corners, size, enlarge=1.0)  # a box beside the picture is an error of the file
    return Person(corners, mask, score)
