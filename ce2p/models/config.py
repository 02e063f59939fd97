"""The description of one network: a family's wiring, a backbone, an output stride and a number of classes."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import Any, Literal, get_args

from ..datasets import DATASETS, names_of
from ..errors import ConfigError
from ..families import FAMILIES
from ..families.entry import Wiring

__all__ = ["BACKBONES", "Backbone", "CE2PConfig", "model_names", "parse_model_name"]

Backbone = Literal["r18", "r50", "r101"]

BACKBONES: tuple[Backbone, ...] = get_args(Backbone)

_FLAGS = ("ceil_pool", "half_dilated_first_block", "align_corners", "pyramid_input_first", "lateral")
_WIDTHS = ("pyramid_width", "edge_width", "decoder_width", "shortcut_width", "base_width")
_MOST_CHANNELS = 4096


@dataclass(frozen=True)
class CE2PConfig(Wiring):
    """Everything needed to build a network. Use `CE2PConfig.of(family, ...)`: the family fills the rest in."""

    family: str
    backbone: Backbone
    output_stride: Literal[8, 16]
    num_classes: int

    def __post_init__(self) -> None:
        for name, allowed in (
            ("family", tuple(FAMILIES)),
            ("backbone", BACKBONES),
            ("output_stride", (8, 16)),
            ("stem", ("deep-128", "deep-64", "7x7")),
            ("fusion_layers", (1, 2)),
            *((flag, (False, True)) for flag in _FLAGS),
        ):
            value = getattr(self, name)
            if type(value) is not type(allowed[0]) or value not in allowed:  # to Python 1, 1.0 and True are the same
                raise ConfigError(f"{name} is {value!r:.40}, expected one of {allowed}")
        if type(self.num_classes) is not int or not 2 <= self.num_classes <= 255:
            raise ConfigError(
                f"num_classes is {self.num_classes!r:.40}, expected 2 to 255 (labels are uint8, 255 is ignore)"
            )
        for name in _WIDTHS:
            if type(getattr(self, name)) is not int or not 1 <= getattr(self, name) <= _MOST_CHANNELS:
                raise ConfigError(f"{name} is {getattr(self, name)!r:.40}, expected 1 to {_MOST_CHANNELS} channels")
        for name in ("head_slope", "dropout"):
            if type(getattr(self, name)) not in (int, float) or not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)!r:.40}, expected a number from 0 to below 1")

    @classmethod
    def of(cls, family: str, backbone: str, output_stride: int, num_classes: int) -> CE2PConfig:
        """The configuration of a family's network. `r18` is the tiny one: half as wide, with a quarter-width head."""
        if family not in FAMILIES:
            raise ConfigError(f"unknown family {family!r}; expected one of {', '.join(FAMILIES)}")
        wiring = dataclasses.asdict(FAMILIES[family].wiring)
        if backbone == "r18":
            wide = wiring["decoder_width"] == 512
            wiring |= {"base_width": 32, "pyramid_width": 128, "edge_width": 64, "shortcut_width": 24}
            wiring |= {"decoder_width": 128 if wide else 64}
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
        for dataset in names_of(layout=True)
        if not DATASETS[dataset].own_classes
        for backbone in BACKBONES
        for stride in (8, 16)
    )
