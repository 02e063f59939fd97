"""Other data sets' classes for what the painter calls by LIP's names: `SyntheticPeople`'s rules as a table."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..datasets import DATASETS, LabelSet
from ..datasets.entry import SyntheticPeople
from ..errors import ConfigError
from ..labels import LABEL_SETS
from .lip import Lip
from .regions import Region

Table: TypeAlias = NDArray[np.uint8]
"""Class ids of another data set by LIP class and region, (20, regions)."""


@cache
def class_table(dataset: str) -> Table:
    """Return the ids of `dataset` for every LIP class in every region; index it with two maps for a third.

    Raises `ConfigError` where a rule names something unknown, or no rule says what a LIP class is.
    """
    labels, people = DATASETS[dataset].labels, DATASETS[dataset].people
    if people is None:
        raise ConfigError(f"{dataset}: has no synthetic people")
    _check_names(dataset, people)
    table = np.zeros((len(Lip), len(Region)), np.uint8)
    for label in Lip:
        for region, name in _rules(labels, people, label):
            if name not in labels.names:
                raise ConfigError(f"{dataset}: synthetic people have the class {name!r}, which the data set lacks")
            table[label, region] = labels.names.index(name)
    table.setflags(write=False)
    return table


def _check_names(dataset: str, people: SyntheticPeople) -> None:
    """Raise `ConfigError` for a rule about what the painter does not paint: a slip that would have no effect."""
    known, regions = LABEL_SETS["lip"].names, {region.name.lower() for region in Region}
    odd = {*people.classes} - {*known, "*"} | {of for of, _ in people.regions} - {*known}
    if odd := odd | {region for _, region in people.regions} - regions:
        raise ConfigError(f"{dataset}: synthetic people have no {min(odd)!r}; expected a class of LIP or a region")


def _rules(labels: LabelSet, people: SyntheticPeople, label: Lip) -> Iterator[tuple[Region | slice, str]]:
    """Yield regions with the name of `label` there; the general rule first, then its exceptions."""
    lip_name = LABEL_SETS["lip"].names[label]
    name = people.classes.get(lip_name, lip_name if lip_name in labels.names else people.classes.get("*"))
    if name is None:
        raise ConfigError(f"{labels.dataset}: no class for the {lip_name} of synthetic people; add it to `classes`")
    if "{side}" in name:
        limb = name.removeprefix("{side}-")
        yield from ((Region[f"{side}_{limb}".upper()], name.format(side=side)) for side in ("Left", "Right"))
    else:
        yield slice(None), name
    yield from ((Region[region.upper()], name) for (of, region), name in people.regions.items() if of == lip_name)
