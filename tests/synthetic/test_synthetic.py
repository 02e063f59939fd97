"""The synthetic figures: reproducible, anatomically right, labelled exactly, and written in LIP's layout."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from ce2p.synthetic import Lip, iter_samples, render, sample_at, walking_sequence, write_lip_folder
from ce2p.synthetic.annotated import Split
from ce2p.synthetic.figure import figure_shapes
from ce2p.synthetic.materials import Material, tile
from ce2p.synthetic.render import Frame, Shape, paint

SMALL = (96, 80)


def test_a_sample_does_not_depend_on_what_was_drawn_before() -> None:
    image, labels = list(iter_samples(5, 4, SMALL))[3]
    tile.cache_clear()
    alone_image, alone_labels = next(iter_samples(5, 1, SMALL, start=3))
    assert image.tobytes() == alone_image.tobytes()
    assert labels.tobytes() == alone_labels.tobytes()


def test_seeds_and_splits_draw_different_people() -> None:
    scenes = [sample_at(5, 0, SMALL), sample_at(6, 0, SMALL), sample_at(5, 0, SMALL, "val"), sample_at(5, 1, SMALL)]
    images = {render(scene)[0].tobytes() for scene in scenes}
    assert len(images) == len(scenes)


@pytest.mark.parametrize("size", [(64, 64), (48, 120), (160, 40), (97, 71)])
def test_shapes_dtypes_and_range(size: tuple[int, int]) -> None:
    for image, labels in iter_samples(1, 3, size):
        assert image.shape == (*size, 3)
        assert labels.shape == size
        assert image.dtype == labels.dtype == np.uint8
        assert labels.max() < len(Lip)
        assert (labels > 0).any()
        assert (labels == 0).any()


def test_a_tiny_picture_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 16 pixels"):
        next(iter_samples(1, 1, (8, 64)))


def test_every_class_is_frequent_and_big_enough_to_learn() -> None:
    areas = np.array([np.bincount(labels.ravel(), minlength=20) for _, labels in iter_samples(0, 200, SMALL)])
    frequency = (areas >= 6).mean(axis=0)
    exclusive = {Lip.DRESS, Lip.JUMPSUITS}
    rare = {c.name: frequency[c] for c in Lip if frequency[c] < (0.15 if c in exclusive else 0.22)}
    assert not rare


def test_left_is_the_persons_own_left() -> None:
    right_way_round: dict[str, list[bool]] = {"SHOE": [], "ARM": [], "LEG": []}
    for index in range(80):
        scene = sample_at(2, index, (128, 128))
        if abs(scene.pose.yaw) > 0.25:
            continue
        _, labels = render(scene)
        for part, seen in right_way_round.items():
            left, right = (np.nonzero(labels == Lip[f"{side}_{part}"])[1] for side in ("LEFT", "RIGHT"))
            if min(left.size, right.size) > 5:
                seen.append(bool(left.mean() > right.mean()))
    for seen in right_way_round.values():
        assert len(seen) > 15
        assert np.mean(seen) > 0.97


@pytest.mark.parametrize("index", range(8))
def test_colour_and_label_come_from_the_same_outline(index: int) -> None:
    """Paint every labelled shape in a colour that spells its label: away from edges both must agree."""
    scene = sample_at(4, index, (160, 120))
    plain = [
        replace(shape, material=Material((12.0 * shape.label,) * 3), relief=0.0)
        for shape in figure_shapes(scene.person, scene.pose, scene.view)
        if shape.label is not None
    ]
    image, labels = np.zeros((160, 120, 3), np.float32), np.zeros((160, 120), np.uint8)
    paint(image, labels, plain)
    np.testing.assert_array_equal(labels, render(scene)[1])
    square = np.ones((3, 3), np.uint8)
    inside = cv2.erode(labels, square) == cv2.dilate(labels, square)
    assert inside.mean() > 0.7
    # A sliver that misses every pixel's centre colours a few pixels without labelling any.
    assert (np.round(image[..., 0] / 12.0) != labels)[inside].mean() < 0.002


def test_the_pixels_centre_decides_the_label_and_coverage_the_colour() -> None:
    square = np.array([[2.4, 1.0], [5.6, 1.0], [5.6, 4.0], [2.4, 4.0]])
    shape = Shape([square], Material((90.0,) * 3), Frame(np.zeros(2), 0.0, 10.0), Lip.HAT, relief=0.0)
    image, labels = np.zeros((6, 8, 3), np.float32), np.zeros((6, 8), np.uint8)
    paint(image, labels, [shape])
    expected = np.zeros((6, 8), np.uint8)
    expected[1:4, 2:6] = Lip.HAT  # the centres at 2.5 and 5.5 lie just inside
    np.testing.assert_array_equal(labels, expected)
    assert image[2, 3, 0] == 90.0
    assert 45.0 <= image[2, 2, 0] < 90.0
    assert image[2, 6, 0] == 0.0


def test_a_written_folder_reads_back(tmp_path: Path) -> None:
    root = tmp_path / "data" / "lip"
    calls: list[tuple[int, ...]] = []
    write_lip_folder(root, train=3, val=2, size=SMALL, seed=9, progress=lambda step, *done: calls.append(done))
    assert calls == [(n, 5) for n in range(1, 6)]
    assert [path.name for path in root.parent.iterdir()] == ["lip"]
    counts: dict[Split, int] = {"train": 3, "val": 2}
    for split, count in counts.items():
        stems = (root / f"{split}_id.txt").read_text().split()
        assert len(stems) == count
        assert len(list((root / f"{split}_images").iterdir())) == count
        for stem, (image, labels) in zip(stems, iter_samples(9, count, SMALL, split=split), strict=True):
            stored = cv2.imread(str(root / f"{split}_segmentations" / f"{stem}.png"), cv2.IMREAD_UNCHANGED)
            np.testing.assert_array_equal(stored, labels)
            photo = cv2.imread(str(root / f"{split}_images" / f"{stem}.jpg"))
            assert photo is not None
            assert np.abs(photo.astype(int) - image.astype(int)).mean() < 6


def test_an_interrupted_write_leaves_nothing(tmp_path: Path) -> None:
    def interrupt(step: str, done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_lip_folder(tmp_path / "lip", train=3, val=1, size=SMALL, progress=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_an_occupied_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(FileExistsError):
        write_lip_folder(tmp_path, train=1, val=1, size=SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("seed", [0, 2])
def test_a_sequence_moves_smoothly(seed: int) -> None:
    frames = list(walking_sequence(seed, 24, (160, 120)))
    for (_, before), (_, after) in pairwise(frames):
        person = (before > 0) | (after > 0)
        assert 0 < (before != after)[person].mean() < 0.15
    # The same person throughout: what is worn in the first frame is worn in the last.
    worn = [set(np.flatnonzero(np.bincount(labels.ravel(), minlength=20) > 30)) for _, labels in frames]
    assert len(worn[0] ^ worn[-1]) <= 2


def test_a_sequence_is_reproducible_from_any_length() -> None:
    short, long = list(walking_sequence(3, 2, SMALL)), list(walking_sequence(3, 4, SMALL))
    assert short[1][0].tobytes() == long[1][0].tobytes()
    with pytest.raises(ValueError, match="positive"):
        next(walking_sequence(3, 2, SMALL, fps=0))
