"""Crowd Instance-level Human Parsing (Gong et al., ECCV 2018): several people, their parts told apart.

`{Training,Validation,Testing}/{Images,Category_ids,Human_ids,Instance_ids}` with `{split}_id.txt` inside; 7-digit ids
(shorter ones are padded, as sssegmentation does). Also inside a folder `instance-level_human_parsing`, as in M-CE2P's
paths.
"""

from pathlib import Path

from .entry import DataSet, Folders, LabelSet, Layout, SyntheticPeople, figures, inside, sssegmentation
from .lip import CLASSES, SITE_COLOURS

_PARTS = {"train": "Training", "val": "Validation", "test": "Testing"}
_HOMES = ("", "instance-level_human_parsing")


def _folders(root: Path, split: str) -> Folders:
    part = (inside(root, _HOMES, *_PARTS.values()) or root) / _PARTS[split]
    images, labels, humans, instances = (
        part / name for name in ("Images", "Category_ids", "Human_ids", "Instance_ids")
    )
    return Folders(part / f"{split}_id.txt", images, labels, humans, instances, digits=7)


CIHP = DataSet(
    labels=LabelSet.of("cihp", "Crowd Instance-level Human Parsing", CLASSES.replace("Jumpsuits", "Torso-skin")),
    colours=SITE_COLOURS,
    layout=Layout(folders=_folders, recognised=lambda root: inside(root, _HOMES, *_PARTS.values()) is not None),
    # As LIP, but neck and neckline are Torso-skin, and jumpsuits a top and trousers of one cloth.
    people=SyntheticPeople(
        classes={"Jumpsuits": "Upper-clothes"},
        regions={("Jumpsuits", region): "Pants" for region in ("hips", "left_leg", "right_leg")}
        | {("Face", "neck"): "Torso-skin"},
    ),
    # LIP_global_edge_110000.pth: 110,000 iterations of 40 over CIHP's 28,280 pictures.
    recipes={"mce2p": {"epochs": 156}},
    published=(
        *sssegmentation("cihp", "ssseg", "eb1878c1, docs/modelzoo/ce2p/README.md", "61.15 60.15 63.83 62.25"),
        *sssegmentation("cihp", "ssseg-2020", "b540dee6, docs/ce2p/README.md", "61.31 59.64 63.64 61.96"),
        *figures(
            "cihp",
            {
                ("mce2p r101 16", "RanTaimu/M-CE2P issue 9, by the author"): (
                    "mIoU 60.45 the global network alone",
                    "mIoU 63.59 three networks, with flipping",
                    "AP^r 48.92 three networks, with flipping and refinement",
                    "AP^r 45.31 three networks, with flipping, without refinement",
                    "AP^r 42.40 the global network alone, refinement",
                ),
                ("mce2p r101 16", "quoted in the BraidNet paper"): ("mIoU 59.50", "AP^r 42.83"),
                ("mce2p r101 16", "RanTaimu/M-CE2P issue 9, measured by a user"): (
                    "mIoU 60.94 the global network alone, with flipping",
                    "AP^r 44.76 the global network alone, with flipping",
                    "mIoU 60.74 the global network alone",
                    "AP^r 44.48 the global network alone",
                ),
            },
        ),
    ),
)
