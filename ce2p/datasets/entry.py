"""What a data set's module states: one frozen `DataSet`, made by keyword, and the parts that it consists of.

Fields without a default are those that nobody may forget: what a data set does not have is None, in so many words.
Nothing here imports NumPy, OpenCV or torch: the command line reads its choices from these entries.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ce2p_runtime.base.typed_json import is_text
from ce2p_runtime.label_conventions import Colour

from ..errors import ConfigError

MOST_NAME = 200
"""Characters of a class's or data set's name."""


@dataclass(frozen=True)
class LabelSet:
    """The classes of one data set. Index = class id in label maps; 255 is "ignore" in annotations."""

    dataset: str
    title: str
    names: tuple[str, ...]
    flip_pairs: tuple[tuple[int, int], ...] = ()
    """Class ids that change places when a picture is mirrored (left and right are the person's own)."""

    def __post_init__(self) -> None:
        if len({label for pair in self.flip_pairs for label in pair}) < 2 * len(self.flip_pairs):
            raise ConfigError(f"{self.dataset}: a class is in two left/right pairs: {self.flip_pairs!s:.60}")
        for left, right in self.flip_pairs:
            if not (0 <= left < self.num_classes and 0 <= right < self.num_classes):
                raise ConfigError(f"{self.dataset}: no classes {left} and {right} among {self.num_classes} to exchange")
            if self.names[left].replace("Left", "Right") != self.names[right]:
                raise ConfigError(f"{self.dataset}: {self.names[left]} and {self.names[right]} are no left/right pair")

    @classmethod
    def of(cls, dataset: str, title: str, names: str | Iterable[str]) -> LabelSet:
        """Classes in the order of their ids, a comma between two; those that differ only in Left and Right are pairs.

        >>> LabelSet.of("hands", "Hands", "Background, Left-hand, Right-hand").flip_pairs
        ((1, 2),)
        """
        listed = tuple(name.strip() for name in names.split(",")) if isinstance(names, str) else tuple(names)
        opposite = {name: name.replace("Left", "Right") for name in listed if "Left" in name}
        pairs = ((listed.index(left), listed.index(right)) for left, right in opposite.items() if right in listed)
        return cls(dataset, title, listed, tuple(pairs))

    @property
    def num_classes(self) -> int:
        return len(self.names)

    def to_dict(self) -> dict[str, Any]:
        """Plain types, for files."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> LabelSet:
        """Inverse of `to_dict`. Raises ValueError or ConfigError for other things."""
        try:
            dataset, title, names = fields["dataset"], fields["title"], tuple(fields["names"])
            pairs = tuple((left, right) for left, right in fields["flip_pairs"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"a label set lacks or garbles a field ({error})") from None
        if not all(
            is_text(text, most=MOST_NAME) for text in (dataset, title or "none", *names)
        ):  # the folder "." has no name
            raise ValueError("a label set's names are not all texts of 1 to 200 characters that can be shown")
        if isinstance(fields["names"], str) or len(set(names)) < len(names):
            raise ValueError(f"names is {fields['names']!r:.40}, expected a list of different ones")
        if not all(type(index) is int for pair in pairs for index in pair):
            raise ValueError(f"flip_pairs is {pairs!r:.40}, expected pairs of whole numbers")
        return cls(dataset, title or dataset, names, pairs)


@dataclass(frozen=True)
class Folders:
    """What one split is made of. Whether any of it exists is not said."""

    id_list: Path
    images: Path
    labels: Path
    humans: Path | None = None
    """Person id of each pixel, where a data set has them; the folder may be missing."""
    instances: Path | None = None
    """Part-instance id of each pixel; as `humans`."""
    suffixes: tuple[str, ...] = (".jpg",)
    digits: int = 0
    """Ids are numbers, padded with zeros to that many digits; 0: ids are names."""
    cure: str = "complete the data set or shorten the list"
    """What to do where annotations are missing."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where a data set keeps its files, as it is published."""

    folders: Callable[[Path, str], Folders]
    """From the data set's folder and a split ("train", "val", "test") to that split's files."""
    recognised: Callable[[Path], bool]
    """Whether a folder has this layout."""
    home: str = ""
    """Where it lies inside what is unpacked; synthetic people are written there."""


def inside(root: Path, homes: Iterable[str], *marks: str) -> Path | None:
    """The first of the folders root/home that holds one of the folders `marks`."""
    return next((root / home for home in homes if any((root / home / mark).is_dir() for mark in marks)), None)


@dataclass(frozen=True, kw_only=True)
class SyntheticPeople:
    """How synthetic people, painted in LIP's classes, are annotated. The files go where `Layout` says.

    Data sets with `humans` among their folders get two to four people in each picture, those with a class for the
    region "bag" people who carry one.
    """

    classes: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """From LIP's class to this data set's, where the name differs. "*": all others that have no name here. "{side}-arm"
    and "{side}-leg": the limb that a pixel is on."""
    regions: Mapping[tuple[str, str], str] = dataclasses.field(default_factory=dict)
    """Exceptions: the class of a LIP class in one region of the figure (`ce2p.synthetic.regions`)."""
    body_parts: bool = False
    """Annotated as Pascal-Person-Part is: what is below the clothes. The two mappings say nothing then."""
    border: int = 0
    """Width in pixels of the ignored band along people."""
    palette: bool = False
    """Annotations are palette PNGs in PASCAL's colours, instead of grey ones."""


@dataclass(frozen=True, kw_only=True)
class Published:
    """One published figure, in percent, with the place where it was read."""

    family: str
    dataset: str
    backbone: str
    stride: int
    metric: str
    """The name that our tables give the same score: "mIoU", "pixel accuracy", "mean accuracy", "AP^r", "AP^p 0.5"."""
    value: float
    source: str
    note: str = ""
    """What was done differently from one network, one scale, no flipping."""
    per_class: tuple[float, ...] = ()
    """IoU of each class, where published."""

    def to_dict(self) -> dict[str, Any]:
        """Plain types, for JSON."""
        return dataclasses.asdict(self) | {"per_class": list(self.per_class)}


def figures(dataset: str, found: Mapping[tuple[str, str], tuple[str, ...]]) -> tuple[Published, ...]:
    """Figures by network ("family backbone stride") and source: metric, value with two decimals, note if any.

    After a colon a figure has the IoU of each class. Raises ConfigError for text that is none.

    >>> figures("lip", {("ce2p r101 16", "README"): ("mIoU 53.88 384x384",)})[0].value
    53.88
    """
    made = []
    for (network, source), rows in found.items():
        family, backbone, stride = network.split()
        for row in rows:
            text, _, classes = row.partition(": ")
            if (parts := re.fullmatch(r"(.+?) (\d+\.\d\d)(?: (.+))?", text)) is None:
                raise ConfigError(f"{dataset}: {row!r:.60} is no figure; expected a metric and a value such as 53.88")
            figure = Published(
                family=family,
                dataset=dataset,
                backbone=backbone,
                stride=int(stride),
                metric=parts[1],
                value=float(parts[2]),
                source=source,
                note=parts[3] or "",
                per_class=tuple(map(float, classes.split())),
            )
            made.append(figure)
    return tuple(made)


def sssegmentation(dataset: str, family: str, place: str, row: str) -> tuple[Published, ...]:
    """A row of sssegmentation's tables: mIoU of R50 and R101 at stride 8 and 16 each, "-" where none is given.

    `place`: commit and file. Its figures are single-scale, without flipping (its `inference` and its early base
    configurations say so).
    """
    source = f"SegmentationBLWX/sssegmentation {place}"
    networks = zip(("r50 8", "r50 16", "r101 8", "r101 16"), row.split(), strict=True)
    return figures(
        dataset, {(f"{family} {name}", source): (f"mIoU {value}",) for name, value in networks if value != "-"}
    )


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """One data set."""

    labels: LabelSet
    """Its classes, in the order of their ids in its annotations."""
    layout: Layout | None
    """None: only its classes are known; it cannot be trained or scored on."""
    people: SyntheticPeople | None
    """None: there are no synthetic people for it."""
    colours: tuple[Colour, ...] | None = None
    """RGB of each class on its own site, which some families paint with; None: it uses PASCAL's colour map."""
    input_sizes: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """Side of the square input in pixels by family, where published networks have another than their family's own."""
    recipes: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    """What differs on this data set, by recipe: keys and values as in `ce2p/training/recipes`."""
    published: tuple[Published, ...] = ()
    """For one network and metric, the figure that stands first is the one to compare with."""
    own_classes: bool = False
    """The classes are those of a classes.txt in its folder; `labels` are only the synthetic example's."""

    @property
    def name(self) -> str:
        """Short name: that of the module, of options and of model names."""
        return self.labels.dataset

    @property
    def has_instances(self) -> bool:
        """Whether its layout has people and their parts apart."""
        return self.layout is not None and self.layout.folders(Path(), "val").instances is not None
