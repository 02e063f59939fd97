"""Label sets: class names, palettes and left/right pairs of every dataset, in one place.

Names and orders follow the published annotations (LIP, CIHP, ATR, Pascal-Person-Part, PASCAL VOC, MHP v2).
"""

from __future__ import annotations

import dataclasses
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import ConfigError, DataError

__all__ = [
    "IGNORE",
    "LABEL_SETS",
    "LabelSet",
    "guess_dataset",
    "is_plain",
    "label_set",
    "labels_in",
    "palette_for",
    "pascal_colour",
    "read_label_set",
]

Colour = tuple[int, int, int]

IGNORE = 255
"""The label of pixels that no loss and no metric counts."""


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
        if not all(is_plain(text) for text in (dataset, title or "none", *names)):  # the folder "." has no name
            raise ValueError("a label set's names are not all texts of 1 to 200 characters that can be shown")
        if isinstance(fields["names"], str) or len(set(names)) < len(names):
            raise ValueError(f"names is {fields['names']!r:.40}, expected a list of different ones")
        if not all(type(index) is int for pair in pairs for index in pair):
            raise ValueError(f"flip_pairs is {pairs!r:.40}, expected pairs of whole numbers")
        return cls(dataset, title or dataset, names, pairs)


_UNPRINTABLE = {"Cc", "Cs", "Zl", "Zp"}
"""Control characters, halves of characters, separators of lines and paragraphs."""
_REORDERING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def is_plain(text: object, most: int = 200) -> bool:
    """Whether this is a text of 1 to `most` characters that can be shown, as the metadata of exported files asks."""
    return (
        isinstance(text, str)
        and 0 < len(text) <= most
        and _REORDERING.isdisjoint(text)
        and not any(unicodedata.category(letter) in _UNPRINTABLE for letter in text)
    )


_MOST_BYTES = 2**18
"""Of a classes.txt: room for 255 names of 200 characters."""


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
    (0, 0, 0), (128, 0, 0), (255, 0, 0), (0, 85, 0), (170, 0, 51), (255, 85, 0), (0, 0, 85), (0, 119, 221),
    (85, 85, 0), (0, 85, 85), (85, 51, 0), (52, 86, 128), (0, 128, 0), (0, 0, 255), (51, 170, 221), (0, 255, 255),
    (85, 255, 170), (170, 255, 85), (255, 255, 0), (255, 170, 0),
)  # fmt: skip
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


def palette_for(labels: LabelSet, family: str) -> tuple[Colour, ...]:
    """RGB colour of each class, as the public code of `family` paints that dataset."""
    if family in _LIP_SITE_FAMILIES and labels.dataset in {"lip", "cihp"}:
        return _LIP_SITE_PALETTE
    return tuple(pascal_colour(label) for label in range(labels.num_classes))


def label_set(dataset: str) -> LabelSet:
    """The label set of a dataset by its short name. Raises ConfigError for an unknown one."""
    try:
        return LABEL_SETS[dataset]
    except KeyError:
        raise ConfigError(f"unknown dataset {dataset!r}; expected one of {', '.join(LABEL_SETS)}") from None


def guess_dataset(num_classes: int) -> LabelSet:
    """The dataset a checkpoint with that many classes was most likely trained on (20: LIP rather than CIHP).

    A count that no published dataset has gets numbered names, so that custom networks work too.
    """
    for labels in LABEL_SETS.values():
        if labels.num_classes == num_classes:
            return labels
    return LabelSet("custom", "custom", ("Background", *(f"class {i}" for i in range(1, num_classes))))


def read_label_set(root: Path) -> LabelSet:
    """The classes of a custom data set from `root/classes.txt`: one name per line, class 0 (background) first.

    Names that differ only in Left and Right are a pair that changes places when a picture is mirrored.
    Raises DataError.
    """
    path = root / "classes.txt"
    if not path.is_file():
        raise DataError(f"{path}: no such file; a custom data set lists its classes there, one per line")
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not UTF-8 text, expected one class name per line; save it as UTF-8") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}), expected one class name per line") from error
    if len(data) > _MOST_BYTES:
        raise DataError(f"{path}: has more than {_MOST_BYTES:,} bytes, expected 2 to 255 class names, one per line")
    names = tuple(line.strip() for line in text.splitlines() if line.strip())
    if odd := [name for name in names if not is_plain(name)]:
        raise DataError(f"{path}: {odd[0]!r:.60} is no name, expected up to 200 characters that can be shown")
    if not 2 <= len(names) <= IGNORE or len(set(names)) < len(names):
        raise DataError(f"{path}: {len(names)} names, {len(set(names))} different; expected 2 to 255 different ones")
    opposite = {name: name.replace("Left", "Right") for name in names if "Left" in name}
    pairs = tuple((names.index(left), names.index(right)) for left, right in opposite.items() if right in names)
    title = root.resolve().name
    return LabelSet("custom", title if is_plain(title) else "custom", names, pairs)


def labels_in(dataset: str, root: Path) -> LabelSet:
    """The classes of the data set `dataset` in the folder `root`: published ones, or those of a custom classes.txt.

    Raises ConfigError for an unknown data set, DataError as `read_label_set` and where a classes.txt in the folder of a
    published data set lists other classes than that has.
    """
    if dataset == "custom":
        return read_label_set(root)
    labels = label_set(dataset)
    if (root / "classes.txt").is_file():
        own = read_label_set(root)
        if [name.casefold() for name in own.names] != [name.casefold() for name in labels.names]:
            raise DataError(
                f"{root / 'classes.txt'}: lists {own.num_classes} classes ({', '.join(own.names[:3])}, ...), "
                f"{labels.title} has {labels.num_classes} others; take `custom` as the data set (--dataset custom; the "
                "model custom-r18-os16 and the like), or remove the file"
            )
    return labels
