"""Data sets: one module each, and everything that follows from all of them. A new one is a module and its line here."""

from __future__ import annotations

from ..errors import ConfigError
from .atr import ATR
from .cihp import CIHP
from .custom import CUSTOM
from .entry import DataSet, LabelSet, Published
from .lip import LIP
from .mhp import MHP
from .ppp import PPP
from .voc import VOC

__all__ = [
    "DATASETS",
    "LABEL_SETS",
    "NOISE",
    "PUBLISHED",
    "LabelSet",
    "Published",
    "guess_dataset",
    "label_set",
    "names_of",
    "published",
]

DATASETS: dict[str, DataSet] = {entry.name: entry for entry in (LIP, CIHP, ATR, PPP, VOC, MHP, CUSTOM)}
"""By short name, the order of every list and message.

Of two with as many classes, a checkpoint is taken for the first; of two whose layout a folder has, it is the last:
LIP's, which others are stored in, comes first and counts least.
"""
LABEL_SETS: dict[str, LabelSet] = {name: entry.labels for name, entry in DATASETS.items() if not entry.own_classes}
"""The classes of the published ones."""
PUBLISHED: tuple[Published, ...] = tuple(figure for entry in DATASETS.values() for figure in entry.published)
"""Every published figure. For one network and metric, the one that stands first is the one to compare with."""
NOISE = (
    "Two trainings of one recipe differ by about 0.5 points: sssegmentation's four runs on LIP scatter by up to 0.65."
)


def names_of(
    *, layout: bool = False, people: bool = False, instances: bool = False, published: bool = False
) -> tuple[str, ...]:
    """Short names of the data sets that have what is asked for, in order."""
    return tuple(
        name
        for name, entry in DATASETS.items()
        if (not layout or entry.layout) and (not people or entry.people) and (not instances or entry.has_instances)
        if not (published and entry.own_classes)
    )


def label_set(dataset: str) -> LabelSet:
    """The classes of a published data set by its short name. Raises ConfigError for an unknown one."""
    try:
        return LABEL_SETS[dataset]
    except KeyError:
        raise ConfigError(f"unknown dataset {dataset!r}; expected one of {', '.join(LABEL_SETS)}") from None


def guess_dataset(num_classes: int) -> LabelSet:
    """The classes that a checkpoint with so many was most likely trained on (20: LIP's rather than CIHP's).

    A count that no published data set has gets numbered names, so that networks with classes of one's own work, too.
    """
    numbered = LabelSet("custom", "custom", ("Background", *(f"class {i}" for i in range(1, num_classes))))
    return next((labels for labels in LABEL_SETS.values() if labels.num_classes == num_classes), numbered)


def published(family: str, dataset: str, backbone: str, stride: int) -> tuple[Published, ...]:
    """Every figure of one network; for each metric the one to compare with comes first. Empty where none is known."""
    row = (family, dataset, backbone, stride)
    return tuple(f for f in PUBLISHED if (f.family, f.dataset, f.backbone, f.stride) == row)
