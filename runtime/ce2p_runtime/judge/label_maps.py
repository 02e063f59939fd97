"""The gate: label maps of a reference, made once, against those of as many candidates as there are."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..base.progress import StepProgress
from ..errors import BackendError, MediaError, ModelFileError, UndecidedError
from ..frame_steps import check_frame
from ..geometry import frame_mapping
from ..label_conventions import IGNORE
from ..model_files.metadata import ModelMetadata
from ..parser import HumanParser
from ..precisions import LabelLimits, precision_named
from .agreement import Counts, PictureFigures, band_radius, boundary_band, compare_labels, count_pairs
from .picture import ComparedPicture
from .report import GateReport

NO_CLASS = 255
"""The label of pixels that have none. A network of 256 classes has a class of that number, and is as wrong with it."""


@dataclass(frozen=True, eq=False)
class GatePicture:
    """A picture to compare on, of any size."""

    name: str
    image: NDArray[np.uint8] = field(repr=False)
    """uint8 BGR [H, W, 3]."""
    truth: NDArray[np.uint8] | None = field(default=None, repr=False)
    """Its true labels, uint8 [H, W], where they are known; 255 is not counted."""


@dataclass(frozen=True, eq=False)
class ReferencePicture:
    """A picture and what the reference made of it."""

    picture: GatePicture
    labels: NDArray[np.uint8]
    """uint8 [H, W]."""
    band: NDArray[np.bool_]
    """The boundary band [H, W]; its width is that of `agreement.BAND` pixels of the reference's input."""
    truth_counts: Counts | None
    """`count_pairs` of truth and reference."""


@dataclass(frozen=True, eq=False)
class Reference:
    """What candidates are compared with; holds all pictures and labels in memory."""

    name: str
    backend: str
    """What it ran on: "torch on cpu"."""
    metadata: ModelMetadata
    pictures: tuple[ReferencePicture, ...] = field(repr=False)

    @classmethod
    def of(
        cls,
        parser: HumanParser,
        pictures: Iterable[GatePicture],
        name: str | None = None,
        progress: StepProgress | None = None,
        candidate: ModelMetadata | None = None,
    ) -> Reference:
        """Parse every picture once. `name`: what reports call it, the parser's name by default.

        `candidate`: of the files to be compared. Where their graphs end in labels, which leaves only labels to warp to
        the frame, the reference's labels are made in that way, too: else the difference would be the way's.

        Raises BackendError for no pictures and for labels that are no class of the reference, MediaError for a truth of
        another size or with other labels, ValueError for an image that is no frame.
        """
        listed = list(pictures)
        if not listed:
            raise BackendError("the gate has no pictures to compare on; expected at least one")
        metadata, made = parser.metadata, []
        for picture, labels in _labels(_unwarping_as(candidate, parser), listed):
            if int(labels.max()) >= metadata.num_classes:
                raise BackendError(
                    f"{parser.name}: gives label {labels.max()} on {picture.name}, its classes are 0 to "
                    f"{metadata.num_classes - 1}; {parser.backend.name} does not compute this file, use another backend"
                )
            mapping = frame_mapping(metadata.geometry, labels.shape, metadata.input_size)
            counts = None if picture.truth is None else _truth_counts(picture, labels, metadata.num_classes)
            made.append(ReferencePicture(picture, labels, boundary_band(labels, band_radius(mapping)), counts))
            if progress:
                progress(len(made), len(listed))
        return cls(name or parser.name, _runs_on(parser), metadata, tuple(made))


