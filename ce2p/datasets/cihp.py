"""Crowd Instance-level Human Parsing (Gong et al., ECCV 2018): several people, their parts told apart.

`{Training,Validation,Testing}/{Images,Category_ids,Human_ids,Instance_ids}` with `{split}_id.txt` inside; 7-digit ids
(shorter ones are padded, as sssegmentation does). Also inside a folder `instance-level_human_parsing`, as in M-CE2P's
paths.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from .entry import DataSet, Folders, LabelSet, Layout, Published, SyntheticPeople, inside, sssegmentation
from .lip import CLASSES, SITE_COLOURS

__all__ = ["CIHP"]

_PARTS = {"train": "Training", "val": "Validation", "test": "Testing"}
_HOMES = ("", "instance-level_human_parsing")


def _folders(root: Path, split: str) -> Folders:
    part = (inside(root, _HOMES, *_PARTS.values()) or root) / _PARTS[split]
    images, labels, humans, instances = (
        part / name for name in ("Images", "Category_ids", "Human_ids", "Instance_ids")
    )
    return Folders(part / f"{split}_id.txt", images, labels, humans, instances, digits=7)


_AUTHOR = "RanTaimu/M-CE2P issue 9, by the author"
_USER = "RanTaimu/M-CE2P issue 9, measured by a user"
_BRAIDNET = "quoted in the BraidNet paper"
_ALONE = "the global network alone"

_mce2p = partial(Published, family="mce2p", dataset="cihp", backbone="r101", stride=16)

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
    input_sizes={},
    # LIP_global_edge_110000.pth: 110,000 iterations of 40 over CIHP's 28,280 pictures.
    recipes={"mce2p": {"epochs": 156}},
    published=(
        *sssegmentation("cihp", "ssseg", "eb1878c1, docs/modelzoo/ce2p/README.md", "61.15 60.15 63.83 62.25"),
        *sssegmentation("cihp", "ssseg-2020", "b540dee6, docs/ce2p/README.md", "61.31 59.64 63.64 61.96"),
        _mce2p(metric="mIoU", value=60.45, source=_AUTHOR, note=_ALONE),
        _mce2p(metric="mIoU", value=63.59, source=_AUTHOR, note="three networks, with flipping"),
        _mce2p(metric="AP^r", value=48.92, source=_AUTHOR, note="three networks, with flipping and refinement"),
        _mce2p(metric="AP^r", value=45.31, source=_AUTHOR, note="three networks, with flipping, without refinement"),
        _mce2p(metric="AP^r", value=42.40, source=_AUTHOR, note=f"{_ALONE}, refinement"),
        _mce2p(metric="mIoU", value=59.50, source=_BRAIDNET),
        _mce2p(metric="AP^r", value=42.83, source=_BRAIDNET),
        _mce2p(metric="mIoU", value=60.94, source=_USER, note=f"{_ALONE}, with flipping"),
        _mce2p(metric="AP^r", value=44.76, source=_USER, note=f"{_ALONE}, with flipping"),
        _mce2p(metric="mIoU", value=60.74, source=_USER, note=_ALONE),
        _mce2p(metric="AP^r", value=44.48, source=_USER, note=_ALONE),
    ),
)
