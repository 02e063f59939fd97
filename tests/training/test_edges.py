"""Edge labels pixel by pixel, and their differentiable twin."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ce2p.training.edges import edge_labels, soft_edges


def undilated(rows: list[str]) -> torch.Tensor:
    return torch.tensor([[int(cell) for cell in row] for row in rows])


def test_a_vertical_border_marks_its_left_side_three_wide() -> None:
    labels = undilated(["000111"] * 5)[None]
    # Against the right neighbour the left pixel (column 2) is marked, against below left the upper right (column 3);
    # dilation then reaches columns 1 to 4.
    assert edge_labels(labels)[0].tolist() == [[0, 1, 1, 1, 1, 0]] * 5


def test_a_single_pixel_is_ringed() -> None:
    labels = torch.zeros(1, 7, 7, dtype=torch.long)
    labels[0, 3, 3] = 5
    edges = edge_labels(labels)[0]
    assert edges[3, 3] == 1
    assert edges.sum() < 49
    assert edges[0].sum() == edges[6].sum() == 0


def test_ignored_pixels_make_no_edges() -> None:
    labels = torch.zeros(1, 6, 6, dtype=torch.long)
    labels[0, :, 3:] = 255
    assert edge_labels(labels).sum() == 0


def brute_force(labels: np.ndarray) -> np.ndarray:
    """The definition, pixel by pixel (dataset/target_generation.py of CE2P, in words of ours)."""
    height, width = labels.shape
    marks = np.zeros((height, width), bool)
    for y in range(height):
        for x in range(width):
            for dy, dx in ((-1, 0), (0, 1), (1, 1), (1, -1)):
                if 0 <= y + dy < height and 0 <= x + dx < width:
                    a, b = labels[y, x], labels[y + dy, x + dx]
                    marks[y, x] |= bool(a != b and a != 255 and b != 255)
    padded = np.pad(marks, 1)
    return np.array([[padded[y : y + 3, x : x + 3].any() for x in range(width)] for y in range(height)], np.int64)


def random_labels(seed: int) -> torch.Tensor:
    """Sparse, so that the dilated marks leave room: a wrong one would show."""
    drawn = np.random.default_rng(seed).choice([0, 1, 2, 255], (9, 11), p=[0.9, 0.03, 0.02, 0.05])
    return torch.from_numpy(drawn)[None]


@pytest.mark.parametrize("seed", range(5))
def test_edges_equal_the_definition_on_random_labels(seed: int) -> None:
    labels = random_labels(seed)
    assert edge_labels(labels)[0].tolist() == brute_force(labels[0].numpy()).tolist()


@pytest.mark.parametrize("seed", range(5))
def test_certain_probabilities_make_exactly_the_edges_of_their_labels(seed: int) -> None:
    labels = random_labels(seed)
    counted = labels != 255
    certain = F.one_hot(labels.where(counted, 0), 3).permute(0, 3, 1, 2).float()
    assert torch.equal(soft_edges(certain, counted), edge_labels(labels).float())


def test_soft_edges_are_the_distance_of_the_distributions() -> None:
    probabilities = torch.tensor([[0.9, 0.1], [0.6, 0.4]]).T.reshape(1, 2, 1, 2)  # one row of two pixels
    edges = soft_edges(probabilities, torch.ones(1, 1, 2, dtype=torch.bool))
    assert edges.flatten().tolist() == pytest.approx([0.3, 0.3])  # (|0.9-0.6| + |0.1-0.4|) / 2, then dilated


def test_soft_edges_have_the_gradient_of_their_finite_differences() -> None:
    torch.manual_seed(0)
    logits = torch.randn(1, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    counted = torch.ones(1, 4, 5, dtype=torch.bool)
    counted[0, 1, 2] = False
    weights = torch.rand(1, 4, 5, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: (soft_edges(x.softmax(1), counted) * weights).sum(), (logits,))