def judge_labels(
    reference: Reference,
    candidate: HumanParser,
    limits: LabelLimits | None = None,
    progress: StepProgress | None = None,
) -> GateReport:
    """Compare a candidate with the reference on every picture, on the backend the candidate was opened on.

    `limits` None: those of the candidate's precision. A file with a static batch is judged with full batches. The
    verdict is in the report, also on logits that are not finite; raises ModelFileError for a candidate with other
    classes, or of an unknown precision without `limits`, and what the candidate's backend raises.
    """
    metadata = candidate.metadata
    limits = limits or precision_named(metadata.precision).labels
    _check_classes(reference, candidate)
    figures: list[PictureFigures] = []
    worst: tuple[PictureFigures, ComparedPicture] | None = None
    found = _labels(candidate, [made.picture for made in reference.pictures], undecided_is_wrong=True)
    for made, (picture, labels) in zip(reference.pictures, found, strict=True):
        own = compare_labels(
            picture.name,
            made.labels,
            labels,
            band=made.band,
            num_classes=metadata.num_classes,
            truth=picture.truth,
            reference_truth_counts=made.truth_counts,
        )
        figures.append(own)
        if worst is None or own.rank < worst[0].rank:
            both = (made.labels, labels)
            worst = own, ComparedPicture(picture.image, *both, made.band, metadata.class_names, metadata.palette)
        if progress:
            progress(len(figures), len(reference.pictures))
    assert worst is not None  # noqa: S101  (a reference has a picture)
    return GateReport(
        reference=reference.name,
        reference_backend=reference.backend,
        candidate=candidate.name,
        backend=candidate.backend.name,
        device=candidate.backend.device,
        precision=metadata.precision,
        thresholds=limits,
        class_names=metadata.class_names,
        pictures=tuple(figures),
        worst_picture=worst[1],
    )


def _labels(
    parser: HumanParser, pictures: Sequence[GatePicture], *, undecided_is_wrong: bool = False
) -> Iterator[tuple[GatePicture, NDArray[np.uint8]]]:
    """Each picture with its labels, uint8 [H, W], parsed in groups as large as the file takes in one pass.

    `undecided_is_wrong`: `NO_CLASS` in every pixel of a group whose logits are not finite, which decide none. That is a
    verdict on a candidate, as a search for layers to keep in higher precision needs one, and no mishap.
    """
    for start in range(0, len(pictures), parser.group_size):
        group = pictures[start : start + parser.group_size]
        for picture in group:
            check_frame(picture.image)
        try:
            found = [result.labels for result in parser.parse_batch([picture.image for picture in group])]
        except UndecidedError:
            if not undecided_is_wrong:
                raise
            found = [np.full(picture.image.shape[:2], NO_CLASS, np.uint8) for picture in group]
        yield from zip(group, found, strict=True)


def _unwarping_as(candidate: ModelMetadata | None, parser: HumanParser) -> HumanParser:
    """A parser on the same backend whose labels get to the frame as the candidates' do; `parser` itself stays."""
    if candidate is None:
        return parser
    derived = copy.copy(parser)
    geometry = dataclasses.replace(parser.metadata.geometry, unwarp=candidate.geometry.unwarp)
    derived.metadata = dataclasses.replace(parser.metadata, geometry=geometry)
    return derived


def _runs_on(parser: HumanParser) -> str:
    return f"{parser.backend.name} on {parser.backend.device}"


def _truth_counts(picture: GatePicture, labels: NDArray[np.uint8], num_classes: int) -> Counts:
    """Truth against the reference, once the truth is known to fit. Raises MediaError."""
    truth = picture.truth
    assert truth is not None  # noqa: S101
    if truth.shape != labels.shape:
        raise MediaError(f"{picture.name}: its truth is {truth.shape}, the picture {labels.shape}; expected the same")
    wrong = truth[(truth >= num_classes) & (truth != IGNORE)]
    if wrong.size:
        raise MediaError(
            f"{picture.name}: its truth holds label {wrong[0]}, expected 0 to {num_classes - 1} or {IGNORE}"
        )
    return count_pairs(truth, labels, num_classes)


def _check_classes(reference: Reference, candidate: HumanParser) -> None:
    """Raise ModelFileError unless both have the same classes in the same order."""
    own, theirs = candidate.metadata.class_names, reference.metadata.class_names
    if len(own) != len(theirs):
        raise ModelFileError(
            f"{candidate.name}: has {len(own)} classes ({candidate.metadata.dataset}), its reference {reference.name} "
            f"{len(theirs)} ({reference.metadata.dataset}); compare files of the same network"
        )
    for index, (name, expected) in enumerate(zip(own, theirs, strict=True)):
        if name != expected:
            raise ModelFileError(
                f"{candidate.name}: its class {index} is {name} ({candidate.metadata.dataset}), that of its reference "
                f"{reference.name} is {expected} ({reference.metadata.dataset}); compare files of the same network"
            )
