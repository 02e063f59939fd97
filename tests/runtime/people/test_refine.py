"""Cutting masks into parts, growing them and their confidences: by hand, and the flood against the regions."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from ce2p_runtime.people.part_instances import human_map, part_confidences, part_map
from ce2p_runtime.people.refine import refine, refine_reference


def grid(*rows: str) -> NDArray[np.uint8]:
    """One digit per pixel, `.` for 0."""
    return np.array([[0 if c == "." else int(c) for c in row] for row in rows], np.uint8)


def masks_of(*maps: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return np.stack([m > 0 for m in maps])


def test_parts_run_through_people_and_classes_and_the_last_mask_wins() -> None:
    labels = grid("5522.", "55229")
    masks = masks_of(grid("1111.", "1111."), grid("..111", "..111"))
    parts = part_map(labels, masks)
    # Person 0 loses its whole class 2 to person 1, so that part gets no id; the pixel without class has none either.
    np.testing.assert_array_equal(parts.ids, grid("1122.", "11223"))
    np.testing.assert_array_equal(parts.classes, [5, 2, 9])
    np.testing.assert_array_equal(parts.people, [0, 1, 1])


def test_nobody_and_nothing_give_no_parts() -> None:
    labels = grid("12", "34")
    for masks in (np.zeros((0, 2, 2), np.bool_), np.zeros((2, 2, 2), np.bool_)):
        parts = part_map(labels, masks)
        assert len(parts.classes) == 0
        assert not parts.ids.any()
        assert part_confidences(parts, np.ones((2, 2), np.float32)) == []
    assert not part_map(np.zeros((2, 2), np.uint8), np.ones((1, 2, 2), np.bool_)).ids.any()


def test_more_than_255_parts_are_kept() -> None:
    labels = np.tile(np.arange(1, 21, dtype=np.uint8), (20, 1))
    masks = np.zeros((20, 20, 20), np.bool_)
    for person in range(20):
        masks[person, person] = True
    parts = part_map(labels, masks)
    assert parts.ids.max() == 400
    np.testing.assert_array_equal(parts.ids, np.arange(1, 401).reshape(20, 20))


def test_a_region_goes_to_the_first_neighbour_in_reading_order() -> None:
    labels = grid("7777777", "7.....7", "7777777")
    masks = masks_of(grid(".......", ".......", "1......"), grid("......1", ".......", "......."))
    for grow in (refine_reference, refine):
        parts, grown = grow(part_map(labels, masks), labels, masks)
        # Both people touch the ring; person 1's pixel comes first in reading order and takes all that is free.
        np.testing.assert_array_equal(parts.ids, grid("2222222", "2.....2", "1222222"))
        np.testing.assert_array_equal(grown[0], masks[0])
        np.testing.assert_array_equal(grown[1], parts.ids == 2)


def test_regions_grow_over_corners_only_within_their_class_and_stay_where_nobody_touches_them() -> None:
    labels = grid("3....", ".3...", "..4.3", "..4..")
    masks = masks_of(grid("1....", ".....", ".....", "..1.."))
    for grow in (refine_reference, refine):
        parts, grown = grow(part_map(labels, masks), labels, masks)
        np.testing.assert_array_equal(parts.ids, grid("1....", ".1...", "..2..", "..2.."))
        np.testing.assert_array_equal(grown[0], parts.ids > 0)


def test_grown_pixels_join_everybody_the_first_pixel_belongs_to() -> None:
    labels = grid("1111")
    masks = masks_of(grid("11.."), grid(".1.."))
    for grow in (refine_reference, refine):
        parts, grown = grow(part_map(labels, masks), labels, masks)
        # The free pixels touch pixel 1, which both people own; the part is the last mask's.
        np.testing.assert_array_equal(parts.ids, grid("1222"))
        np.testing.assert_array_equal(grown, masks_of(grid("1111"), grid(".111")))


def test_nothing_changes_in_what_was_handed_in() -> None:
    labels, masks = grid("11", "11"), masks_of(grid("1.", ".."))
    parts = part_map(labels, masks)
    before = parts.ids.copy(), masks.copy()
    refine(parts, labels, masks)
    np.testing.assert_array_equal(parts.ids, before[0])
    np.testing.assert_array_equal(masks, before[1])


@pytest.mark.parametrize("seed", range(40))
def test_regions_equal_the_flood(seed: int) -> None:
    rng = np.random.default_rng(seed)
    height, width = rng.integers(1, 28, 2)
    classes, people = int(rng.integers(2, 6)), int(rng.integers(0, 5))
    labels = rng.integers(0, classes, (height, width)).astype(np.uint8)
    if seed % 2:  # larger patches
        labels = np.kron(labels, np.ones((2, 3), np.uint8))
    masks = rng.random((people, *labels.shape)) < rng.choice([0.02, 0.1, 0.4])
    parts = part_map(labels, masks)
    expected, expected_masks = refine_reference(parts, labels, masks)
    found, found_masks = refine(parts, labels, masks)
    np.testing.assert_array_equal(found.ids, expected.ids)
    np.testing.assert_array_equal(found_masks, expected_masks)
    assert not len(parts.classes) or min(labels.shape) < 4 or (found.ids != parts.ids).any()  # there was work to do


def test_people_are_numbered_by_area_and_smaller_ones_are_seen_in_front() -> None:
    masks = masks_of(grid("1..", "..."), grid("111", "111"), grid(".1.", "..."))
    humans, order = human_map(masks)
    np.testing.assert_array_equal(order, [1, 0, 2])  # equal areas keep their order
    np.testing.assert_array_equal(humans, grid("231", "111"))


def test_confidence_is_the_mean_logit_of_the_part() -> None:
    labels = grid("12", "12")
    parts = part_map(labels, masks_of(grid("1.", "1."), grid(".1", "..")))
    logits = np.float32([[2, 7], [5, np.inf]])
    assert part_confidences(parts, logits) == [3.5, 7.0]
    assert part_confidences(parts, logits, [0.5, 2.0]) == [1.75, 14.0]
