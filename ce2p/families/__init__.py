"""Model families: one module each, and what follows from all of them. A new one is a module and its line here.

How each prepares a picture and reads its network's output was read in the public code. Quirks are kept, because the
published weights were trained with them.
"""

from __future__ import annotations

from collections.abc import Collection

from ce2p_runtime.label_conventions import PASCAL_PALETTE, Colour

from ..datasets import DATASETS, LabelSet
from .ce2p import CE2P
from .entry import Family, Preprocessing
from .mce2p import MCE2P
from .schp import SCHP
from .ssseg import SSSEG
from .ssseg_2020 import SSSEG_2020

__all__ = [
    "DEFAULT_FAMILY",
    "FAMILIES",
    "Family",
    "Preprocessing",
    "default_input_size",
    "palette_for",
    "preprocessing_for",
    "recognise",
]

FAMILIES: dict[str, Family] = {entry.name: entry for entry in (SSSEG, SSSEG_2020, CE2P, SCHP, MCE2P)}
"""By name, the order of every list and message."""
DEFAULT_FAMILY = SSSEG.name


def recognise(keys: Collection[str]) -> Family | None:
    """The family whose signature the keys of a checkpoint contain, or None."""
    return next((entry for entry in FAMILIES.values() if all(key in keys for key in entry.signature)), None)


def preprocessing_for(family: str) -> Preprocessing:
    """The conventions of a family's own extractor or evaluation script."""
    return FAMILIES[family].preprocessing


def default_input_size(family: str, dataset: str) -> int:
    """Side of the square input in pixels that the family's published networks of that data set use."""
    own = DATASETS[dataset].input_sizes if dataset in DATASETS else {}
    return own.get(family, FAMILIES[family].input_size)


def palette_for(labels: LabelSet, family: str) -> tuple[Colour, ...]:
    """RGB colour of each class, as the public code of `family` paints that data set."""
    own = DATASETS[labels.dataset].colours if labels.dataset in DATASETS and FAMILIES[family].site_colours else None
    return own or PASCAL_PALETTE[: labels.num_classes]
