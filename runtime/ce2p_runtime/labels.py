"""Label sets: class names, palettes and left/right pairs of every dataset, in one place.

Names and orders follow the published annotations (LIP, CIHP, ATR, Pascal-Person-Part, PASCAL VOC, MHP v2).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from .base.typed_json import is_text
from .errors import ConfigError

__all__ = [
    "IGNORE",
    "LABEL_SETS",
    "MOST_NAME",
    "PASCAL_PALETTE",
    "LabelSet",
    "label_set",
    "palette_for",
    "pascal_colour",
]

Colour = tuple[int, int, int]

IGNORE = 255
"""The label of pixels that no loss and no metric counts."""
MOST_NAME = 200
"""Characters of a class's or data set's name."""


@dataclass(frozen=True)
class LabelSet:
    """The classes of one dataset. Index = class id in label maps; 255 is "ignore" in annotations."""

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


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(","))


_LIP = (
    "Background, Hat, Hair, Glove, Sunglasses, Upper-clothes, Dress, Coat, Socks, Pants, {}, Scarf, Skirt, Face, "
    "Left-arm, Right-arm, Left-leg, Right-leg, Left-shoe, Right-shoe"
)
_LIP_PAIRS = ((14, 15), (16, 17), (18, 19))

LABEL_SETS: dict[str, LabelSet] = {
    labels.dataset: labels
    for labels in (
        LabelSet("lip", "Look into Person", _names(_LIP.format("Jumpsuits")), _LIP_PAIRS),
        LabelSet("cihp", "Crowd Instance-level Human Parsing", _names(_LIP.format("Torso-skin")), _LIP_PAIRS),
        LabelSet(
            "atr",
            "ATR",
            _names(
                "Background, Hat, Hair, Sunglasses, Upper-clothes, Skirt, Pants, Dress, Belt, Left-shoe, Right-shoe, "
                "Face, Left-leg, Right-leg, Left-arm, Right-arm, Bag, Scarf"
            ),
            ((9, 10), (12, 13), (14, 15)),
        ),
        LabelSet(
            "ppp",
            "Pascal-Person-Part",
            _names("Background, Head, Torso, Upper Arms, Lower Arms, Upper Legs, Lower Legs"),
        ),
        LabelSet(
            "voc",
            "PASCAL VOC",
            _names(
                "background, aeroplane, bicycle, bird, boat, bottle, bus, car, cat, chair, cow, diningtable, dog, "
                "horse, motorbike, person, pottedplant, sheep, sofa, train, tvmonitor"
            ),
        ),
        LabelSet(
            "mhp",
            "Multi-Human Parsing v2",
            _names(
                "Background, Cap/hat, Helmet, Face, Hair, Left-arm, Right-arm, Left-hand, Right-hand, Protector, "
                "Bikini/bra, Jacket/windbreaker/hoodie, Tee-shirt, Polo-shirt, Sweater, Singlet, Torso-skin, Pants, "
                "Shorts/swim-shorts, Skirt, Stockings, Socks, Left-boot, Right-boot, Left-shoe, Right-shoe, "
                "Left-highheel, Right-highheel, Left-sandal, Right-sandal, Left-leg, Right-leg, Left-foot, Right-foot, "
                "Coat, Dress, Robe, Jumpsuit, Other-full-body-clothes, Headwear, Backpack, Ball, Bats, Belt, Bottle, "
                "Carrybag, Cases, Sunglasses, Eyewear, Glove, Scarf, Umbrella, Wallet/purse, Watch, Wristband, Tie, "
                "Other-accessary, Other-upper-body-clothes, Other-lower-body-clothes"
            ),
            ((5, 6), (7, 8), (22, 23), (24, 25), (26, 27), (28, 29), (30, 31), (32, 33)),
        ),
    )
}

# The colours of the LIP site, which M-CE2P and sssegmentation paint with; everyone else uses the PASCAL colour map.
_LIP_SITE_PALETTE: tuple[Colour, ...] = (
    (0, 0, 0),
    (128, 0, 0),
    (255, 0, 0),
    (0, 85, 0),
    (170, 0, 51),
    (255, 85, 0),
    (0, 0, 85),
    (0, 119, 221),
    (85, 85, 0),
    (0, 85, 85),
    (85, 51, 0),
    (52, 86, 128),
    (0, 128, 0),
    (0, 0, 255),
    (51, 170, 221),
    (0, 255, 255),
    (85, 255, 170),
    (170, 255, 85),
    (255, 255, 0),
    (255, 170, 0),
)
_LIP_SITE_FAMILIES = frozenset({"ssseg", "ssseg-2020", "mce2p"})


def pascal_colour(label: int) -> Colour:
    """PASCAL VOC's colour map: the label's bits, three by three, become the high bits of red, green and blue."""
    red = green = blue = 0
    for bit in range(7, -1, -1):
        red |= (label & 1) << bit
        green |= (label >> 1 & 1) << bit
        blue |= (label >> 2 & 1) << bit
        label >>= 3
    return red, green, blue


PASCAL_PALETTE: tuple[Colour, ...] = tuple(pascal_colour(label) for label in range(256))
"""The colour of each label there can be."""


def palette_for(labels: LabelSet, family: str) -> tuple[Colour, ...]:
    """RGB colour of each class, as the public code of `family` paints that dataset."""
    if family in _LIP_SITE_FAMILIES and labels.dataset in {"lip", "cihp"}:
        return _LIP_SITE_PALETTE
    return PASCAL_PALETTE[: labels.num_classes]


def label_set(dataset: str) -> LabelSet:
    """The label set of a dataset by its short name. Raises ConfigError for an unknown one."""
    try:
        return LABEL_SETS[dataset]
    except KeyError:
        raise ConfigError(f"unknown dataset {dataset!r}; expected one of {', '.join(LABEL_SETS)}") from None
