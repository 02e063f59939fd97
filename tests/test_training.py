"""Edge labels pixel by pixel, the loss by hand, and a short run that learns and repeats itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from ce2p.errors import CE2PError
from ce2p.labels import label_set
from ce2p.models import CE2PConfig
from ce2p.models.network import CE2POutputs
from ce2p.preprocessing import preprocessing_for
from ce2p.synthetic import write_lip_folder
from ce2p.training.edges import edge_labels
from ce2p.training.losses import ce2p_loss
from ce2p.training.quick import PictureSet, _augmented, load_lip_split, quick_train


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


@pytest.mark.parametrize("seed", range(5))
def test_edges_equal_the_definition_on_random_labels(seed: int) -> None:
    labels = np.random.default_rng(seed).choice([0, 1, 2, 255], (9, 11), p=[0.6, 0.2, 0.1, 0.1])
    assert edge_labels(torch.from_numpy(labels)[None])[0].tolist() == brute_force(labels).tolist()


def test_the_loss_of_confident_right_answers_is_near_zero_and_of_wrong_ones_large() -> None:
    labels = torch.zeros(1, 8, 8, dtype=torch.long)
    labels[0, :, 4:] = 1
    right = 30.0 * torch.nn.functional.one_hot(labels, 3).permute(0, 3, 1, 2).float()
    edges = 30.0 * torch.nn.functional.one_hot(edge_labels(labels), 2).permute(0, 3, 1, 2).float()
    good = ce2p_loss(CE2POutputs(right, right, edges), labels, align_corners=True)
    bad = ce2p_loss(CE2POutputs(right.roll(1, 1), right, edges), labels, align_corners=True)
    assert good.item() < 1e-3
    assert bad.item() > 20


def test_the_edge_classes_weigh_the_same() -> None:
    labels = torch.zeros(1, 8, 8, dtype=torch.long)
    labels[0, :, 4:] = 1
    parsing = 30.0 * torch.nn.functional.one_hot(labels, 3).permute(0, 3, 1, 2).float()
    undecided = torch.zeros(1, 2, 8, 8)
    loss = ce2p_loss(CE2POutputs(parsing, parsing, undecided), labels, align_corners=True)
    assert loss.item() == pytest.approx(np.log(2), abs=1e-3)


def test_a_batch_without_edges_has_a_finite_loss() -> None:
    labels = torch.zeros(1, 8, 8, dtype=torch.long)
    outputs = CE2POutputs(torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 8), torch.zeros(1, 2, 8, 8))
    assert ce2p_loss(outputs, labels, align_corners=True).item() == pytest.approx(2 * np.log(3) + np.log(2))


def test_the_loss_needs_all_three_outputs() -> None:
    with pytest.raises(ValueError, match="all three"):
        ce2p_loss(CE2POutputs(torch.zeros(1, 3, 4, 4), None, None), torch.zeros(1, 4, 4, dtype=torch.long), True)


def test_mirroring_exchanges_left_and_right() -> None:
    labels = label_set("lip")
    left, right = labels.names.index("Left-arm"), labels.names.index("Right-arm")
    targets = torch.full((64, 4, 6), left)
    targets[:, :, 3:] = 7
    torch.manual_seed(0)
    _, found = _augmented(torch.zeros(64, 3, 4, 6, dtype=torch.uint8), targets, labels)
    mirrored = found[:, 0, 0] == 7
    assert 10 < int(mirrored.sum()) < 54
    assert (found[mirrored][:, :, 3:] == right).all()
    assert (found[~mirrored] == targets[~mirrored]).all()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> PictureSet:
    root = tmp_path_factory.mktemp("data") / "lip"
    write_lip_folder(root, train=12, val=1, size=(64, 64), seed=3)
    return load_lip_split(root, "train")


def test_a_short_run_lowers_the_loss_and_repeats_itself(pictures: PictureSet) -> None:
    config, labels = CE2PConfig.of("schp", "r18", 16, 20), label_set("lip")

    def train() -> tuple[list[float], torch.Tensor]:
        losses: list[float] = []
        net = quick_train(
            config, labels, preprocessing_for("schp"), pictures, iterations=12, batch=4, seed=1,
            progress=lambda _, loss: losses.append(loss),
        )  # fmt: skip
        return losses, net.fusion.classifier.weight.detach()  # type: ignore[union-attr]

    (first, weights), (_, again) = train(), train()
    assert np.mean(first[-3:]) < 0.75 * np.mean(first[:3])
    assert torch.equal(weights, again)


def test_a_diverging_run_says_so(pictures: PictureSet) -> None:
    with pytest.raises(CE2PError, match="diverged"):
        quick_train(
            CE2PConfig.of("schp", "r18", 16, 20), label_set("lip"), preprocessing_for("schp"), pictures,
            iterations=40, batch=4, peak_rate=1e12,
        )  # fmt: skip


@pytest.mark.parametrize("iterations", [10, 11])
def test_the_shortest_runs_work_and_shorter_ones_are_refused(pictures: PictureSet, iterations: int) -> None:
    config, labels, preprocessing = CE2PConfig.of("ssseg", "r18", 16, 20), label_set("lip"), preprocessing_for("ssseg")
    quick_train(config, labels, preprocessing, pictures, iterations=iterations, batch=2)
    with pytest.raises(ValueError, match="at least 10"):
        quick_train(config, labels, preprocessing, pictures, iterations=9)


def test_a_data_set_with_a_missing_label_map_is_named(tmp_path: Path) -> None:
    root = tmp_path / "lip"
    write_lip_folder(root, train=2, val=1, size=(32, 32), seed=3)
    next((root / "train_segmentations").iterdir()).unlink()
    with pytest.raises(CE2PError, match="lacks a readable picture or a label map"):
        load_lip_split(root, "train")
