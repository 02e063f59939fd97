"""Two label maps of one picture, compared: all pixels, those along boundaries, and which class was taken for which."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from ..geometry import FrameMapping

Labels = NDArray[np.uint8]
Counts = NDArray[np.int64]

BAND = 3
"""How far the boundary band reaches, in pixels of the network's input."""


@dataclass(frozen=True, eq=False)
class PictureFigures:
    """What one picture contributes; a report adds these up."""

    name: str
    pixels: int
    agreeing: int
    """Pixels with the reference's label."""
    band_pixels: int
    """Pixels in the reference's boundary band; 0 where the reference sees one class only."""
    band_agreeing: int
    counts: Counts = field(repr=False)
    """[C, C + 1]: rows are the reference's classes, columns the candidate's, the last one labels that are no class."""
    stray: int | None = None
    """The largest of the candidate's labels, if it is no class."""
    truth_counts: Counts | None = field(default=None, repr=False)
    """[C, C + 1]: rows are true classes, columns the candidate's. None without truth."""
    reference_truth_counts: Counts | None = field(default=None, repr=False)
    """The same with the reference's labels as columns."""

    @property
    def agreement(self) -> float:
        """Share of pixels with the reference's label."""
        return self.agreeing / self.pixels if self.pixels else math.nan

    @property
    def band_agreement(self) -> float | None:
        """The same inside the boundary band; None where there is none."""
        return self.band_agreeing / self.band_pixels if self.band_pixels else None

    @property
    def rank(self) -> tuple[float, float, str]:
        """The smallest is the worst: by agreement, then agreement in the band, then name."""
        band = self.band_agreement
        return (self.agreement, 1.0 if band is None else band, self.name)


def band_radius(mapping: FrameMapping) -> int:
    """Radius of the band in pixels of the frame: `BAND` pixels of the network's input, at least 1.

    A frame that is stretched by another factor along each side counts with their geometric mean.
    """
    if mapping.forward is not None:
        scale = float(mapping.forward[0, 0])
    else:
        scale = math.sqrt(math.prod(mapping.input_size) / math.prod(mapping.frame_size))
    return max(1, round(BAND / scale))


def boundary_band(labels: Labels, radius: int) -> NDArray[np.bool_]:
    """The pixels within `radius` of a boundary, bool [H, W], of labels uint8 [H, W].

    A pixel is at a boundary when one of its four neighbours has another label, so both sides are. Distance is the
    larger of the distances along x and y (Chebyshev). Raises ValueError for a negative radius.
    """
    if radius < 0:
        raise ValueError(f"the band's radius is {radius}, expected 0 or more pixels")
    boundary = np.zeros(labels.shape, np.uint8)
    down, across = labels[1:] != labels[:-1], labels[:, 1:] != labels[:, :-1]
    boundary[1:] |= down
    boundary[:-1] |= down
    boundary[:, 1:] |= across
    boundary[:, :-1] |= across
    side = 2 * radius + 1
    return np.asarray(cv2.dilate(boundary, np.ones((side, side), np.uint8)), np.uint8).astype(np.bool_)


def compare_labels(
    name: str,
    reference: Labels,
    candidate: Labels,
    band: NDArray[np.bool_],
    num_classes: int,
    truth: Labels | None = None,
    reference_truth_counts: Counts | None = None,
) -> PictureFigures:
    """Compare label maps uint8 [H, W]; `band` is the reference's, from `boundary_band`. Labels of the candidate that
    are no class are counted as such.

    `reference_truth_counts`: `count_pairs` of truth and reference, where it is known already. Raises ValueError for
    maps of different sizes.
    """
    for what, values in (("candidate", candidate), ("band", band), ("truth", truth)):
        if values is not None and values.shape != reference.shape:
            raise ValueError(
                f"{name}: the {what} is {values.shape}, the reference {reference.shape}; expected the same"
            )
    same = reference == candidate
    largest = int(candidate.max())
    if truth is not None and reference_truth_counts is None:
        reference_truth_counts = count_pairs(truth, reference, num_classes)
    return PictureFigures(
        name=name,
        pixels=same.size,
        agreeing=int(np.count_nonzero(same)),
        band_pixels=int(np.count_nonzero(band)),
        band_agreeing=int(np.count_nonzero(same & band)),
        counts=count_pairs(reference, candidate, num_classes),
        stray=largest if largest >= num_classes else None,
        truth_counts=None if truth is None else count_pairs(truth, candidate, num_classes),
        reference_truth_counts=reference_truth_counts if truth is not None else None,
    )


def count_pairs(rows: Labels, columns: Labels, num_classes: int) -> Counts:
    """How often each pair of labels occurs, int64 [C, C + 1]; the last column counts labels that are no class.

    Pixels whose row label is no class (255 in a truth) are left out.
    """
    table = pair_table(rows, columns)[:num_classes]
    return np.concatenate([table[:, :num_classes], table[:, num_classes:].sum(1, keepdims=True)], axis=1)


def pair_table(rows: Labels, columns: Labels) -> Counts:
    """How often each pair of labels occurs in two maps of one shape, int64 [256, 256]: no mask, and nothing lost."""
    codes = rows.astype(np.uint16) << 8 | columns
    return np.bincount(codes.ravel(), minlength=1 << 16).reshape(256, 256)


def class_ious(counts: Counts) -> list[float | None]:
    """Intersection over union of each class, of counts [C, C] or `count_pairs`; None where it is on neither side."""
    both = np.diag(counts)
    either = counts.sum(1) + counts[:, : len(counts)].sum(0) - both
    return [int(b) / int(e) if e else None for b, e in zip(both, either, strict=True)]
