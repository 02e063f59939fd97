"""Pascal-Person-Part (Chen et al., 2014): seven body parts, what is below the clothes.

Either as LIP, which is how SCHP's only data set class reads it, or as the data set is published: `JPEGImages`,
`pascal_person_part_gt`, `pascal_person_part_trainval_list/{split}.txt`. Synthetic people are written as LIP: SCHP's is
the published network.
"""

from pathlib import Path

from .entry import DataSet, Folders, LabelSet, Layout, SyntheticPeople, figures
from .lip import lip_folders


def _as_published(root: Path) -> bool:
    return (root / "pascal_person_part_gt").is_dir()


def _folders(root: Path, split: str) -> Folders:
    if not _as_published(root):
        return lip_folders(root, split)
    lists = root / "pascal_person_part_trainval_list"
    return Folders(lists / f"{split}.txt", root / "JPEGImages", root / "pascal_person_part_gt")


PPP = DataSet(
    labels=LabelSet.of(
        "ppp", "Pascal-Person-Part", "Background, Head, Torso, Upper Arms, Lower Arms, Upper Legs, Lower Legs"
    ),
    # Stored as LIP it is taken for LIP: nothing in the folder tells the two apart.
    layout=Layout(folders=_folders, recognised=_as_published),
    people=SyntheticPeople(body_parts=True),
    input_sizes={"schp": 512},
    published=figures(
        "ppp",
        {
            ("schp r101 16", "GoGoDuck912/Self-Correction-Human-Parsing eb84c43, README"): ("mIoU 71.46",),
            ("schp r101 16", "GoGoDuck912/Self-Correction-Human-Parsing issue 4"): (
                "mIoU 68.59 without self-correction: 95.82 86.65 70.69 61.14 60.57 53.81 51.46",
            ),
        },
    ),
)
