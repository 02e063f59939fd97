"""What makes one CE2P network differ from another: five public families, one small description.

Sources: liutinglt/CE2P networks/CE2P.py (`ce2p`), GoGoDuck912/Self-Correction-Human-Parsing networks/AugmentCE2P.py
(`schp`), RanTaimu/M-CE2P models.py (`mce2p`), sssegmentation ssseg/modules/models/ at 7f4b9a1d (`ssseg-2020`) and in
its current form (`ssseg`).
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import Any, Literal, get_args

from ..errors import ConfigError

__all__ = ["BACKBONES", "FAMILIES", "Backbone", "CE2PConfig", "Family", "model_names", "parse_model_name"]

Family = Literal["ssseg", "ssseg-2020", "ce2p", "schp", "mce2p"]
Backbone = Literal["r18", "r50", "r101"]

FAMILIES: tuple[Family, ...] = get_args(Family)
BACKBONES: tuple[Backbone, ...] = get_args(Backbone)


_FLAGS = ("ceil_pool", "half_dilated_first_block", "align_corners", "pyramid_input_first", "lateral")
_WIDTHS = ("pyramid_width", "edge_width", "decoder_width", "shortcut_width", "base_width")
_MOST_CHANNELS = 4096


@dataclass(frozen=True)
class CE2PConfig:
    """Everything needed to build a network. Use `CE2PConfig.of(family, ...)`: the family fills the rest in."""

    family: Family
    backbone: Backbone
    output_stride: Literal[8, 16]
    num_classes: int

    stem: Literal["deep-128", "deep-64", "7x7"]
    """`deep-128`: 3x3 convolutions 64, 64, 128. `deep-64`: 32, 32, 64. `7x7`: one 7x7 convolution, 64."""
    ceil_pool: bool
    """Round the size after max pooling up: S/4+1 instead of S/4 where S divides by 4."""
    half_dilated_first_block: bool
    """The first block of a dilated stage has half that stage's dilation."""
    align_corners: bool
    """Convention of every bilinear interpolation."""
    pyramid_input_first: bool
    """Order of the pyramid's concatenation: [x, 1, 2, 3, 6] if set, else [1, 2, 3, 6, x]."""
    lateral: bool
    """A 1x1 convolution narrows the pyramid's output to the decoder's width before upsampling."""
    fusion_layers: Literal[1, 2]
    """Convolutions of the fusion before its classifier."""
    head_slope: float
    """Negative slope of the activations in edge head, decoder and fusion: 0.01, or 0 where they are ReLUs."""
    dropout: float
    """Channel dropout before the final classifier, while training."""
    pyramid_width: int = 512
    edge_width: int = 256
    decoder_width: int = 256
    shortcut_width: int = 48
    base_width: int = 64
    """Channels of the backbone's first stage (before expansion)."""

    def __post_init__(self) -> None:
        for name, allowed in (
            ("family", FAMILIES),
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
        if family not in _FAMILY_TRAITS:
            raise ConfigError(f"unknown family {family!r}; expected one of {', '.join(FAMILIES)}")
        traits = dict(_FAMILY_TRAITS[family])
        if backbone == "r18":
            wide = traits.get("decoder_width") == 512
            traits |= {"base_width": 32, "pyramid_width": 128, "edge_width": 64, "shortcut_width": 24}
            traits |= {"decoder_width": 128 if wide else 64}
        return cls(family, backbone, output_stride, num_classes, **traits)  # type: ignore[arg-type]

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

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


_CE2P_TRAITS: dict[str, Any] = {
    "stem": "deep-128",
    "ceil_pool": False,
    "half_dilated_first_block": False,
    "align_corners": True,
    "pyramid_input_first": False,
    "lateral": True,
    "fusion_layers": 1,
    "head_slope": 0.01,
    "dropout": 0.1,
}
_SSSEG_2020_TRAITS = _CE2P_TRAITS | {
    "stem": "deep-64",
    "half_dilated_first_block": True,
    "align_corners": False,
    "pyramid_input_first": True,
}
_FAMILY_TRAITS: dict[str, dict[str, Any]] = {
    "ce2p": _CE2P_TRAITS,
    "schp": _CE2P_TRAITS,
    "mce2p": _CE2P_TRAITS | {"stem": "7x7", "ceil_pool": True, "head_slope": 0.0, "dropout": 0.0},
    "ssseg-2020": _SSSEG_2020_TRAITS,
    "ssseg": _SSSEG_2020_TRAITS | {"lateral": False, "fusion_layers": 2, "decoder_width": 512},
}

_MODEL_NAME = re.compile(r"(voc|lip|cihp|atr|ppp|custom)-(r18|r50|r101)-os(8|16)")


def parse_model_name(name: str) -> tuple[str, Backbone, int]:
    """`lip-r101-os16` -> ("lip", "r101", 16). Raises ConfigError with the pattern when it is no model name.

    The dataset `custom` is the user's own: its classes stand beside the pictures (`ce2p.labels.read_label_set`).
    """
    match = _MODEL_NAME.fullmatch(name)
    if match is None:
        raise ConfigError(
            f"{name!r} is neither a file nor a model name; expected <dataset>-<backbone>-os<stride> with dataset "
            "voc|lip|cihp|atr|ppp|custom, backbone r18|r50|r101, stride 8|16, e.g. lip-r101-os16"
        )
    dataset, backbone, stride = match.groups()
    return dataset, backbone, int(stride)  # type: ignore[return-value]


def model_names() -> tuple[str, ...]:
    """Every named model: the sixteen rows of the result tables, Pascal-Person-Part, and the tiny ones."""
    return tuple(
        f"{dataset}-{backbone}-os{stride}"
        for dataset in ("voc", "lip", "cihp", "atr", "ppp")
        for backbone in BACKBONES
        for stride in (8, 16)
    )
