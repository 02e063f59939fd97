"""Training samples as tensors, and the loader that makes them in worker processes.

A sample is a pure function of (seed, epoch, index): every random choice comes from a generator seeded with the three,
so neither the number of workers nor a restart changes what the network sees.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from ce2p_runtime.base.text import first_line

from ..augmentation import Augmentation
from ..errors import CE2PError, DataError
from ..labels import IGNORE, LabelSet
from .annotations import read_image, read_labels
from .sampler import EpochSampler
from .splits import Sample

_PR_SET_PDEATHSIG = 1  # linux/prctl.h

Batch = dict[str, Tensor]
"""`image` uint8 [(N,) 3, h, w] BGR, `labels` uint8 [(N,) h, w], `edges` uint8 [(N,) h, w]; 255 = ignored in both."""


class ParsingDataset(Dataset[Batch]):
    """Annotated pictures of one data set, augmented."""

    def __init__(self, samples: Sequence[Sample], labels: LabelSet, augmentation: Augmentation, seed: int) -> None:
        """`labels`: the classes that the annotations may hold. `seed`: of the augmentation. Reads nothing yet."""
        self.samples, self.labels, self.augmentation, self.seed = tuple(samples), labels, augmentation, seed

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, key: tuple[int, int]) -> Batch:
        """The sample (epoch, index), without a batch dimension.

        Raises DataError, naming the file, when one cannot be read, holds a label that is no class, or differs in size.
        """
        epoch, index = key
        image, labels = self._read(self.samples[index])
        made = self.augmentation(image, labels, np.random.default_rng([self.seed, epoch, index]))
        return {
            "image": _planes(made.image),
            "labels": torch.from_numpy(made.labels),
            "edges": torch.from_numpy(made.edges),
        }

    def __getitems__(self, keys: list[tuple[int, int]]) -> list[Batch] | CE2PError:
        """What a DataLoader calls for a batch. An error is returned, for `ParsingLoader` to raise: see there."""
        try:
            return [self[key] for key in keys]
        except CE2PError as error:
            return error

    def _read(self, sample: Sample) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        if sample.labels is None:
            raise DataError(f"{sample.image}: has no annotation, expected one for training; use an annotated split")
        image, labels = read_image(sample.image), read_labels(sample.labels)
        if image.shape[:2] != labels.shape:
            (height, width), (rows, columns) = image.shape[:2], labels.shape
            raise DataError(
                f"{sample.labels}: is {rows}x{columns} (height x width), but its picture {sample.image} is "
                f"{height}x{width}; expected the same size"
            )
        count = self.labels.num_classes
        # One pass settles the usual case; only annotations with 255 in them need the second.
        if labels.max() >= count and (wrong := (labels >= count) & (labels != IGNORE)).any():
            row, column = (int(where[0]) for where in np.nonzero(wrong))
            raise DataError(
                f"{sample.labels}: label {labels[row, column]} at row {row}, column {column}; expected 0 to "
                f"{count - 1} ({self.labels.title}) or {IGNORE} for ignore"
            )
        return image, labels


class ParsingLoader(DataLoader[Batch]):
    """A DataLoader whose errors reach the user as one line.

    torch carries an exception out of a worker by making a new one whose message is the worker's traceback. So errors
    travel as values here, in place of their batch, and are raised in the process that iterates.
    """

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]  # a generator does all that is asked of it
        with worker_deaths_named():
            for batch in super().__iter__():
                if isinstance(batch, CE2PError):
                    # A new one: an error whose own traceback holds it lives on until the garbage collector finds it,
                    # and torch takes 5 seconds to end workers that are collected that way.
                    raise type(batch)(str(batch))
                yield batch


@contextmanager
def worker_deaths_named() -> Iterator[None]:
    """Raise the death of a data worker as a DataError: torch raises it wherever this process happens to be."""
    try:
        yield
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker"):  # torch gives it no class of its own
            raise
        reason = first_line(error).rstrip(".")
        raise DataError(f"{reason}; if memory ran out, use fewer --workers or a smaller input") from error


def make_loader(dataset: ParsingDataset, sampler: EpochSampler, workers: int, pin_memory: bool) -> ParsingLoader:
    """Batches of `dataset` in the order of `sampler`, made by `workers` processes that stay alive between epochs.

    0 workers: made in this process. Each worker uses one thread. Iterating raises DataError (one line), also for a
    worker that was killed.
    """
    return ParsingLoader(
        dataset,
        batch_sampler=sampler,
        num_workers=workers,
        pin_memory=pin_memory,
        collate_fn=_collate,
        worker_init_fn=_start_worker,
        persistent_workers=workers > 0,
        # A loader seeds its workers from a generator. This one is its own: the network's dropout draws from torch's.
        generator=torch.Generator().manual_seed(dataset.seed),
    )


def _collate(samples: list[Batch] | CE2PError) -> Any:
    return samples if isinstance(samples, CE2PError) else default_collate(samples)


def _start_worker(_: int) -> None:
    """Workers are the parallelism: OpenCV's threads in each of them would fight over the same cores.

    And they end with the process that they work for, kill -9 included. torch's own watchdog misses a death before its
    first look, and a worker with a full queue waits for ever to hand it over.
    """
    cv2.setNumThreads(0)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    parent = multiprocessing.parent_process()
    if parent is not None and parent.pid != os.getppid():  # it died before the system was told
        os._exit(1)


def _planes(image: NDArray[np.uint8]) -> Tensor:
    """uint8 [h, w, 3] -> [3, h, w]. cv2.split does it ten times as fast as a transposed copy."""
    planes = np.empty((3, *image.shape[:2]), np.uint8)
    cv2.split(image, list(planes))
    return torch.from_numpy(planes)
