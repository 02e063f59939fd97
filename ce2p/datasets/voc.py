"""PASCAL VOC 2012: twenty kinds of objects, people among them.

`JPEGImages`, `SegmentationClass`, `ImageSets/Segmentation/{split}.txt`; its folder is `VOCdevkit/VOC2012` or one that
contains it. Training takes `trainaug.txt` (VOC with SBD: `ce2p.data.sbd`) where it is there, with
`SegmentationClassAug` or, as sssegmentation packs it, `SegmentationClass`; else `train.txt`.

sssegmentation scored it on pictures whose shorter side is 512, the aspect kept; `ce2p val` stretches them to the
network's square, as `ce2p parse` does.
"""

from pathlib import Path

from .entry import DataSet, Folders, LabelSet, Layout, SyntheticPeople, inside, sssegmentation


def voc_home(root: Path) -> Path | None:
    """The folder VOC2012 that `root` is or contains."""
    return inside(root, ("", "VOC2012", "VOCdevkit/VOC2012"), "ImageSets/Segmentation")


def _folders(root: Path, split: str) -> Folders:
    # torchvision.datasets.VOCSegmentation lists the same files, but only under VOCdevkit, only from SegmentationClass,
    # knows no trainaug list and imports torch; only its folder structure is taken over.
    home = voc_home(root) or root
    lists, augmented, plain = home / "ImageSets/Segmentation", home / "SegmentationClassAug", home / "SegmentationClass"
    if split == "train" and (lists / "trainaug.txt").is_file():
        return Folders(
            lists / "trainaug.txt",
            home / "JPEGImages",
            augmented if augmented.is_dir() else plain,
            cure="make the annotations with `ce2p data sbd`, or remove trainaug.txt to train on train.txt",
        )
    return Folders(lists / f"{split}.txt", home / "JPEGImages", plain)


VOC = DataSet(
    labels=LabelSet.of(
        "voc",
        "PASCAL VOC",
        "background, aeroplane, bicycle, bird, boat, bottle, bus, car, cat, chair, cow, diningtable, dog, horse, "
        "motorbike, person, pottedplant, sheep, sofa, train, tvmonitor",
    ),
    layout=Layout(folders=_folders, recognised=lambda root: voc_home(root) is not None, home="VOCdevkit/VOC2012"),
    people=SyntheticPeople(classes={"Background": "background", "*": "person"}, border=5, palette=True),
    input_sizes={"ssseg": 512, "ssseg-2020": 512},
    recipes={
        "ssseg": {  # ssseg/configs/ce2p/ce2p_*_voc.py, train set "trainaug" (VOC with SBD)
            "batch": 16,
            "epochs": 60,
            "augmentation": {
                "keep_ratio": True,  # into 2048 x 512 times a factor
                "scale_range": [0.5, 2.0],
                "rotation_probability": 0.0,
            },
            # norm_loss_with_class_weight: False, since December 2024: same weights, but divided by the number of
            # pixels. The figures published before then were trained with `weights`.
            "loss": {"edge_balance": "pixels"},
        }
    },
    published=(
        *sssegmentation("voc", "ssseg", "eb1878c1, docs/modelzoo/ce2p/README.md", "75.69 74.58 77.77 76.84"),
        *sssegmentation("voc", "ssseg-2020", "b540dee6, docs/ce2p/README.md", "76.06 74.44 78.07 76.08"),
        *sssegmentation("voc", "ssseg-2020", "7ba6a041, docs/ce2p/README.md", "76.52 76.91 78.90 78.27"),
    ),
)
