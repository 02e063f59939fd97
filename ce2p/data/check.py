"""Every fault of a split, and what it consists of: class frequencies, sizes, ignored pixels.

Nothing stops the check: each picture is read with all that belongs to it, and every fault is noted with its file.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from ce2p_runtime.base.progress import Progress, without_progress

from ..errors import DataError
from ..labels import IGNORE, LabelSet
from .annotations import exif_orientation, read_ids, read_image, read_labels
from .id_lists import repeated
from .instance_maps import instance_faults
from .splits import Sample

Kind = Literal["split", "repeated id", "missing", "unreadable", "size", "label value", "empty", "no class", "instances"]
_Map = TypeVar("_Map")


@dataclass(frozen=True)
class Problem:
    """One fault, with the file to look at. `str` is one line."""

    file: Path
    kind: Kind
    text: str

    def __str__(self) -> str:
        return f"{self.file}: {self.text}"

    @property
    def is_note(self) -> bool:
        """Whether it may be as it should: a picture with nobody in it has an annotation without a class."""
        return self.kind == "empty"

    def to_dict(self) -> dict[str, str]:
        """Plain types, for JSON."""
        return {"file": str(self.file), "kind": self.kind, "text": self.text}


@dataclass(frozen=True)
class Report:
    """What a split holds. Annotations that can be read are counted even where something else is wrong with them."""

    samples: int
    """Listed pictures."""
    problems: tuple[Problem, ...]
    """In the order of the list."""
    pixels: NDArray[np.int64]
    """[C]: pixels of each class."""
    pictures: NDArray[np.int64]
    """[C]: pictures in which each class occurs."""
    ignored: int
    """Pixels labelled 255."""
    sizes: NDArray[np.int64]
    """[N, 2]: height and width of every picture that can be read."""
    turned: int
    """Pictures with an EXIF orientation; they are turned upright when read, and their annotations must be upright."""

    @property
    def ignored_share(self) -> float:
        """Of all pixels with a class or 255."""
        return self.ignored / max(1, int(self.pixels.sum()) + self.ignored)

    def size_range(self) -> dict[str, tuple[int, int]]:
        """(height, width) of the smallest, the median and the largest, each side by itself; empty without pictures."""
        if not len(self.sizes):
            return {}
        steps = {"min": self.sizes.min(0), "median": np.median(self.sizes, axis=0), "max": self.sizes.max(0)}
        return {name: (int(height), int(width)) for name, (height, width) in steps.items()}

    def to_dict(self) -> dict[str, Any]:
        """Plain types, for JSON."""
        return {
            "samples": self.samples,
            "problems": [problem.to_dict() for problem in self.problems],
            "pixels": self.pixels.tolist(),
            "pictures": self.pictures.tolist(),
            "ignored": self.ignored,
            "sizes": self.size_range(),
            "turned": self.turned,
        }


@dataclass(frozen=True)
class _Finding:
    """What one sample shows."""

    problems: list[Problem]
    histogram: NDArray[np.int64] | None
    """[256]: pixels of each value of the annotation; None without one that can be read."""
    size: tuple[int, int] | None
    turned: bool


def check_split(
    labels: LabelSet, samples: Sequence[Sample], progress: Progress = without_progress, *, workers: int | None = None
) -> Report:
    """Read every file of `samples` (from `open_split(..., check_files=False)`) and report, whatever is wrong with them.

    Noted as problems: ids listed twice, files missing or unreadable, annotations of another size than their picture,
    values that are neither a class nor 255, annotations with nothing but background and 255 (a fault of the split where
    all are so), and in CIHP instance ids that span classes or people and people without parts. Reads with `workers`
    threads (default: one per CPU, at most 8; decoders release the interpreter); the report does not depend on how many.
    """
    twice = repeated(sample.name for sample in samples)
    problems = [
        Problem(_first(samples, name).image, "repeated id", f"{name} is listed more than once") for name in twice
    ]
    classes = labels.num_classes
    pixels, pictures = np.zeros(classes, np.int64), np.zeros(classes, np.int64)
    ignored, turned = 0, 0
    sizes: list[tuple[int, int]] = []
    with ThreadPoolExecutor(workers or min(8, os.cpu_count() or 1)) as pool:
        for done, finding in enumerate(pool.map(partial(_look_at, labels), samples), 1):
            problems += finding.problems
            turned += finding.turned
            if finding.size:
                sizes.append(finding.size)
            if finding.histogram is not None:
                pixels += finding.histogram[:classes]
                pictures += finding.histogram[:classes] > 0
                ignored += int(finding.histogram[IGNORE])
            progress("checking", done, len(samples))
    empty = sum(problem.kind == "empty" for problem in problems)
    if empty and not pixels[1:].any():
        problems.append(_no_class(samples, ignored > 0))
    shape = np.array(sizes, np.int64).reshape(-1, 2)
    return Report(
        samples=len(samples),
        problems=tuple(problems),
        pixels=pixels,
        pictures=pictures,
        ignored=ignored,
        sizes=shape,
        turned=turned,
    )


def require_classes(labels: LabelSet, samples: Sequence[Sample]) -> None:
    """Raise DataError where no annotation holds a class beside the background: training would learn nothing.

    Reads annotations until one does, which is the first one of nearly every data set.
    """
    ignored = False
    for sample in samples:
        if sample.labels is not None:
            histogram = np.bincount(read_labels(sample.labels).ravel(), minlength=256)
            if histogram[1:IGNORE].any():  # a value beyond the classes is named by whoever reads it for training
                return
            ignored |= bool(histogram[IGNORE])
    raise DataError(str(_no_class(samples, ignored)))


def _no_class(samples: Sequence[Sample], ignored: bool) -> Problem:
    """The fault of a split without any class, by its folder of annotations."""
    found = "0 (background) and 255 (ignore)" if ignored else "0 (background)"
    cure = "; if 255 marks a class there, save it as that class's number" if ignored else ""
    folder = next(sample.labels.parent for sample in samples if sample.labels is not None)
    return Problem(folder, "no class", f"holds no value but {found} in any annotation, expected class numbers{cure}")


def _first(samples: Sequence[Sample], name: str) -> Sample:
    return next(sample for sample in samples if sample.name == name)


def _look_at(labels: LabelSet, sample: Sample) -> _Finding:
    """Read one sample and note its faults."""
    problems: list[Problem] = []
    image = _read(read_image, sample.image, problems)
    orientation = exif_orientation(sample.image) if image is not None else 1
    classes = _read(read_labels, sample.labels, problems)
    humans = _read(read_ids, sample.humans, problems)
    instances = _read(read_ids, sample.instances, problems)
    size = None if image is None else (image.shape[0], image.shape[1])
    histogram = None
    if classes is not None and sample.labels:
        histogram = np.bincount(classes.ravel(), minlength=256).astype(np.int64)
        problems += (Problem(sample.labels, kind, text) for kind, text in _value_faults(histogram, labels))
    for path, values in ((sample.labels, classes), (sample.humans, humans), (sample.instances, instances)):
        if path and values is not None and size and values.shape != size:
            problems.append(Problem(path, "size", _size_fault(values.shape, sample.image, size, orientation)))
    for path, fault in instance_faults(sample, classes, humans, instances):
        problems.append(Problem(path, "instances", fault))
    return _Finding(problems, histogram, size, orientation != 1)


def _read(reader: Callable[[Path], _Map], path: Path | None, problems: list[Problem]) -> _Map | None:
    """What `reader` makes of a file; None, and a problem noted, when it cannot."""
    if path is None:
        return None
    if not path.exists():
        problems.append(Problem(path, "missing", "no such file"))
        return None
    try:
        return reader(path)
    except DataError as error:
        problems.append(Problem(path, "unreadable", str(error).removeprefix(f"{path}: ")))
        return None


def _value_faults(histogram: NDArray[np.int64], labels: LabelSet) -> Iterator[tuple[Kind, str]]:
    """Values that mean nothing, and annotations that mean nothing."""
    strange = [value for value in np.flatnonzero(histogram).tolist() if value >= labels.num_classes and value != IGNORE]
    if strange:
        shown = ", ".join(f"{value} ({histogram[value]} pixels)" for value in strange[:4])
        more = f" and {len(strange) - 4} more" if len(strange) > 4 else ""
        yield (
            "label value",
            f"holds label {shown}{more}, expected 0 to {labels.num_classes - 1} ({labels.title}) or 255 for ignore",
        )
    elif not histogram[1 : labels.num_classes].any():
        yield "empty", "holds nothing but background and 255 for ignore, expected at least one class"


def _size_fault(found: tuple[int, ...], image: Path, size: tuple[int, int], orientation: int) -> str:
    text = (
        f"is {found[0]}x{found[1]} (height x width) but its picture {image} is {size[0]}x{size[1]}, expected the same"
    )
    if orientation >= 5 and found == size[::-1]:
        text += f"; the picture is turned by its EXIF orientation {orientation}: store it upright, as its annotation is"
    return text
