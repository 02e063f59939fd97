"""Other data sets' classes for what the painter calls by LIP's names.

A rule gives a LIP class a name of the other data set; an exception does so only in one `Region`. ATR and CIHP have no
class for jumpsuits, which become a top and trousers of one cloth; gloves and socks, where there is no class for them,
are the arm and the leg they are on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..labels import LabelSet, label_set
from .lip import Lip
from .regions import Region

__all__ = ["ATR_TABLE", "CIHP_TABLE", "CUSTOM_LABELS", "CUSTOM_TABLE", "Table", "translate"]

Table: TypeAlias = NDArray[np.uint8]
"""Class ids of another data set by LIP class and region, (20, regions)."""

Rules: TypeAlias = Mapping[Lip, str]
Exceptions: TypeAlias = Mapping[tuple[Lip, Region], str]

CUSTOM_LABELS: Final = LabelSet(
    "custom",
    "Synthetic people, few classes",
    (
        "Background",
        "Hair",
        "Face",
        "Clothes",
        "Left-arm",
        "Right-arm",
        "Left-leg",
        "Right-leg",
        "Shoes",
    ),
    ((4, 5), (6, 7)),
)
"""A small data set of one's own: what all garments have in common is one class."""


def translate(labels: NDArray[np.uint8], regions: NDArray[np.uint8], table: Table) -> NDArray[np.uint8]:
    """Return another data set's class of every pixel, uint8 (H, W), from `Lip` labels and regions of that shape."""
    return np.asarray(table[labels, regions])


def _table(names: tuple[str, ...], rules: Rules, exceptions: Exceptions) -> Table:
    table = np.zeros((len(Lip), len(Region)), np.uint8)
    for label, name in rules.items():
        table[label] = names.index(name)
    for (label, region), name in exceptions.items():
        table[label, region] = names.index(name)
    table.setflags(write=False)
    return table


def _on_limb(label: Lip, limb: str) -> dict[tuple[Lip, Region], str]:
    """Return the exceptions that give a garment to the arm or leg it is on."""
    return {(label, Region[f"{side}_{limb}".upper()]): f"{side}-{limb}" for side in ("Left", "Right")}


_SAME: Final = {
    Lip.BACKGROUND: "Background",
    Lip.HAT: "Hat",
    Lip.HAIR: "Hair",
    Lip.SUNGLASSES: "Sunglasses",
    Lip.UPPER_CLOTHES: "Upper-clothes",
    Lip.DRESS: "Dress",
    Lip.PANTS: "Pants",
    Lip.JUMPSUITS: "Upper-clothes",
    Lip.SCARF: "Scarf",
    Lip.SKIRT: "Skirt",
    Lip.FACE: "Face",
    Lip.LEFT_ARM: "Left-arm",
    Lip.RIGHT_ARM: "Right-arm",
    Lip.LEFT_LEG: "Left-leg",
    Lip.RIGHT_LEG: "Right-leg",
    Lip.LEFT_SHOE: "Left-shoe",
    Lip.RIGHT_SHOE: "Right-shoe",
}
_JUMPSUIT_LEGS: Final = {
    (Lip.JUMPSUITS, region): "Pants" for region in (Region.HIPS, Region.LEFT_LEG, Region.RIGHT_LEG)
}

CIHP_TABLE: Final = _table(
    label_set("cihp").names,
    _SAME | {Lip.GLOVE: "Glove", Lip.COAT: "Coat", Lip.SOCKS: "Socks"},
    _JUMPSUIT_LEGS | {(Lip.FACE, Region.NECK): "Torso-skin"},
)
"""As LIP, but neck and neckline are Torso-skin."""

ATR_TABLE: Final = _table(
    label_set("atr").names,
    _SAME | {Lip.COAT: "Upper-clothes"},
    _JUMPSUIT_LEGS
    | _on_limb(Lip.GLOVE, "arm")
    | _on_limb(Lip.SOCKS, "leg")
    | {(Lip.DRESS, Region.BELT): "Belt", (Lip.JUMPSUITS, Region.BELT): "Belt", (Lip.BACKGROUND, Region.BAG): "Bag"},
)
"""Coats are Upper-clothes; a glove is its arm and a sock its leg; the sash of a dress is a Belt."""

_CLOTHES: Final = (
    Lip.HAT,
    Lip.UPPER_CLOTHES,
    Lip.DRESS,
    Lip.COAT,
    Lip.PANTS,
    Lip.JUMPSUITS,
    Lip.SCARF,
    Lip.SKIRT,
)

CUSTOM_TABLE: Final = _table(
    CUSTOM_LABELS.names,
    {Lip[name.replace("-", "_").upper()]: name for name in CUSTOM_LABELS.names if name not in ("Clothes", "Shoes")}
    | dict.fromkeys(_CLOTHES, "Clothes")
    | {Lip.SUNGLASSES: "Face", Lip.LEFT_SHOE: "Shoes", Lip.RIGHT_SHOE: "Shoes"},
    _on_limb(Lip.GLOVE, "arm") | _on_limb(Lip.SOCKS, "leg"),
)
