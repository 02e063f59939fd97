"""What the gate found: figures over all pictures, each beside its limit, and a verdict."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import CE2PRuntimeError
from ..media.pictures import write_picture
from ..precisions import MIN_CLASS_SHARE, PRECISIONS, LabelLimits
from .agreement import Counts, PictureFigures, class_ious
from .allowance import Check, allowance_used, percent
from .picture import ComparedPicture, comparison_sheet


class GateError(CE2PRuntimeError):
    """A candidate is not as good as its reference."""


@dataclass(frozen=True, eq=False)
class GateReport:
    """The figures of a candidate against a reference. All are shares from 0 to 1, over all pictures together."""

    reference: str
    """The reference's name."""
    reference_backend: str
    """Where it ran: "torch on cpu"."""
    candidate: str
    """The candidate's name."""
    backend: str
    """What it ran on."""
    device: str
    precision: str
    """The candidate's own; the limits may be those of another, see `limits`."""
    thresholds: LabelLimits
    class_names: tuple[str, ...]
    pictures: tuple[PictureFigures, ...]
    """At least one, in the order of the reference's."""
    worst_picture: ComparedPicture = field(repr=False)
    """The labels of `worst`."""

    @property
    def limits(self) -> str:
        """Whose limits `thresholds` are, in words, read from the limits themselves so that it cannot be another's."""
        named = next((name for name, one in PRECISIONS.items() if one.labels == self.thresholds), None)
        return f"the limits for {named}" if named else "limits of your own"

    @property
    def passed(self) -> bool:
        return not self.failures

    @property
    def used(self) -> float:
        """Share of what the limits allow that is used up; see `allowance_used`."""
        return allowance_used(self.checks, self.passed)

    @property
    def failures(self) -> tuple[str, ...]:
        """Why the gate is not passed, one line each with figure, limit, and the picture or class where it is one."""
        return tuple(self._strays()) + tuple(check.text for check in self.checks if not check.held)

    @property
    def checks(self) -> tuple[Check, ...]:
        """Every figure that is judged."""
        limits, worst, (name, iou) = self.thresholds, self.worst, self._worst_class
        checks = [
            Check("pixel agreement", self.pixel_agreement, limits.pixel_agreement),
            Check("pixel agreement of the worst picture", worst.agreement, limits.worst_picture, where=worst.name),
            Check("agreement in the boundary band", self.boundary_agreement, limits.boundary_agreement),
            Check("mean class IoU against the reference", self.mean_iou, limits.class_iou),
            Check("IoU of the worst class against the reference", iou, limits.worst_class, where=name),
        ]
        if self.truth_miou is not None and self.reference_truth_miou is not None:
            loss = self.reference_truth_miou - self.truth_miou
            checks.append(Check("points of mIoU lost against the truth", loss, limits.miou_loss, at_least=False))
        return tuple(checks)

    @property
    def pixel_agreement(self) -> float:
        """Share of pixels with the reference's label."""
        return _ratio((p.agreeing, p.pixels) for p in self.pictures) or 0.0

    @property
    def boundary_agreement(self) -> float | None:
        """The same inside the boundary band; None where the reference sees one class only on every picture."""
        return _ratio((p.band_agreeing, p.band_pixels) for p in self.pictures)

    @property
    def class_iou(self) -> dict[str, float | None]:
        """IoU of each class, judged or not, against the reference's labels; None for one that occurs nowhere."""
        return dict(zip(self.class_names, class_ious(self._counts), strict=True))

    @property
    def class_share(self) -> dict[str, float]:
        """Share of the reference's pixels that each class holds."""
        totals = self._counts.sum(1)
        return {name: int(n) / int(totals.sum()) for name, n in zip(self.class_names, totals, strict=True)}

    @property
    def judged_classes(self) -> tuple[str, ...]:
        """Those that hold at least `MIN_CLASS_SHARE` of the reference's pixels."""
        return tuple(name for name, share in self.class_share.items() if share >= MIN_CLASS_SHARE)

    @property
    def mean_iou(self) -> float | None:
        """Mean of `class_iou` over the judged classes."""
        return _mean(self.class_iou[name] for name in self.judged_classes)

    @property
    def truth_miou(self) -> float | None:
        """The candidate's mean IoU over the classes that occur in the truth; None without truth."""
        return _truth_miou(p.truth_counts for p in self.pictures)

    @property
    def reference_truth_miou(self) -> float | None:
        """The same of the reference."""
        return _truth_miou(p.reference_truth_counts for p in self.pictures)

    @property
    def worst(self) -> PictureFigures:
        """The picture with the lowest pixel agreement; of several, with the lowest in the band, then by name."""
        return min(self.pictures, key=lambda picture: picture.rank)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What takes weight from the verdict, one line each."""
        if self.boundary_agreement is None:
            name = self.class_names[int(self._counts.sum(1).argmax())]
            return (f"the reference sees nothing but {name} on these pictures, so the gate says little; use others",)
        return ()

    def require(self) -> None:
        """Raise GateError, in one line, unless the gate is passed."""
        if not self.passed:
            raise GateError(
                f"{self.candidate}: is not as good as {self.reference} by {self.limits}: {'; '.join(self.failures)}"
            )

    def paint_worst(self, path: str | Path) -> Path:
        """Write input | reference | candidate | difference of the worst picture (.png or .jpg). Raises MediaError."""
        worst = self.worst
        band = "" if worst.band_agreement is None else f", {percent(worst.band_agreement)} in the boundary band"
        caption = f"{worst.name}: {percent(worst.agreement)} of the pixels agree{band}"
        return write_picture(path, comparison_sheet(self.worst_picture, caption))

    def to_dict(self) -> dict[str, Any]:
        """Plain types, ready for JSON."""
        return {
            "passed": self.passed,
            "failures": list(self.failures),
            "remarks": list(self.remarks),
            "reference": {"name": self.reference, "runs_on": self.reference_backend},
            "candidate": {"name": self.candidate, "runs_on": f"{self.backend} on {self.device}"},
            "precision": self.precision,
            "limits": self.limits,
            "thresholds": {**asdict(self.thresholds), "judged_class_share": MIN_CLASS_SHARE},
            "pixel_agreement": self.pixel_agreement,
            "boundary_agreement": self.boundary_agreement,
            "mean_iou": self.mean_iou,
            "class_iou": self.class_iou,
            "class_share": self.class_share,
            "judged_classes": list(self.judged_classes),
            "truth_miou": self.truth_miou,
            "reference_truth_miou": self.reference_truth_miou,
            "worst": self.worst.name,
            "pictures": [
                {
                    "name": picture.name,
                    "pixels": picture.pixels,
                    "pixel_agreement": picture.agreement,
                    "band_pixels": picture.band_pixels,
                    "boundary_agreement": picture.band_agreement,
                }
                for picture in self.pictures
            ],
        }

    @cached_property
    def _counts(self) -> Counts:
        return np.sum([picture.counts for picture in self.pictures], axis=0)

    @property
    def _worst_class(self) -> tuple[str, float | None]:
        ious = {name: iou for name in self.judged_classes if (iou := self.class_iou[name]) is not None}
        return min(ious.items(), key=lambda item: item[1], default=("", None))

    def _strays(self) -> Iterable[str]:
        """The failure of labels that are no class."""
        strays = [picture for picture in self.pictures if picture.stray is not None]
        if strays:
            first = max(strays, key=lambda picture: picture.stray or 0)
            pixels = sum(int(picture.counts[:, -1].sum()) for picture in strays)
            yield (
                f"{pixels} pixels on {len(strays)} pictures have labels that are no class (up to {first.stray} on "
                f"{first.name}), expected 0 to {len(self.class_names) - 1}"
            )


def _ratio(pairs: Iterable[tuple[int, int]]) -> float | None:
    parts, wholes = zip(*pairs, strict=True)
    return sum(parts) / sum(wholes) if sum(wholes) else None


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _truth_miou(counts: Iterable[Counts | None]) -> float | None:
    known = [table for table in counts if table is not None]
    if not known:
        return None
    total: Counts = np.sum(known, axis=0)
    return _mean(iou for iou, pixels in zip(class_ious(total), total.sum(1), strict=True) if pixels)
