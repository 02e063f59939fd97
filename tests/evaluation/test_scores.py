"""Scores of label maps: by hand, against torchmetrics, and what is written about them."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from torchmetrics.classification import MulticlassAccuracy, MulticlassJaccardIndex

from ce2p.datasets import PUBLISHED, Published, published
from ce2p.evaluation.scores import ConfusionMatrix, PictureScore, Scores
from ce2p.labels import LabelSet, label_set
from ce2p.synthetic import Lip

FOUR = LabelSet("custom", "four", ("Background", "a", "b", "c"))


def scores_of(matrix: ConfusionMatrix, labels: LabelSet = FOUR) -> Scores:
    return Scores(labels, matrix.counts, (PictureScore("one", 0.5, 0.5),), "a network")


@pytest.fixture
def by_hand() -> ConfusionMatrix:
    matrix = ConfusionMatrix(4)
    matrix.add(np.array([[0, 0, 1], [1, 2, 255]], np.uint8), np.array([[0, 1, 1], [1, 0, 2]], np.uint8))
    return matrix


def test_iou_by_hand(by_hand: ConfusionMatrix) -> None:
    # class 0: 1 / (2 + 2 - 1); class 1: 2 / (2 + 3 - 2); class 2: 0 / 1; class 3 occurs nowhere; 255 is left out
    np.testing.assert_allclose(by_hand.iou(), [1 / 3, 2 / 3, 0, np.nan])
    np.testing.assert_allclose(by_hand.accuracy(), [1 / 2, 1, 0, np.nan])
    assert by_hand.mean_iou_present() == pytest.approx(1 / 3)
    assert by_hand.pixel_accuracy() == pytest.approx(3 / 5)


def test_every_mean_says_what_it_does_with_a_class_that_is_nowhere(by_hand: ConfusionMatrix) -> None:
    scores = scores_of(by_hand)
    assert scores.pixels == 5
    assert scores.mean_iou == pytest.approx((1 / 3 + 2 / 3 + 0 + 0) / 4)  # published: a zero among C
    assert scores.mean_iou_present == pytest.approx((1 / 3 + 2 / 3 + 0) / 3)  # left out
    assert scores.mean_accuracy == pytest.approx((1 / 2 + 1 + 0 + 0) / 4)
    assert scores.frequency_weighted_iou == pytest.approx((2 / 3 + 2 * 2 / 3 + 0) / 5)


def test_a_class_that_is_only_predicted_counts_in_the_published_mean_alone() -> None:
    matrix = ConfusionMatrix(4)
    matrix.add(np.array([[0, 0, 0, 1]], np.uint8), np.array([[0, 0, 3, 1]], np.uint8))
    scores = scores_of(matrix)
    np.testing.assert_allclose(scores.iou, [2 / 3, 1, np.nan, 0])
    assert scores.mean_iou == pytest.approx((2 / 3 + 1) / 4)
    assert scores.mean_iou_present == pytest.approx((2 / 3 + 1) / 2)


def test_a_split_that_is_ignored_altogether_has_no_score() -> None:
    matrix = ConfusionMatrix(4)
    matrix.add(np.full((2, 2), 255, np.uint8), np.zeros((2, 2), np.uint8))
    scores = scores_of(matrix)
    assert math.isnan(scores.pixel_accuracy)
    assert math.isnan(scores.mean_iou_present)
    assert scores.to_json()["pixel_accuracy"] is None


def test_counts_add_up_over_pictures() -> None:
    rng = np.random.default_rng(0)
    maps = [(rng.integers(0, 3, (5, 4), np.uint8), rng.integers(0, 3, (5, 4), np.uint8)) for _ in range(3)]
    one, all_together = ConfusionMatrix(3), ConfusionMatrix(3)
    for truth, predicted in maps:
        one.add(truth, predicted)
    all_together.add(np.concatenate([t for t, _ in maps]), np.concatenate([p for _, p in maps]))
    np.testing.assert_array_equal(one.counts, all_together.counts)


def test_maps_that_do_not_fit_are_refused() -> None:
    matrix = ConfusionMatrix(3)
    with pytest.raises(ValueError, match="same size"):
        matrix.add(np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.uint8))
    with pytest.raises(ValueError, match="is 7, expected at most 2"):
        matrix.add(np.zeros((2, 2), np.uint8), np.full((2, 2), 7, np.uint8))
    with pytest.raises(ValueError, match="is 9, expected at most 2"):
        matrix.add(np.full((2, 2), 9, np.uint8), np.zeros((2, 2), np.uint8))
    assert not matrix.counts.any()


@pytest.mark.parametrize("seed", range(5))
def test_random_maps_score_as_torchmetrics_says(seed: int) -> None:
    classes = 7
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes - 1, (4, 30, 20)).astype(np.uint8)  # the last class is never true
    predicted = np.where(rng.random(truth.shape) < 0.6, truth, rng.integers(0, classes, truth.shape)).astype(np.uint8)
    truth[rng.random(truth.shape) < 0.1] = 255
    matrix = ConfusionMatrix(classes)
    for pair in zip(truth, predicted, strict=True):
        matrix.add(*pair)
    scores = scores_of(matrix, LabelSet("custom", "seven", tuple("abcdefg")))
    target, preds = torch.from_numpy(truth.astype(np.int64)), torch.from_numpy(predicted.astype(np.int64))

    def jaccard(average: str) -> np.ndarray:
        return MulticlassJaccardIndex(classes, average, ignore_index=255, validate_args=False)(preds, target).numpy()

    def accuracy(average: str) -> np.ndarray:
        return MulticlassAccuracy(classes, average=average, ignore_index=255, validate_args=False)(
            preds, target
        ).numpy()

    np.testing.assert_allclose(np.nan_to_num(scores.iou), jaccard("none"), rtol=1e-6)
    assert scores.mean_iou == pytest.approx(float(jaccard("none").mean()), rel=1e-6)
    assert scores.mean_iou_present == pytest.approx(float(jaccard("none")[:-1].mean()), rel=1e-6)
    assert scores.frequency_weighted_iou == pytest.approx(float(jaccard("weighted")), rel=1e-6)
    np.testing.assert_allclose(np.nan_to_num(scores.accuracy), accuracy("none"), rtol=1e-6)
    assert scores.mean_accuracy == pytest.approx(float(accuracy("none").mean()), rel=1e-6)
    assert scores.pixel_accuracy == pytest.approx(float(accuracy("micro")), rel=1e-6)


def test_the_report_has_the_published_figure_and_the_difference(by_hand: ConfusionMatrix) -> None:
    scores = scores_of(by_hand)
    figure = Published(
        family="schp",
        dataset="custom",
        backbone="r101",
        stride=16,
        metric="mIoU",
        value=20.5,
        source="a README",
        note="test split",
        per_class=(90.0, 1.0, 2.0, 3.0),
    )
    document = json.loads(json.dumps(scores.to_json([figure])))
    assert document["mean_iou"] == pytest.approx(0.25)
    assert document["difference"] == pytest.approx(4.5)
    assert document["published"][0]["source"] == "a README"
    assert document["classes"][3] == {"name": "c", "iou": None, "accuracy": None, "true_pixels": 0}
    report = scores.to_markdown([figure])
    assert "| mIoU | 25.00 | 20.50 | +4.50 |" in report
    assert "| pixel accuracy | 60.00 | none |  |" in report
    assert "| Background | 33.33 | 90.00 | 50.00 | 2 |" in report
    assert "a README (test split)" in report
    assert "0.5 points" in report


def test_the_report_says_where_nothing_is_published(by_hand: ConfusionMatrix) -> None:
    scores = scores_of(by_hand)
    assert scores.to_json()["difference"] is None
    report = scores.to_markdown()
    assert "| mIoU | 25.00 | none |  |" in report
    assert "No figure is published for this row." in report


def test_the_worst_pictures_come_first_and_those_without_a_pixel_not_at_all(by_hand: ConfusionMatrix) -> None:
    pictures = [PictureScore(n, i, 0.5) for n, i in (("x", 0.3), ("y", math.nan), ("z", 0.1), ("w", 0.2))]
    scores = Scores(FOUR, by_hand.counts, tuple(pictures))
    assert [picture.name for picture in scores.worst(2)] == ["z", "w"]
    assert [picture.name for picture in scores.worst(9)] == ["z", "w", "x"]


def test_every_row_of_the_tables_is_published_and_the_newest_table_comes_first() -> None:
    for dataset in ("voc", "lip", "cihp", "atr"):
        for backbone in ("r50", "r101"):
            for stride in (8, 16):
                (figure,) = published("ssseg", dataset, backbone, stride)
                assert figure.metric == "mIoU"
                assert "eb1878c1" in figure.source
    assert published("ssseg", "lip", "r101", 16)[0].value == 54.02
    assert [f.value for f in published("ssseg-2020", "lip", "r101", 16)] == [54.18, 53.93, 53.53]
    assert published("ssseg", "ppp", "r50", 8) == ()


def test_published_classes_average_to_the_published_mean() -> None:
    rows = [figure for figure in PUBLISHED if figure.per_class]
    assert len(rows) == 4
    for figure in rows:
        assert len(figure.per_class) == label_set(figure.dataset).num_classes
        assert np.mean(figure.per_class) == pytest.approx(figure.value, abs=0.006), figure.source


def test_synthetic_people_use_lips_own_classes() -> None:
    ours = [name.lower().replace("-", "_") for name in label_set("lip").names]
    assert [label.name.lower() for label in Lip] == ours
