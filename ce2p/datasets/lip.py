"""Look into Person (Gong et al., CVPR 2017): one person in each picture, 20 classes of clothes and limbs.

Folders as CE2P's and SCHP's READMEs have them: `{split}_images/*.jpg`, `{split}_segmentations/*.png`, `{split}_id.txt`.
Test pictures lie in `test_images` (CE2P) or `testing_images` (sssegmentation).
"""

from pathlib import Path

from .entry import DataSet, Folders, LabelSet, Layout, SyntheticPeople, figures, sssegmentation

CLASSES = (
    "Background, Hat, Hair, Glove, Sunglasses, Upper-clothes, Dress, Coat, Socks, Pants, Jumpsuits, Scarf, Skirt, "
    "Face, Left-arm, Right-arm, Left-leg, Right-leg, Left-shoe, Right-shoe"
)
_HEX = "000000 800000 ff0000 005500 aa0033 ff5500 000055 0077dd 555500 005555 553300 345680 008000 0000ff 33aadd 00ffff"
SITE_COLOURS = tuple(
    (colour >> 16, colour >> 8 & 255, colour & 255)
    for colour in (int(digits, 16) for digits in f"{_HEX} 55ffaa aaff55 ffff00 ffaa00".split())
)
"""RGB of each class on the site of LIP and CIHP."""


def lip_folders(root: Path, split: str, suffixes: tuple[str, ...] = (".jpg",)) -> Folders:
    """The layout that other data sets are stored in, too."""

    def folder(kind: str) -> Path:
        other = root / f"testing_{kind}"
        return other if split == "test" and other.is_dir() else root / f"{split}_{kind}"

    return Folders(root / f"{split}_id.txt", folder("images"), folder("segmentations"), suffixes=suffixes)


def looks_like_lip(root: Path) -> bool:
    return any((root / f"{split}_images").is_dir() for split in ("train", "val", "test"))


LIP = DataSet(
    labels=LabelSet.of("lip", "Look into Person", CLASSES),
    colours=SITE_COLOURS,
    layout=Layout(folders=lip_folders, recognised=looks_like_lip),
    people=SyntheticPeople(),
    published=(
        # The network of `ssseg` since a21d066a (14 Dec 2020). LIP and CIHP R50 stand in the table since then, the rest
        # since b7fb5bd9 (16 Dec 2020); unchanged at eb1878c1 (8 Nov 2025), where it is docs/modelzoo/ce2p/README.md.
        *sssegmentation("lip", "ssseg", "eb1878c1, docs/modelzoo/ce2p/README.md", "52.42 51.98 54.79 54.02"),
        # The network of `ssseg-2020`, whose decoder is as wide as CE2P's own.
        *sssegmentation("lip", "ssseg-2020", "7f4b9a1d, docs/ce2p/README.md", "- - 54.58 54.18"),
        *sssegmentation("lip", "ssseg-2020", "b540dee6, docs/ce2p/README.md", "52.82 51.83 54.83 53.93"),
        *sssegmentation("lip", "ssseg-2020", "7ba6a041, docs/ce2p/README.md", "51.95 51.78 54.34 53.53"),
        *figures(
            "lip",
            {
                ("ce2p r101 16", "liutinglt/CE2P dec670b, result.png"): (
                    "mIoU 53.88 384x384: 87.74 65.66 71.52 40.75 31.55 69.29 37.85 55.48 47.33 74.34 "
                    "31.51 19.42 27.25 74.59 65.20 67.25 59.75 58.71 46.01 46.42",
                    "pixel accuracy 87.33 384x384",
                    "mean accuracy 65.28 384x384",
                ),
                ("ce2p r101 16", "liutinglt/CE2P issue 39"): (
                    "mIoU 50.48 a user's own training, 14 pictures per GPU instead of 24",
                ),
                ("schp r101 16", "GoGoDuck912/Self-Correction-Human-Parsing eb84c43, README"): (
                    "mIoU 59.36 probably with flipping; the README does not say",
                ),
                ("schp r101 16", "SCHP paper, row quoted at second hand (its classes average 58.62)"): (
                    "mIoU 58.62: 88.36 69.96 73.55 50.46 40.72 69.93 39.02 57.45 54.27 76.01 "
                    "32.88 26.29 31.68 76.19 68.65 70.92 67.28 66.56 55.76 56.50",
                ),
                ("mce2p r101 16", "CE2P paper (arXiv 1809.05996), quoted at second hand"): (
                    "mIoU 53.10: 87.67 65.29 72.54 39.09 32.73 69.46 32.52 56.28 49.67 74.11 "
                    "27.23 14.19 22.51 75.50 65.14 66.59 60.10 58.59 46.63 46.12",
                    "pixel accuracy 87.37",
                    "mean accuracy 63.20",
                    "mIoU 56.50 the challenge's test track",
                ),
                # Networks of no family of ours, for orientation.
                ("ace2p r101 16", "PaddlePaddle/PaddleSeg release/2.1, legacy/contrib/ACE2P"): (
                    "mIoU 62.63 three scales 377, 473, 567, with flipping",
                    "mIoU 65.18 an ensemble on the leader board",
                ),
                ("ocr hrnet-w48 4", "openseg-group/openseg.pytorch, README"): ("mIoU 56.72 with flipping",),
            },
        ),
    ),
)
