"""Samples as tensors: what they depend on, and how errors come out of worker processes."""

from __future__ import annotations

import os
import pickle
import signal
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from ce2p.augmentation import Augmentation, Augmented, build_augmentation
from ce2p.data.dataset import ParsingDataset, make_loader
from ce2p.data.sampler import EpochSampler
from ce2p.data.splits import Sample
from ce2p.errors import DataError
from ce2p.labels import label_set
from tests.augmentation.drawing import scene

LIP = label_set("lip")
PICTURES = 10


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> tuple[Sample, ...]:
    """Ten pictures of different sizes with their labels, without loss."""
    root = tmp_path_factory.mktemp("pictures")
    return tuple(write(root, f"{i}", *scene(40 + i, 50 - i, seed=i)) for i in range(PICTURES))


def write(root: Path, name: str, image: np.ndarray, labels: np.ndarray) -> Sample:
    sample = Sample(name, root / f"{name}.png", root / f"{name}_labels.png")
    cv2.imwrite(str(sample.image), image)
    cv2.imwrite(str(sample.labels), labels)
    return sample


def dataset(samples: tuple[Sample, ...], name: str = "ssseg", seed: int = 0) -> ParsingDataset:
    return ParsingDataset(samples, LIP, build_augmentation(name, {}, (32, 40), LIP), seed)


def test_a_sample_is_planes_of_bgr_with_labels_and_edges(samples: tuple[Sample, ...]) -> None:
    data = dataset(samples)
    sample = data[2, 3]
    assert {name: (value.dtype, tuple(value.shape)) for name, value in sample.items()} == {
        "image": (torch.uint8, (3, 32, 40)),
        "labels": (torch.uint8, (32, 40)),
        "edges": (torch.uint8, (32, 40)),
    }
    image, labels = scene(43, 47, seed=3)
    expected = data.augmentation(image, labels, np.random.default_rng([0, 2, 3]))
    np.testing.assert_array_equal(sample["image"].numpy().transpose(1, 2, 0), expected.image)
    np.testing.assert_array_equal(sample["labels"].numpy(), expected.labels)
    np.testing.assert_array_equal(sample["edges"].numpy(), expected.edges)
    assert len(data) == PICTURES


def test_seed_epoch_and_index_are_all_that_a_sample_depends_on(samples: tuple[Sample, ...]) -> None:
    base = dataset(samples)[1, 4]["image"]
    torch.manual_seed(77)
    np.random.seed(77)
    assert torch.equal(dataset(samples)[1, 4]["image"], base)
    assert not torch.equal(dataset(samples, seed=1)[1, 4]["image"], base)
    assert not torch.equal(dataset(samples)[2, 4]["image"], base)


def test_the_number_of_workers_changes_nothing(samples: tuple[Sample, ...]) -> None:
    def epochs(workers: int) -> list[dict[str, torch.Tensor]]:
        sampler = EpochSampler(PICTURES, 4, micro_batch=2, seed=5)
        loader = make_loader(dataset(samples), sampler, workers, pin_memory=False)
        assert len(loader) == 4
        batches = list(loader)
        sampler.set_position(1, 1)  # workers that stay alive take the new position
        return batches + list(loader)

    alone = epochs(0)
    assert [tuple(batch["image"].shape) for batch in alone] == [(2, 3, 32, 40)] * 6
    for workers in (1, 2):
        found = epochs(workers)
        assert len(found) == len(alone)
        assert all(torch.equal(a[name], b[name]) for a, b in zip(alone, found, strict=True) for name in a)


def test_a_data_set_travels_to_workers_that_are_not_forked(samples: tuple[Sample, ...]) -> None:
    data = dataset(samples)
    copy = pickle.loads(pickle.dumps(data))
    assert torch.equal(copy[0, 1]["image"], data[0, 1]["image"])


@pytest.mark.parametrize("workers", [0, 1])
def test_loading_leaves_the_global_generator_alone(samples: tuple[Sample, ...], workers: int) -> None:
    loader = make_loader(dataset(samples), EpochSampler(PICTURES, 5, micro_batch=5, seed=0), workers, pin_memory=False)
    before = torch.get_rng_state()
    list(loader)
    list(loader)
    assert torch.equal(torch.get_rng_state(), before)


def loader_error(samples: tuple[Sample, ...], workers: int, augmentation: Augmentation | None = None) -> str:
    """The one line that iterating ends in."""
    data = ParsingDataset(samples, LIP, augmentation or build_augmentation("none", {}, (32, 40), LIP), 0)
    loader = make_loader(data, EpochSampler(len(samples), 1, micro_batch=1, seed=0), workers, pin_memory=False)
    message = ""
    try:  # not pytest.raises, whose record of the error would keep the workers waiting
        list(loader)
    except DataError as error:
        message = str(error)
    assert message
    assert "\n" not in message
    return message


@pytest.mark.parametrize("workers", [0, 1])
def test_a_label_that_is_no_class_is_named_with_its_place(tmp_path: Path, workers: int) -> None:
    image, labels = scene(20, 30)
    labels[:5] = 255
    labels[7, 11] = labels[9, 2] = 20
    sample = write(tmp_path, "wrong", image, labels)
    assert loader_error((sample,), workers) == (
        f"{sample.labels}: label 20 at row 7, column 11; expected 0 to 19 (Look into Person) or 255 for ignore"
    )


@pytest.mark.parametrize("workers", [0, 1])
def test_labels_of_another_size_are_named_with_both(tmp_path: Path, workers: int) -> None:
    sample = write(tmp_path, "wrong", scene(20, 30)[0], scene(20, 31)[1])
    assert loader_error((sample,), workers) == (
        f"{sample.labels}: is 20x31 (height x width), but its picture {sample.image} is 20x30; expected the same size"
    )


def test_a_missing_file_and_a_missing_annotation_are_named(tmp_path: Path) -> None:
    gone = write(tmp_path, "gone", *scene(20, 30))
    assert gone.labels is not None
    gone.labels.unlink()
    assert loader_error((gone,), 1).startswith(f"{gone.labels}: ")
    assert "has no annotation" in loader_error((Sample("test", gone.image, None),), 0)


def test_the_first_number_beyond_the_classes_is_no_label(tmp_path: Path) -> None:
    image, labels = scene(20, 30)
    labels[0, 0] = 20
    assert "label 20 at row 0, column 0" in loader_error((write(tmp_path, "wrong", image, labels),), 0)


@pytest.mark.parametrize("highest", [19, 255])
def test_the_ends_of_the_range_are_labels(tmp_path: Path, highest: int) -> None:
    image, labels = scene(20, 30)
    labels[3, 3] = highest
    assert highest in dataset((write(tmp_path, "right", image, labels),), "none")[0, 0]["labels"]


def die(image: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> Augmented:
    """What the kernel does to a process when memory runs out."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def test_a_killed_worker_is_one_line_too(tmp_path: Path) -> None:
    message = loader_error((write(tmp_path, "fatal", *scene(20, 30)),), 1, die)
    assert message.startswith("DataLoader worker (pid")
    assert message.endswith("use fewer --workers or a smaller input")


def test_a_fault_of_ours_is_not_taken_for_bad_data(samples: tuple[Sample, ...]) -> None:
    def broken(image: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> Augmented:
        raise ZeroDivisionError

    data = ParsingDataset(samples, LIP, broken, 0)
    loader = make_loader(data, EpochSampler(len(samples), 1, micro_batch=1, seed=0), 0, pin_memory=False)
    with pytest.raises(ZeroDivisionError):
        list(loader)
