"""Every precision that files are exported in: one entry each, and the limits that such a file must hold, with reasons.

What depends on a precision is derived from its entry: options and their help, what the metadata may name, types of
inputs and outputs, what is calibrated, searched and rounded, and by which metrics a file is judged (`judge/`).

Limits. Rounding is an error of the logits, and labels change where two classes are closer together than that error.

Logits as numbers, on every picture. Float32 rounding, amplified by up to 120 layers, separates two correct
implementations by a relative L2 of 3e-6 to 2e-5 (measured: folded against unfolded, public code against ours, either
against float64). The smallest real mistake known, InPlaceABN's forgotten epsilon, shows as 5e-4: 1e-4 stands between
the two. Labels may differ where the two best logits lie within that rounding: less than 1 pixel in 1000. Half precision
rounds every tensor by a relative 2^-11 at most, 2.8e-4 in the mean square; 50 to 120 of them in a row, independent, add
up to 2e-3 to 3e-3. Measured on untrained networks of all families: 1e-3 to 5e-3, R101 no worse than R18, and 99.0 %
equal labels at the least; a trained one stayed below 1e-3. 1e-2 and 98 % leave twice that, and bfloat16 (2^-8) breaks
them on four families of five. bfloat16 has three bits less, and limits eight times as wide. Mistakes smaller than that
show only in the fp32 export of the same network, which is folded by the same code. The limits for labels are narrower.

Labels, over all pictures together. Measured, with a ResNet-101 (SCHP, 129x129, trained shortly on synthetic people, 16
pictures of which it never saw, boundary band 24 % of the pixels), for errors e of the logits, relative L2, independent
from logit to logit or smooth over about 8 pixels:

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

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from .errors import ModelFileError

PrecisionName = Literal["fp32", "fp16", "bf16", "int8"]
"""The keys of `PRECISIONS`."""
Target = Literal["cpu", "tensorrt"]
"""The keys of `TARGETS`: for whose kernels a calibrated file is made."""
CalibrationMethod = Literal["minmax", "percentile", "entropy", "mse"]
"""How the range of an activation is chosen; the functions stand in the exporter's `precision/ranges.py`."""
HalfType = Literal["float16", "bfloat16"]

MIN_CLASS_SHARE = 0.001
"""Classes with a smaller share of the reference's pixels are reported, not judged."""


@dataclass(frozen=True)
class LogitLimits:
    """Of the logits and what follows from them, on every picture."""

    relative_l2: float
    """||file - reference|| / ||reference||, at most."""
    pixel_agreement: float
    """Share of the pixels with the same label, at least."""


@dataclass(frozen=True)
class LabelLimits:
    """Of label maps; shares from 0 to 1. See the module for their reasons."""

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


@dataclass(frozen=True)
class Precision:
    """What follows from a file's precision."""

    labels: LabelLimits
    logits: LogitLimits | None = None
    """None: the logits are not those of float32, and the labels alone are judged."""
    exact: bool = False
    """Whether the layers compute as the trained ones do: there is nothing to search."""
    half: HalfType | None = None
    """The type of weights and activations, where that is half as wide as float32."""
    calibrated: bool = False
    """Whether activations get 8 bits, over ranges found on pictures; `TARGETS` has the types in between."""

    def half_for(self, target: Target) -> HalfType | None:
        """The half-precision type inside a file for `target`; None: nothing but float32 beside what has 8 bits.

        CPU backends leave the roundings of half precision out, so such a file is also judged with all of them.
        """
        return TARGETS[target] if self.calibrated else self.half


PRECISIONS: Mapping[str, Precision] = {
    "fp32": Precision(
        LabelLimits(0.9999, 0.9995, 0.9995, 0.999, 0.001, worst_class=0.995), LogitLimits(1e-4, 0.999), exact=True
    ),
    "fp16": Precision(
        LabelLimits(0.998, 0.994, 0.99, 0.97, 0.003, worst_class=0.92), LogitLimits(1e-2, 0.98), half="float16"
    ),
    "bf16": Precision(
        LabelLimits(0.994, 0.982, 0.97, 0.94, 0.006, worst_class=0.84), LogitLimits(8e-2, 0.85), half="bfloat16"
    ),
    "int8": Precision(LabelLimits(0.990, 0.970, 0.95, 0.90, 0.010, worst_class=0.75), calibrated=True),
}
"""By the name that options, metadata and file names have for it."""

TARGETS: Mapping[str, HalfType | None] = {"cpu": None, "tensorrt": "float16"}
"""Of calibrated files: the type of the layers that are not quantised; None: float32."""


def precision_named(name: str) -> Precision:
    """An entry of `PRECISIONS`. Raises ModelFileError for another name."""
    if name not in PRECISIONS:
        raise ModelFileError(f"unknown precision {name!r}; expected one of {', '.join(PRECISIONS)}")
    return PRECISIONS[name]
