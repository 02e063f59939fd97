"""Edge maps against the definition, pixel by pixel, and against the version for batches of tensors."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ce2p.augmentation import edge_map
from ce2p.training.edges import edge_labels
from tests.augmentation.drawing import labels_of


def brute_force(labels: np.ndarray) -> np.ndarray:
    """The definition: compare with above, right, below right, below left; then a 3x3 square around every mark."""
    height, width = labels.shape
    edges = np.zeros((height, width), np.uint8)
    for y in range(height):
        for x in range(width):
            for dy, dx in ((-1, 0), (0, 1), (1, 1), (1, -1)):
                if not (0 <= y + dy < height and 0 <= x + dx < width):
                    continue
                one, other = labels[y, x], labels[y + dy, x + dx]
                if one != other and 255 not in (one, other):
                    edges[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2] = 1
    return edges


@pytest.mark.parametrize("seed", range(8))
def test_random_maps_match_the_definition_and_the_batched_version(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for height, width in ((1, 1), (1, 9), (9, 1), (2, 2), (7, 13), (12, 5)):
        # Few values make flat areas; 0, 254 and 255 are the ends that the minimum and maximum filters could trip over.
        labels = rng.choice(np.array([0, 3, 254, 255], np.uint8), (height, width), p=[0.5, 0.2, 0.1, 0.2])
        edges = edge_map(labels)
        assert edges.dtype == np.uint8
        np.testing.assert_array_equal(edges, brute_force(labels))
        np.testing.assert_array_equal(edges, edge_labels(torch.from_numpy(labels)[None])[0].numpy())


def test_a_vertical_border_by_hand() -> None:
    # Column 1 differs from its right neighbour, column 2 from the one below left; the dilation adds one on each side.
    assert edge_map(labels_of("000555", "000555", "000555")).tolist() == [[0, 1, 1, 1, 1, 0]] * 3


def test_a_horizontal_border_by_hand() -> None:
    # Row 2 differs from the one above, row 1 from those below right and below left.
    edges = edge_map(labels_of("0000", "0000", "5555", "5555", "5555"))
    assert edges.tolist() == [[1] * 4, [1] * 4, [1] * 4, [1] * 4, [0] * 4]


def test_ignored_pixels_make_no_edge_but_may_lie_on_one() -> None:
    assert not edge_map(labels_of("00..55", "00..55", "00..55")).any()
    # The border lies between columns 0 and 1; the dilation reaches the ignored column 2.
    assert edge_map(labels_of("05..", "05..")).tolist() == [[1, 1, 1, 0]] * 2


def test_the_map_is_left_as_it_was_and_need_not_be_contiguous() -> None:
    labels = np.random.default_rng(0).integers(0, 3, (20, 30)).astype(np.uint8)
    before = labels.copy()
    np.testing.assert_array_equal(edge_map(labels[3:17, ::2]), brute_force(labels[3:17, ::2]))
    np.testing.assert_array_equal(labels, before)
