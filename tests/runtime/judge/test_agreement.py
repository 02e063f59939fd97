"""Figures of two label maps, against counts by hand and by plain loops."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from ce2p_runtime.geometry import FrameMapping, frame_mapping
from ce2p_runtime.judge.agreement import band_radius, boundary_band, class_ious, compare_labels, count_pairs
from ce2p_runtime.model_files.metadata import Geometry

Labels = NDArray[np.uint8]
SCHP = Geometry("affine", False, "float", "logits")


def labels(*rows: str) -> Labels:
    return np.array([[int(digit) for digit in row] for row in rows], np.uint8)


def plain_band(values: Labels, radius: int) -> NDArray[np.bool_]:
    """By the definition: look at four neighbours, then at every pair of pixels."""
    height, width = values.shape
    places = list(itertools.product(range(height), range(width)))
    boundary = [
        (y, x)
        for y, x in places
        if any(
            0 <= y + dy < height and 0 <= x + dx < width and values[y + dy, x + dx] != values[y, x]
            for dy, dx in ((-1, 0), (1, 0), (0, -1), (0, 1))
        )
    ]
    band = np.zeros(values.shape, np.bool_)
    for y, x in places:
        band[y, x] = any(max(abs(y - v), abs(x - u)) <= radius for v, u in boundary)
    return band


@pytest.mark.parametrize("radius", [0, 1, 2, 3, 5])
def test_the_band_is_that_of_a_plain_loop(radius: int) -> None:
    for seed, shape in enumerate([(12, 17), (17, 9), (1, 20), (20, 1), (1, 1)]):
        rng = np.random.default_rng(seed)
        values = np.zeros(shape, np.uint8)
        values[rng.integers(0, shape[0]) :, rng.integers(0, shape[1]) :] = 3
        values[: rng.integers(0, shape[0]) + 1, : rng.integers(0, shape[1]) + 1] = 7
        np.testing.assert_array_equal(boundary_band(values, radius), plain_band(values, radius))


def test_the_band_of_one_straight_boundary() -> None:
    values = np.zeros((5, 20), np.uint8)
    values[:, 10:] = 1
    columns = np.flatnonzero(boundary_band(values, 3).all(0))
    np.testing.assert_array_equal(columns, np.arange(6, 14))  # 9 and 10 are at it, three more to either side
    assert not boundary_band(np.full((5, 20), 4, np.uint8), 3).any()
    with pytest.raises(ValueError, match="radius is -1"):
        boundary_band(values, -1)


def test_diagonal_neighbours_alone_make_no_boundary() -> None:
    cross = labels("00", "01")  # the corner pixel has two neighbours of another label, the opposite one has none
    np.testing.assert_array_equal(boundary_band(cross, 0), [[False, True], [True, True]])


@pytest.mark.parametrize(
    ("mapping", "radius"),
    [
        (frame_mapping(SCHP, (473, 473), (473, 473)), 3),
        (frame_mapping(SCHP, (945, 945), (473, 473)), 6),
        (frame_mapping(SCHP, (1080, 1920), (473, 473)), 12),  # the whole width has to fit: 1919 / 472 = 4.07
        (frame_mapping(SCHP, (60, 50), (473, 473)), 1),  # enlarged; a band has a pixel at least
        (FrameMapping(None, None, (946, 946), (473, 473)), 6),
        (FrameMapping(None, None, (946, 473), (473, 473)), 4),  # stretched: 3 times the root of 2
    ],
)
def test_the_band_is_as_wide_as_the_networks_input_says(mapping: FrameMapping, radius: int) -> None:
    assert band_radius(mapping) == radius


def test_counts_by_hand() -> None:
    reference = labels("000011", "000011", "002222")
    candidate = labels("000111", "000011", "002220")
    found = compare_labels("x", reference, candidate, boundary_band(reference, 0), 3)
    assert (found.pixels, found.agreeing, found.agreement) == (18, 16, 16 / 18)
    # At a boundary: 000b11 / 00bbb1... written out, rows from the top.
    band = labels("000110", "001111", "011111").astype(bool)
    np.testing.assert_array_equal(boundary_band(reference, 0), band)
    assert (found.band_pixels, found.band_agreeing, found.band_agreement) == (11, 9, 9 / 11)
    np.testing.assert_array_equal(found.counts, [[9, 1, 0, 0], [0, 4, 0, 0], [1, 0, 3, 0]])
    assert class_ious(found.counts) == [9 / 11, 4 / 5, 3 / 4]
    assert found.stray is None
    assert found.truth_counts is found.reference_truth_counts is None


def test_truth_is_counted_for_both_without_its_ignored_pixels() -> None:
    truth = np.array([[0, 0, 255, 1]], np.uint8)
    reference, candidate = labels("0011"), labels("0110")
    found = compare_labels("x", reference, candidate, boundary_band(reference, 1), 2, truth=truth)
    assert found.truth_counts is not None
    assert found.reference_truth_counts is not None
    np.testing.assert_array_equal(found.truth_counts, [[1, 1, 0], [1, 0, 0]])
    np.testing.assert_array_equal(found.reference_truth_counts, [[2, 0, 0], [0, 1, 0]])
    assert class_ious(found.truth_counts) == [1 / 3, 0.0]


def test_one_label_only_has_no_band_and_absent_classes_no_iou() -> None:
    flat = np.zeros((4, 4), np.uint8)
    found = compare_labels("x", flat, flat, boundary_band(flat, 3), 3)
    assert (found.agreement, found.band_pixels, found.band_agreement) == (1.0, 0, None)
    assert class_ious(found.counts) == [1.0, None, None]
    assert found.rank == (1.0, 1.0, "x")


def test_labels_that_are_no_class_are_counted_not_stumbled_over() -> None:
    reference, candidate = labels("0011"), np.array([[0, 200, 1, 3]], np.uint8)
    found = compare_labels("x", reference, candidate, boundary_band(reference, 1), 3)
    assert found.stray == 200
    assert found.agreeing == 2
    np.testing.assert_array_equal(found.counts, [[1, 0, 0, 1], [0, 1, 0, 1], [0, 0, 0, 0]])
    assert class_ious(found.counts) == [1 / 2, 1 / 2, None]


def test_pairs_are_those_of_a_loop() -> None:
    rng = np.random.default_rng(0)
    rows, columns = (rng.integers(0, 256, (40, 50), np.uint8) for _ in range(2))
    expected = np.zeros((100, 101), np.int64)
    for row, column in zip(rows.ravel(), columns.ravel(), strict=True):
        if row < 100:
            expected[row, min(column, 100)] += 1
    np.testing.assert_array_equal(count_pairs(rows, columns, 100), expected)


def test_maps_of_different_sizes_are_refused() -> None:
    flat = np.zeros((4, 4), np.uint8)
    band = boundary_band(flat, 1)
    with pytest.raises(ValueError, match=r"x: the candidate is \(4, 5\), the reference \(4, 4\)"):
        compare_labels("x", flat, np.zeros((4, 5), np.uint8), band, 2)
    with pytest.raises(ValueError, match="the truth is"):
        compare_labels("x", flat, flat, band, 2, truth=np.zeros((5, 4), np.uint8))
