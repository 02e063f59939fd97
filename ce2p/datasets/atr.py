"""ATR (Liang et al., 2015): one person in each picture, 18 classes.

`JPEGImages`, `SegmentationClassAug`, `{split}_id.txt`, as sssegmentation packs it.
"""

from pathlib import Path

from .entry import DataSet, Folders, LabelSet, Layout, SyntheticPeople, figures, sssegmentation


def _folders(root: Path, split: str) -> Folders:
    return Folders(root / f"{split}_id.txt", root / "JPEGImages", root / "SegmentationClassAug")


ATR = DataSet(
    labels=LabelSet.of(
        "atr",
        "ATR",
        "Background, Hat, Hair, Sunglasses, Upper-clothes, Skirt, Pants, Dress, Belt, Left-shoe, Right-shoe, Face, "
        "Left-leg, Right-leg, Left-arm, Right-arm, Bag, Scarf",
    ),
    layout=Layout(
        folders=_folders,
        recognised=lambda root: all((root / name).is_dir() for name in ("JPEGImages", "SegmentationClassAug")),
    ),
    # Coats are Upper-clothes; a glove is its arm and a sock its leg; the sash of a dress is a Belt; jumpsuits are a top
    # and trousers of one cloth.
    people=SyntheticPeople(
        classes={"Coat": "Upper-clothes", "Jumpsuits": "Upper-clothes", "Glove": "{side}-arm", "Socks": "{side}-leg"},
        regions={("Jumpsuits", region): "Pants" for region in ("hips", "left_leg", "right_leg")}
        | {("Dress", "belt"): "Belt", ("Jumpsuits", "belt"): "Belt", ("Background", "bag"): "Bag"},
    ),
    input_sizes={"schp": 512},
    published=(
        *sssegmentation("atr", "ssseg", "eb1878c1, docs/modelzoo/ce2p/README.md", "78.02 77.62 78.57 78.25"),
        *sssegmentation("atr", "ssseg-2020", "b540dee6, docs/ce2p/README.md", "78.05 77.57 78.58 78.44"),
        *figures(
            "atr",
            {("schp r101 16", "GoGoDuck912/Self-Correction-Human-Parsing eb84c43, README"): ("mIoU 82.29 test split",)},
        ),
    ),
)
