"""What others published for these networks, as data: every figure with the place it was read.

Figures are in percent. mIoU is that of `Scores.mean_iou`. Those of sssegmentation are single-scale, without flipping
(its `inference` and its early base configurations say so). PASCAL VOC was scored there on pictures whose shorter side
is 512, the aspect kept; `ce2p val` stretches them to the network's square, as `ce2p parse` does.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

__all__ = ["NOISE", "PUBLISHED", "Published", "published"]

NOISE = (
    "Two trainings of one recipe differ by about 0.5 points: sssegmentation's four runs on LIP scatter by up to 0.65."
)


@dataclass(frozen=True)
class Published:
    """One published figure."""

    family: str
    dataset: str
    backbone: str
    stride: int
    metric: str
    """The name that our tables give the same score: "mIoU", "pixel accuracy", "mean accuracy", "AP^r", "AP^p 0.5"."""
    value: float
    source: str
    note: str = ""
    """What was done differently from one network, one scale, no flipping."""
    per_class: tuple[float, ...] = ()
    """IoU of each class, where published."""

    def to_dict(self) -> dict[str, Any]:
        """Plain types, for JSON."""
        fields = dataclasses.asdict(self)
        fields["per_class"] = list(self.per_class)
        return fields


def published(family: str, dataset: str, backbone: str, stride: int) -> tuple[Published, ...]:
    """Every figure of one row; for each metric the one to compare with comes first. Empty where nothing is known."""
    row = (family, dataset, backbone, stride)
    return tuple(f for f in PUBLISHED if (f.family, f.dataset, f.backbone, f.stride) == row)


_ROWS = (("r50", 8), ("r50", 16), ("r101", 8), ("r101", 16))

_SSSEG_README: dict[tuple[str, str], dict[str, tuple[float | None, ...]]] = {
    # The network of `ssseg` since a21d066a (14 Dec 2020). LIP and CIHP R50 stand in the table since then, the rest
    # since b7fb5bd9 (16 Dec 2020); unchanged at eb1878c1 (8 Nov 2025), where it is docs/modelzoo/ce2p/README.md.
    ("ssseg", "eb1878c1, docs/modelzoo/ce2p/README.md"): {
        "lip": (52.42, 51.98, 54.79, 54.02),
        "cihp": (61.15, 60.15, 63.83, 62.25),
        "atr": (78.02, 77.62, 78.57, 78.25),
        "voc": (75.69, 74.58, 77.77, 76.84),
    },
    # The network of `ssseg-2020`, whose decoder is as wide as CE2P's own.
    ("ssseg-2020", "7f4b9a1d, docs/ce2p/README.md"): {"lip": (None, None, 54.58, 54.18)},
    ("ssseg-2020", "b540dee6, docs/ce2p/README.md"): {
        "lip": (52.82, 51.83, 54.83, 53.93),
        "cihp": (61.31, 59.64, 63.64, 61.96),
        "atr": (78.05, 77.57, 78.58, 78.44),
        "voc": (76.06, 74.44, 78.07, 76.08),
    },
    ("ssseg-2020", "7ba6a041, docs/ce2p/README.md"): {
        "lip": (51.95, 51.78, 54.34, 53.53),
        "voc": (76.52, 76.91, 78.90, 78.27),
    },
}

_CE2P_PER_CLASS = (
    87.74,
    65.66,
    71.52,
    40.75,
    31.55,
    69.29,
    37.85,
    55.48,
    47.33,
    74.34,
    31.51,
    19.42,
    27.25,
    74.59,
    65.20,
    67.25,
    59.75,
    58.71,
    46.01,
    46.42,
)
_CE2P_PAPER_PER_CLASS = (
    87.67,
    65.29,
    72.54,
    39.09,
    32.73,
    69.46,
    32.52,
    56.28,
    49.67,
    74.11,
    27.23,
    14.19,
    22.51,
    75.50,
    65.14,
    66.59,
    60.10,
    58.59,
    46.63,
    46.12,
)
_SCHP_PER_CLASS = (
    88.36,
    69.96,
    73.55,
    50.46,
    40.72,
    69.93,
    39.02,
    57.45,
    54.27,
    76.01,
    32.88,
    26.29,
    31.68,
    76.19,
    68.65,
    70.92,
    67.28,
    66.56,
    55.76,
    56.50,
)
_ACE2P_PPP_PER_CLASS = (95.82, 86.65, 70.69, 61.14, 60.57, 53.81, 51.46)

_CE2P = ("ce2p", "lip", "r101", 16)
_SCHP_LIP, _SCHP_ATR, _SCHP_PPP = (("schp", dataset, "r101", 16) for dataset in ("lip", "atr", "ppp"))
_MCE2P_LIP, _MCE2P_CIHP, _MCE2P_MHP = (("mce2p", dataset, "r101", 16) for dataset in ("lip", "cihp", "mhp"))

_CE2P_PNG = "liutinglt/CE2P dec670b, result.png"
_CE2P_PAPER = "CE2P paper (arXiv 1809.05996), quoted at second hand"
_SCHP_README = "GoGoDuck912/Self-Correction-Human-Parsing eb84c43, README"
_MCE2P_ISSUE = "RanTaimu/M-CE2P issue 9, by the author"
_MCE2P_ISSUE_USER = "RanTaimu/M-CE2P issue 9, measured by a user"
_PADDLE = "PaddlePaddle/PaddleSeg release/2.1, legacy/contrib/ACE2P"

_OTHERS = (
    Published(*_CE2P, "mIoU", 53.88, _CE2P_PNG, "384x384", _CE2P_PER_CLASS),
    Published(*_CE2P, "pixel accuracy", 87.33, _CE2P_PNG, "384x384"),
    Published(*_CE2P, "mean accuracy", 65.28, _CE2P_PNG, "384x384"),
    Published(
        *_CE2P, "mIoU", 50.48, "liutinglt/CE2P issue 39", "a user's own training, 14 pictures per GPU instead of 24"
    ),
    Published(*_SCHP_LIP, "mIoU", 59.36, _SCHP_README, "probably with flipping; the README does not say"),
    Published(
        *_SCHP_LIP,
        "mIoU",
        58.62,
        "SCHP paper, row quoted at second hand (its classes average 58.62)",
        "",
        _SCHP_PER_CLASS,
    ),
    Published(*_SCHP_ATR, "mIoU", 82.29, _SCHP_README, "test split"),
    Published(*_SCHP_PPP, "mIoU", 71.46, _SCHP_README),
    Published(
        *_SCHP_PPP,
        "mIoU",
        68.59,
        "GoGoDuck912/Self-Correction-Human-Parsing issue 4",
        "without self-correction",
        _ACE2P_PPP_PER_CLASS,
    ),
    Published(*_MCE2P_LIP, "mIoU", 53.10, _CE2P_PAPER, "", _CE2P_PAPER_PER_CLASS),
    Published(*_MCE2P_LIP, "pixel accuracy", 87.37, _CE2P_PAPER),
    Published(*_MCE2P_LIP, "mean accuracy", 63.20, _CE2P_PAPER),
    Published(*_MCE2P_LIP, "mIoU", 56.50, _CE2P_PAPER, "the challenge's test track"),
    Published(*_MCE2P_CIHP, "mIoU", 60.45, _MCE2P_ISSUE, "the global network alone"),
    Published(*_MCE2P_CIHP, "mIoU", 63.59, _MCE2P_ISSUE, "three networks, with flipping"),
    Published(*_MCE2P_CIHP, "AP^r", 48.92, _MCE2P_ISSUE, "three networks, with flipping and refinement"),
    Published(*_MCE2P_CIHP, "AP^r", 45.31, _MCE2P_ISSUE, "three networks, with flipping, without refinement"),
    Published(*_MCE2P_CIHP, "AP^r", 42.40, _MCE2P_ISSUE, "the global network alone, refinement"),
    Published(*_MCE2P_CIHP, "mIoU", 59.50, "quoted in the BraidNet paper"),
    Published(*_MCE2P_CIHP, "AP^r", 42.83, "quoted in the BraidNet paper"),
    Published(*_MCE2P_CIHP, "mIoU", 60.94, _MCE2P_ISSUE_USER, "the global network alone, with flipping"),
    Published(*_MCE2P_CIHP, "AP^r", 44.76, _MCE2P_ISSUE_USER, "the global network alone, with flipping"),
    Published(*_MCE2P_CIHP, "mIoU", 60.74, _MCE2P_ISSUE_USER, "the global network alone"),
    Published(*_MCE2P_CIHP, "AP^r", 44.48, _MCE2P_ISSUE_USER, "the global network alone"),
    Published(*_MCE2P_MHP, "AP^p 0.5", 33.34, _CE2P_PAPER, "the challenge's test track"),
    # Networks of no family of ours, for orientation.
    Published("ace2p", "lip", "r101", 16, "mIoU", 62.63, _PADDLE, "three scales 377, 473, 567, with flipping"),
    Published("ace2p", "lip", "r101", 16, "mIoU", 65.18, _PADDLE, "an ensemble on the leader board"),
    Published("ocr", "lip", "hrnet-w48", 4, "mIoU", 56.72, "openseg-group/openseg.pytorch, README", "with flipping"),
)


def _from_readme() -> tuple[Published, ...]:
    """sssegmentation's tables, cell by cell."""
    return tuple(
        Published(family, dataset, backbone, stride, "mIoU", value, f"SegmentationBLWX/sssegmentation {place}")
        for (family, place), table in _SSSEG_README.items()
        for dataset, values in table.items()
        for (backbone, stride), value in zip(_ROWS, values, strict=True)
        if value is not None
    )


PUBLISHED: tuple[Published, ...] = (*_from_readme(), *_OTHERS)
"""All of them. For one row and metric, the figure that stands first is the one to compare with."""
