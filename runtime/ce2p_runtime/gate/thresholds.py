"""What a candidate must hold to count as good as its reference, by precision: the one place for these numbers.

Rounding is an error of the logits, and labels change where two classes are closer together than that error. Measured,
with a ResNet-101 (SCHP, 129x129, trained shortly on drawn people, 16 pictures of which it never saw, boundary band 24 %
of the pixels), for errors e of the logits, relative L2, independent from logit to logit or smooth over about 8 pixels:

    per 1 of e           differing pixels   on the worst picture   in the band   1 - mean class IoU   1 - worst class
    independent          0.21               0.44                   0.91          2.4 to 2.5           5.3 to 5.9
    smooth               0.30               0.63 to 0.76           1.25          3.1 to 3.5           6.8 to 8.4

    what rounding did    differing pixels   on the worst picture   in the band   1 - mean class IoU   1 - worst class
    fp32, two backends   0                  0                      0             0                    0
    fp16, all roundings  0.01 %             0.02 %                 0.04 %        0.1 %                0.3 %
    bf16                 0.12 %             0.22 %                 0.49 %        1.3 %                2.2 %

So all figures of one file follow from one error, and the limits of one precision stand for one, about: fp32 5e-4 (the
export's proof allows 1e-4), fp16 1e-2 (the limit of its proof), bf16 2e-2, int8 4e-2 (8 bits and one step for a whole
tensor: 2e-2 to 5e-2 where nothing goes wrong). Each catches what the others miss:

- `pixel_agreement` is what a user sees first; but most pixels are background or deep inside a part, and agree anyway.
- `boundary_agreement` looks at the rest. 95 % of a band that is 8 pixels wide (`agreement.BAND` to either side of the
  two at the boundary) means that boundaries move by 0.4 pixels of the network's input on average. Labels two pixels
  off, which can keep 99 % of all pixels, change a quarter of the band.
- `worst_picture`: an average over many pictures hides one that went wrong. Three times as many pixels may differ on the
  worst one as on average.
- `class_iou`: a small part that vanishes costs few pixels of the picture. IoU is stricter than agreement: a part 20
  pixels wide whose outline moves by half a pixel all around has 0.90 left. `worst_class` is for one class of thin parts
  (scarves, arms).
- `miou_loss` is a fall against the truth, where there is one. Errors that agree with nothing else hardly show there: an
  e of 0.1 cost 0.010. Two trainings of one network differ by 0.003 to 0.01.

Only classes with at least `MIN_CLASS_SHARE` of the reference's pixels are judged by their IoU: of a class of a handful
of pixels, one turning region decides, and says nothing about the file. The mIoU against the truth counts every class
that occurs in the truth, as published scores do.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import ModelFileError

__all__ = ["MIN_CLASS_SHARE", "THRESHOLDS", "Thresholds", "thresholds_for"]

MIN_CLASS_SHARE = 0.001
"""Classes with a smaller share of the reference's pixels are reported, not judged."""


@dataclass(frozen=True)
class Thresholds:
    """Limits of the gate; shares from 0 to 1. See the module for their reasons."""

    pixel_agreement: float
    """Share of all pixels with the reference's label, at least."""
    worst_picture: float
    """The same of the single worst picture, at least."""
    boundary_agreement: float
    """The same of the pixels in the boundary band, at least."""
    class_iou: float
    """Mean IoU against the reference's labels over the judged classes, at least."""
    miou_loss: float
    """How far the mIoU against the truth may be below the reference's."""
    worst_class: float = 0.75
    """IoU against the reference's labels of the single worst judged class, at least."""


THRESHOLDS: dict[str, Thresholds] = {
    "fp32": Thresholds(0.9999, 0.9995, 0.9995, 0.999, 0.001, worst_class=0.995),
    "fp16": Thresholds(0.998, 0.994, 0.99, 0.97, 0.003, worst_class=0.92),
    "bf16": Thresholds(0.994, 0.982, 0.97, 0.94, 0.006, worst_class=0.84),
    "int8": Thresholds(0.990, 0.970, 0.95, 0.90, 0.010, worst_class=0.75),
}
"""By precision of the candidate, as its metadata names it."""


def thresholds_for(precision: str) -> Thresholds:
    """The limits for a precision. Raises ModelFileError for one that has none."""
    try:
        return THRESHOLDS[precision]
    except KeyError:
        raise ModelFileError(
            f"no thresholds for the precision {precision!r}; expected one of {', '.join(THRESHOLDS)}"
        ) from None
