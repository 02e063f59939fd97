"""A data set with classes of one's own: LIP's layout, pictures also `.png` or `.jpeg`, `classes.txt` beside them."""

from functools import partial

from .entry import DataSet, LabelSet, Layout, SyntheticPeople
from .lip import lip_folders, looks_like_lip

CUSTOM = DataSet(
    # A small data set to fine-tune on: what all garments have in common is one class.
    labels=LabelSet.of(
        "custom",
        "Synthetic people, few classes",
        "Background, Hair, Face, Clothes, Left-arm, Right-arm, Left-leg, Right-leg, Shoes",
    ),
    own_classes=True,
    layout=Layout(
        folders=partial(lip_folders, suffixes=(".jpg", ".jpeg", ".png")),
        recognised=lambda root: looks_like_lip(root) and (root / "classes.txt").is_file(),
    ),
    people=SyntheticPeople(
        classes={
            "Sunglasses": "Face",
            "Left-shoe": "Shoes",
            "Right-shoe": "Shoes",
            "Glove": "{side}-arm",
            "Socks": "{side}-leg",
            "*": "Clothes",
        }
    ),
)
