"""The pictures that a gate compares on: the user's own, with truth where a data set brings it, or synthetic people."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypeVar

from ce2p.data.splits import Sample, has_split, open_split, recognise, stored_alike
from ce2p.datasets import DATASETS
from ce2p.errors import ConfigError
from ce2p.evaluation.scoring import read_pair
from ce2p.labels import LABEL_SETS, LabelSet, read_label_set
from ce2p.synthetic import SYNTHETIC, annotated_at
from ce2p_runtime import ModelMetadata
from ce2p_runtime.judge import GatePicture
from ce2p_runtime.media.listing import list_pictures
from ce2p_runtime.media.pictures import read_picture

T = TypeVar("T")
Purpose = Literal["gate", "calibration"]

GATE_PICTURES = 32
"""How many, where nobody says: all are held in memory, and a search judges them many times."""
_SEED = 190_805
"""Of the synthetic people; far from the small numbers that people take to draw training data with."""
_SHAPES = ((1.0, 1.0), (1.3, 0.9), (0.9, 1.2))
"""Height and width of synthetic pictures, in turn, as multiples of the input's: each fills the input differently."""


def choose_pictures(
    source: Path | None,
    metadata: ModelMetadata,
    count: int = GATE_PICTURES,
    purpose: Purpose = "gate",
    *,
    shared: bool = False,
    called: str | None = None,
) -> tuple[list[GatePicture], str]:
    """At most `count` pictures for networks with these classes and this input size, and which they are in words.

    `source`: a data set in its published layout (split val, else train or test; truth comes along, and must be of the
    network's classes), a folder or a pattern of pictures, or one picture; more than `count` are taken evenly spread, in
    sorted order. None: synthetic people, the same ones every time, with truth where the classes are known.
    `purpose`: calibration takes a data set's split train and other synthetic people than the gate. `shared`: a folder
    serves both, and each takes every other picture. `called`: what the words call `source`, its path by default.
    Raises ConfigError for a data set with other classes, DataError and MediaError for what cannot be read.
    """
    if count < 1:
        raise ConfigError(f"{count} pictures to compare on, expected at least 1")
    if source is None:
        return _drawn(metadata, count, purpose)
    if source.is_dir() and (stored_as := recognise(source)) is not None:
        return _of_data_set(source, stored_as, metadata, count, purpose, called=called or str(source))
    listing = list_pictures(source)
    found = listing.pictures
    if shared:
        found = found[0 if purpose == "gate" else 1 :: 2] or found
    pictures = [GatePicture(path.name, read_picture(path)) for path in _evenly(found, count)]
    left_out = "".join(f"; {line.partition(': ')[2]}" for line in (*listing.problems, *listing.notes))
    return pictures, f"{_of(pictures, len(found))} of {called or source}, without truth{left_out}"


def _of_data_set(
    root: Path, stored_as: str, metadata: ModelMetadata, count: int, purpose: Purpose, *, called: str
) -> tuple[list[GatePicture], str]:
    labels = _label_set(root, stored_as, metadata)
    order = ("val", "train", "test") if purpose == "gate" else ("train", "val", "test")
    splits = [split for split in order if has_split(labels.dataset, root, split)]
    samples = open_split(labels.dataset, root, splits[0] if splits else "val")  # without one, it says what is missing
    ordered = sorted(samples, key=lambda sample: sample.name)
    pictures = [_annotated(sample, labels) for sample in _evenly(ordered, count)]
    truth = "with truth" if pictures[0].truth is not None else "without truth"
    return pictures, f"{_of(pictures, len(samples))} of {called}, split {splits[0]}, {truth}"


def _label_set(root: Path, stored_as: str, metadata: ModelMetadata) -> LabelSet:
    """The classes of a data set's annotations, once they are known to be the network's. Raises ConfigError."""
    if stored_as == "custom":
        labels = read_label_set(root)
    elif metadata.dataset in LABEL_SETS and stored_alike(root, stored_as, metadata.dataset):
        labels = LABEL_SETS[metadata.dataset]
    else:
        labels = LABEL_SETS[stored_as]
    if labels.names != metadata.class_names:
        raise ConfigError(
            f"{root}: has the layout of data set {stored_as} ({labels.num_classes} classes), the network was trained "
            f"on {metadata.dataset} ({metadata.num_classes} classes); name the folder inside it that holds the "
            "pictures, to compare without truth"
        )
    return labels


def _annotated(sample: Sample, labels: LabelSet) -> GatePicture:
    if sample.labels is None:
        return GatePicture(sample.name, read_picture(sample.image))
    image, truth = read_pair(sample, labels)
    return GatePicture(sample.name, image, truth)


def _drawn(metadata: ModelMetadata, count: int, purpose: Purpose) -> tuple[list[GatePicture], str]:
    dataset = metadata.dataset if metadata.dataset in SYNTHETIC else SYNTHETIC[0]
    known = DATASETS[dataset].labels.names == metadata.class_names
    pictures = []
    for index in range(count):
        rows, columns = _SHAPES[index % len(_SHAPES)]
        size = (max(16, round(rows * metadata.input_size[0])), max(16, round(columns * metadata.input_size[1])))
        sample = annotated_at(dataset, _SEED, index, size, "val" if purpose == "gate" else "train")
        pictures.append(GatePicture(f"synthetic person {index}", sample.image, sample.labels if known else None))
    return pictures, f"{count} synthetic pictures, {'with' if known else 'without'} truth"


def _evenly(items: Sequence[T], count: int) -> list[T]:
    """At most `count` of them, evenly spread, from the first on."""
    kept = min(count, len(items))
    return [items[index * len(items) // kept] for index in range(kept)]


def _of(pictures: list[GatePicture], total: int) -> str:
    noun = "picture" if total == 1 else "pictures"
    return f"{total} {noun}" if len(pictures) == total else f"{len(pictures)} of {total} {noun}"
