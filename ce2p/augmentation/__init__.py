"""Training samples from pictures: one augmentation per recipe, in NumPy and OpenCV, without torch.

`affine` is CE2P's and SCHP's, `ssseg` sssegmentation's, `crop` that of CE2P's first version and M-CE2P, and `none` what
evaluation does. Pictures stay uint8 BGR: normalising happens later, on the device.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ..errors import ConfigError
from ..labels import LabelSet
from .affine import AffineAugmentation
from .base import Augmentation, Augmented
from .crop import CropAugmentation
from .edge_maps import edge_map
from .plain import PlainAugmentation
from .ssseg import SssegAugmentation

__all__ = [
    "KINDS",
    "AffineAugmentation",
    "Augmentation",
    "Augmented",
    "CropAugmentation",
    "PlainAugmentation",
    "SssegAugmentation",
    "build_augmentation",
    "edge_map",
]

KINDS: dict[str, type[Any]] = {
    "affine": AffineAugmentation,
    "ssseg": SssegAugmentation,
    "crop": CropAugmentation,
    "none": PlainAugmentation,
}
"""Name in a recipe -> the class. Each takes the size and the label set, then its parameters by name."""

_GIVEN = ("size", "label_set")


def build_augmentation(
    name: str, parameters: Mapping[str, Any], size: tuple[int, int], labels: LabelSet
) -> Augmentation:
    """The augmentation `name` for inputs of `size` (h, w) and the classes of `labels`.

    `parameters` are fields of its class; what is left out has the published value. Raises ConfigError for an unknown
    name, an unknown parameter, or a value out of range.
    """
    if name not in KINDS:
        raise ConfigError(f"augmentation {name!r} is unknown; expected one of {', '.join(KINDS)}")
    if min(size) < 2:
        raise ConfigError(f"augmentation: the input size is {tuple(size)}, expected at least 2 pixels each way")
    known = [entry.name for entry in dataclasses.fields(KINDS[name]) if entry.init and entry.name not in _GIVEN]
    for parameter in parameters:
        if parameter not in known:
            raise ConfigError(f"augmentation {name!r} has no parameter {parameter!r}; expected {', '.join(known)}")
    augmentation: Augmentation = KINDS[name]((size[0], size[1]), labels, **parameters)
    return augmentation
