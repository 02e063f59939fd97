"""Results on disk in M-CE2P's layout (result_saving in M-CE2P-test.py), which its and our scoring read:

    OUT/global_parsing/<name>.png     class of each pixel
    OUT/instance_parsing/<name>.png   part of each pixel, from 1
    OUT/instance_parsing/<name>.txt   line k: "class confidence" of part k
    OUT/global_tag/<name>.png         person of each pixel, from 1, the largest first
    OUT/results.txt                   a line per picture: "name 1 score 2 score ..."

The PNGs are 8-bit with a palette, so there is room for 255 parts and people; the published code drops what is beyond,
here that is an error. Each file is written whole; results.txt is written when the writer closes, also after an error,
and keeps the lines of other pictures from earlier runs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from ..base.files import atomic_path
from ..errors import MediaError
from ..label_conventions import PASCAL_PALETTE
from ..media.png import read_labels, write_png
from .instances import MOST_PEOPLE
from .people_result import PeopleResult

_CLASSES, _PARTS, _PEOPLE, _SCORES = "global_parsing", "instance_parsing", "global_tag", "results.txt"
_MOST = MOST_PEOPLE


@dataclass(frozen=True, eq=False)
class StoredPeople:
    """One picture's results as stored."""

    labels: NDArray[np.uint8]
    parts: NDArray[np.uint8]
    part_scores: tuple[tuple[int, float], ...]
    """Class and confidence of part k in entry k - 1."""
    humans: NDArray[np.uint8]
    human_scores: tuple[float, ...]


def result_files(folder: str | Path, name: str) -> list[Path]:
    """The files of one picture's results; results.txt, which holds lines of all pictures, is not among them."""
    pictures = [Path(folder) / kind / f"{name}.png" for kind in (_PARTS, _PEOPLE, _CLASSES)]
    return [pictures[0].with_suffix(".txt"), *pictures]


class PeopleWriter(AbstractContextManager["PeopleWriter"]):
    """Writes the results of many pictures below one folder."""

    def __init__(self, folder: str | Path) -> None:
        """Raises MediaError for a results.txt there that is none of ours."""
        self.folder = Path(folder)
        self._scores = _read_scores(self.folder / _SCORES) if (self.folder / _SCORES).exists() else {}
        self._written = 0

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._written:
            return
        with atomic_path(self.folder / _SCORES) as temporary:
            temporary.write_text("".join(f"{_score_line(*entry)}\n" for entry in self._scores.items()), "utf-8")

    def write(self, name: str, result: PeopleResult) -> None:
        """Write one picture's results under `name`, its file name without folder and suffix. Raises MediaError."""
        check_name(name)
        parts, people = len(result.part_instances), len(result.people)
        if max(parts, people) > _MOST:
            raise MediaError(
                f"{name}: {parts} parts of {people} people, the result layout holds {_MOST} of each; raise the "
                "detector's threshold or cut the picture"
            )
        lines = "".join(f"{part.class_id} {part.score!r}\n" for part in result.part_instances)
        text, part_ids, person_ids, classes = result_files(self.folder, name)
        with atomic_path(text, durable=False) as temporary:
            temporary.write_text(lines, "utf-8")
        write_png(part_ids, result.parts.astype(np.uint8), PASCAL_PALETTE)
        write_png(person_ids, result.humans.astype(np.uint8), PASCAL_PALETTE)
        write_png(classes, result.labels, result.palette)
        self._scores[name] = tuple(person.score for person in result.people)
        self._written += 1


def read_people(folder: str | Path, name: str) -> StoredPeople:
    """One picture's results. Raises MediaError where a file is missing or does not fit the others."""
    folder = Path(folder)
    scores = _read_scores(folder / _SCORES)
    if name not in scores:
        raise MediaError(f"{folder / _SCORES}: has no line for {name}; parse that picture again")
    labels, parts, humans = (read_labels(folder / kind / f"{name}.png") for kind in (_CLASSES, _PARTS, _PEOPLE))
    lines = folder / _PARTS / f"{name}.txt"
    part_scores = []
    for number, line in enumerate(_lines(lines), start=1):
        try:
            class_id, score = line.split()
            part_scores.append((int(class_id), float(score)))
            if not 0 <= part_scores[-1][0] <= 255 or not math.isfinite(part_scores[-1][1]):
                raise ValueError
        except ValueError:
            raise MediaError(f"{lines}: line {number} is {line!r:.80}, expected a class and a confidence") from None
    if not labels.shape == parts.shape == humans.shape:
        raise MediaError(f"{folder}: the three pictures of {name} are {labels.shape}, {parts.shape}, {humans.shape}")
    if parts.max() > len(part_scores) or humans.max() > len(scores[name]):
        raise MediaError(f"{folder}: {name} shows parts or people without a score; parse that picture again")
    return StoredPeople(labels, parts, tuple(part_scores), humans, scores[name])


def check_name(name: str) -> None:
    """Raises MediaError for a picture's name that results.txt cannot hold or that is no file name."""
    if not name or name.split() != [name] or "/" in name or "\\" in name:
        raise MediaError(f"{name!r}: results are listed by names without spaces and slashes; rename the picture")


def _score_line(name: str, scores: Sequence[float]) -> str:
    return " ".join([name, *(f"{number} {score!r}" for number, score in enumerate(scores, start=1))])


def _read_scores(path: Path) -> dict[str, tuple[float, ...]]:
    """Scores of every person, by picture."""
    scores = {}
    for number, line in enumerate(_lines(path), start=1):
        name, *rest = line.split()
        try:
            if [int(entry) for entry in rest[::2]] != list(range(1, len(rest) // 2 + 1)) or len(rest) % 2:
                raise ValueError
            scores[name] = tuple(float(entry) for entry in rest[1::2])
            if not all(map(math.isfinite, scores[name])):
                raise ValueError
        except ValueError:
            raise MediaError(f"{path}: line {number} is {line!r:.80}, expected: name 1 score 2 score ...") from None
    return scores


def _lines(path: Path) -> list[str]:
    try:
        return [line for line in path.read_text("utf-8").splitlines() if line.strip()]
    except FileNotFoundError:
        raise MediaError(f"{path}: no such file, expected results of `ce2p people --save results`") from None
    except (OSError, ValueError) as error:
        raise MediaError(f"{path}: cannot be read as text ({error})") from error
