"""The description of one network: a family's wiring, a backbone, an output stride and a number of classes."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_type_hints

from ..datasets import names_of
from ..errors import ConfigError
from ..families import FAMILIES
from ..families.entry import Wiring

Backbone = Literal["r18", "r50", "r101"]

BACKBONES: tuple[Backbone, ...] = get_args(Backbone)

_MOST_CHANNELS = 4096


@dataclass(frozen=True)
class CE2PConfig(Wiring):
    """Everything needed to build a network. Use `CE2PConfig.of(family, ...)`: the family fills the rest in."""

    family: str
    backbone: Backbone
    output_stride: Literal[8, 16]
    num_classes: int

    def __post_init__(self) -> None:
        for name, hint in get_type_hints(type(self)).items():
            value = getattr(self, name)
            choices = tuple(FAMILIES) if name == "family" else (False, True) if hint is bool else get_args(hint)
            if choices:
                good = type(value) is type(choices[0]) and value in choices  # to Python 1, 1.0 and True are the same
                expected = f"one of {choices}"
            elif name == "num_classes":
                good = type(value) is int and 2 <= value <= 255
                expected = "2 to 255 (labels are uint8, 255 is ignore)"
            elif hint is int:
                good = type(value) is int and 1 <= value <= _MOST_CHANNELS
                expected = f"1 to {_MOST_CHANNELS} channels"
            else:
                good = type(value) in (int, float) and 0 <= value < 1
                expected = "a number from 0 to below 1"
            if not good:
                raise ConfigError(f"{name} is {value!r:.40}, expected {expected}")

    @classmethod
    def of(cls, family: str, backbone: str, output_stride: int, num_classes: int) -> CE2PConfig:
        """The configuration of a family's network. `r18` is the tiny one: half as wide, with a quarter-width head."""
        if family not in FAMILIES:
            raise ConfigError(f"unknown family {family!r}; expected one of {', '.join(FAMILIES)}")
        wiring = dataclasses.asdict(FAMILIES[family].wiring)
        if backbone == "r18":
            wiring |= {f"{part}_width": wiring[f"{part}_width"] // 2 for part in ("base", "shortcut")}
            wiring |= {f"{part}_width": wiring[f"{part}_width"] // 4 for part in ("pyramid", "edge", "decoder")}
        return cls(family, backbone, output_stride, num_classes, **wiring)  # type: ignore[arg-type]

    def to_dict(self) -> dict[str, Any]:
        """Plain types, for files; what the family does not decide stands first."""
        fields = dataclasses.asdict(self)
        own = ("family", "backbone", "output_stride", "num_classes")
        return {name: fields[name] for name in own} | fields

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> CE2PConfig:
        """Inverse of `to_dict`. Raises ConfigError when a field is missing or unknown."""
        if unknown := fields.keys() - {field.name for field in dataclasses.fields(cls)}:
            raise ConfigError(f"configuration does not fit this version of ce2p: unknown field {min(unknown)!r:.80}")
        try:
            return cls(**fields)
        except TypeError as error:
            raise ConfigError(f"configuration does not fit this version of ce2p: {error}") from None

    @property
    def name(self) -> str:
        return f"{self.family} {self.backbone} os{self.output_stride}"


def parse_model_name(name: str) -> tuple[str, Backbone, int]:
    """`lip-r101-os16` -> ("lip", "r101", 16). Raises ConfigError with the pattern when it is no model name.

    The data set `custom` is the user's own: its classes stand beside the pictures (`ce2p.labels.read_label_set`).
    """
    datasets, backbones = "|".join(names_of(layout=True)), "|".join(BACKBONES)
    match = re.fullmatch(rf"({datasets})-({backbones})-os(8|16)", name)
    if match is None:
        raise ConfigError(
            f"{name!r} is neither a file nor a model name; expected <dataset>-<backbone>-os<stride> with dataset "
            f"{datasets}, backbone {backbones}, stride 8|16, e.g. lip-r101-os16"
        )
    dataset, backbone, stride = match.groups()
    return dataset, backbone, int(stride)  # type: ignore[return-value]


def model_names() -> tuple[str, ...]:
    """Every named model: each published data set with every backbone, the tiny one included, and stride."""
    return tuple(
        f"{dataset}-{backbone}-os{stride}"
        for dataset in names_of(layout=True, published=True)
        for backbone in BACKBONES
        for stride in (8, 16)
    )
