"""Scores of a parser on an annotated data set: frames in as users send them, labels compared at the pictures' size.

The way of a frame is that of `ce2p parse`. For CE2P, M-CE2P and sssegmentation that is also how the published scores
were made (VOC apart, see `ce2p.datasets.voc`). SCHP's evaluate.py warps the label map back by nearest
neighbour where its extractor, and so the runtime, warps the logits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import closing

import numpy as np
from numpy.typing import NDArray

from ce2p_runtime import HumanParser, ModelMetadata
from ce2p_runtime.base.progress import Progress, without_progress
from ce2p_runtime.media.sources import SourceFrame
from ce2p_runtime.process.threads import prefetch

from ..data.annotations import read_image, read_labels
from ..data.splits import Sample
from ..errors import ConfigError, DataError
from ..labels import IGNORE, LabelSet
from .scores import ConfusionMatrix, PictureScore, Scores

Picture = NDArray[np.uint8]
_AHEAD = 4
"""Pictures read ahead of the network."""


def score(
    parser: HumanParser, samples: Sequence[Sample], labels: LabelSet, progress: Progress = without_progress
) -> Scores:
    """Parse every sample and compare with its annotation.

    Raises ConfigError where the network has other classes than `labels`; DataError for no samples, for a sample without
    annotation, an unreadable file, an annotation of another size than its picture, or a value that is no class.
    """
    check_classes(parser.metadata, parser.name, labels)
    if not samples:
        raise DataError(f"nothing to score: the split of {labels.title} lists no pictures")
    matrix = ConfusionMatrix(labels.num_classes)
    pictures: list[PictureScore] = []
    waiting: deque[tuple[Sample, Picture]] = deque()

    def frames(pairs: Iterator[tuple[Sample, Picture, Picture]]) -> Iterator[SourceFrame]:
        for index, (sample, image, truth) in enumerate(pairs):
            waiting.append((sample, truth))
            yield SourceFrame(image, sample.image, index)

    with closing(prefetch(_read(samples, labels), _AHEAD)) as pairs:
        for _, result in parser.parse_frames(frames(pairs)):
            sample, truth = waiting.popleft()
            own = ConfusionMatrix(labels.num_classes)
            own.add(truth, result.labels)
            matrix.counts += own.counts
            pictures.append(PictureScore(sample.name, own.mean_iou_present(), own.pixel_accuracy()))
            progress("scoring", len(pictures), len(samples))
    return Scores(labels, matrix.counts, tuple(pictures), str(parser))


def check_classes(metadata: ModelMetadata, name: str, labels: LabelSet) -> None:
    """Raise ConfigError unless a network's classes are those of `labels`, in this order."""
    if metadata.num_classes != labels.num_classes:
        raise ConfigError(
            f"{name}: has {metadata.num_classes} classes ({metadata.dataset}), {labels.title} has "
            f"{labels.num_classes}; choose another --dataset or another model"
        )
    for index, (own, theirs) in enumerate(zip(metadata.class_names, labels.names, strict=True)):
        if own != theirs:
            raise ConfigError(
                f"{name}: its class {index} is {own} ({metadata.dataset}), that of {labels.title} is {theirs}; "
                "choose another --dataset, or export the model again with the right one"
            )


def read_pair(sample: Sample, labels: LabelSet) -> tuple[Picture, Picture]:
    """A picture, uint8 BGR [H, W, 3], and its annotation, uint8 [H, W]. Raises DataError."""
    if sample.labels is None:
        raise DataError(
            f"{sample.image}: has no annotation to score against; choose a split that has, e.g. --split val"
        )
    image, truth = read_image(sample.image), read_labels(sample.labels)
    if truth.shape != image.shape[:2]:
        raise DataError(
            f"{sample.labels}: is {truth.shape[0]}x{truth.shape[1]} (height x width), its picture {sample.image.name} "
            f"is {image.shape[0]}x{image.shape[1]}, expected the same size; `ce2p data check` lists all such files"
        )
    values = np.bincount(truth.ravel(), minlength=256)
    values[IGNORE] = 0
    wrong = np.flatnonzero(values[labels.num_classes :]) + labels.num_classes
    if wrong.size:
        raise DataError(
            f"{sample.labels}: holds label {wrong[0]} in {values[wrong[0]]} pixels, expected 0 to "
            f"{labels.num_classes - 1} or {IGNORE} ({labels.title}); `ce2p data check` lists all such files"
        )
    return image, truth


def _read(samples: Sequence[Sample], labels: LabelSet) -> Iterator[tuple[Sample, Picture, Picture]]:
    for sample in samples:
        image, truth = read_pair(sample, labels)
        yield sample, image, truth
