"""AP^r, AP^p and PCP: by hand, against an independent implementation on random scenes, and files that do not fit."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from ce2p.data.splits import Sample
from ce2p.datasets import published
from ce2p.errors import DataError
from ce2p.evaluation.instance_scores import THRESHOLDS, InstanceScores, average_precision, by_score
from ce2p.evaluation.instance_scoring import person_overlaps, score_instances
from ce2p.evaluation.people_files import PeopleFound, PeopleTruth
from ce2p.labels import LabelSet
from tests.evaluation.plain_instances import Picture, area_under, compared, part_ap, people_scores, person_map

FIVE = LabelSet("cihp", "five", ("Background", "head", "body", "arm", "leg"))


def write_png(path: Path, values: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), values.astype(np.uint8))
    return path


def store(root: Path, pictures: list[Picture]) -> tuple[Sample, ...]:
    """Ground truth and results on disk."""
    samples, lines = [], []
    for index, picture in enumerate(pictures):
        name = f"{index:07d}"
        maps = {"Category_ids": picture.labels, "Human_ids": picture.humans, "Instance_ids": picture.parts}
        paths = [write_png(root / "truth" / kind / f"{name}.png", values) for kind, values in maps.items()]
        samples.append(Sample(name, root / f"{name}.jpg", *paths))
        results = root / "results"
        write_png(results / "global_parsing" / f"{name}.png", picture.found_labels)
        write_png(results / "global_tag" / f"{name}.png", picture.found_humans)
        parts = write_png(results / "instance_parsing" / f"{name}.png", picture.found_parts)
        parts.with_suffix(".txt").write_text("".join(f"{c} {score!r}\n" for c, score in picture.part_scores))
        lines.append(" ".join([name, *(f"{i} {score!r}" for i, score in enumerate(picture.human_scores, 1))]))
    (root / "results" / "results.txt").write_text("\n".join(lines) + "\n")
    return tuple(samples)


def parts_of(labels: np.ndarray, humans: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """A part id for every class of every person, and the class of each."""
    ids, classes = np.zeros_like(labels), []
    for person in np.unique(humans[humans > 0]):
        for class_id in np.unique(labels[(humans == person) & (labels > 0) & (labels < 255)]):
            classes.append(int(class_id))
            ids[(humans == person) & (labels == class_id)] = len(classes)
    return ids, classes


def random_picture(rng: np.random.Generator, ignored: bool = False) -> Picture:
    """Two to four people of random rectangles; results that are shifted, split, relabelled, scored at random."""
    size = (40, 60)
    labels, humans = np.zeros(size, np.int64), np.zeros(size, np.int64)
    for person in range(1, rng.integers(2, 5)):
        left = int(rng.integers(0, 45))
        for class_id in rng.permutation(4)[: rng.integers(1, 5)] + 1:
            top = int(class_id - 1) * 10
            labels[top : top + 10, left : left + 14], humans[top : top + 10, left : left + 14] = class_id, person
    shift = tuple(rng.integers(-3, 4, 2))
    found_labels, found_humans = np.roll(labels, shift, (0, 1)), np.roll(humans, shift, (0, 1))
    found_labels[rng.random(size) < 0.05] = rng.integers(0, 5)
    swap = rng.integers(0, 5, 5)  # now and then a class is taken for another
    found_labels = np.where(rng.random() < 0.5, found_labels, swap[found_labels])
    halves = np.arange(size[1]) % 23 < 11  # a person found twice
    extra = int(found_humans.max()) + 1
    found_humans[(found_humans == 1) & halves] = extra
    if ignored:
        labels[:, 20:24] = np.where(humans[:, 20:24] > 0, 255, labels[:, 20:24])
    parts, _ = parts_of(labels, humans)
    found_parts, classes = parts_of(found_labels, found_humans)
    scores = rng.permutation(1000)[: len(classes)] / 1000 + rng.random()
    people = (rng.permutation(1000)[:extra] / 1000).tolist()
    return Picture(
        labels,
        humans,
        parts,
        found_labels,
        found_humans,
        human_scores=people,
        found_parts=found_parts,
        part_scores=list(zip(classes, scores.tolist(), strict=True)),
    )


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_random_scenes_score_as_the_plain_definitions_say(seed: int, strict: bool, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    pictures = [random_picture(rng, ignored=seed % 2 == 1) for _ in range(6)]
    scores = score_instances(store(tmp_path, pictures), tmp_path / "results", FIVE, strict=strict)
    expected = [[part_ap(pictures, class_id, limit, strict=strict) for limit in THRESHOLDS] for class_id in range(1, 5)]
    np.testing.assert_allclose(scores.class_ap_r, expected, rtol=1e-12)
    people = [people_scores(pictures, 5, limit) for limit in THRESHOLDS]
    np.testing.assert_allclose(scores.ap_p, [ap for ap, _ in people], rtol=1e-12)
    np.testing.assert_allclose(scores.pcp, [pcp for _, pcp in people], rtol=1e-12)
    assert scores.mean_ap_r == pytest.approx(np.mean(expected))
    assert scores.mean_ap_p == pytest.approx(np.mean([ap for ap, _ in people]))
    assert 0.02 < scores.mean_ap_p < 0.98  # the scenes are neither hopeless nor perfect
    assert 0.02 < scores.mean_ap_r < 1.5


@pytest.mark.parametrize("ignored", [False, True])
def test_people_overlap_class_by_class_as_their_label_maps_do(ignored: bool) -> None:
    rng = np.random.default_rng(11)
    for _ in range(5):
        picture = random_picture(rng, ignored)
        truth = PeopleTruth(picture.labels.astype(np.uint8), picture.humans.astype(np.int32), picture.parts, {})
        found = PeopleFound(
            picture.found_labels.astype(np.uint8), picture.found_humans.astype(np.int32), (), picture.found_parts, ()
        )
        ids, true_ids = range(1, len(picture.human_scores) + 1), range(1, int(picture.humans.max()) + 1)
        overlaps = person_overlaps(found, ids, truth, true_ids, 5)
        for p, g in itertools.product(ids, true_ids):
            mine = person_map(picture.found_labels, picture.found_humans == p)
            theirs = person_map(picture.labels, picture.humans == g)
            np.testing.assert_allclose(overlaps[p - 1, g - 1], compared(mine, theirs, 5))


def one_picture(strict: bool, tmp_path: Path) -> InstanceScores:
    """Two people side by side, each a head over a body; one head is found in two pieces, one body is not found."""
    labels, humans = np.zeros((10, 20), np.int64), np.zeros((10, 20), np.int64)
    labels[:5], labels[5:] = 1, 2
    humans[:, :10], humans[:, 10:] = 1, 2
    parts = np.where(humans == 1, labels, labels + 2)
    found_humans = humans.copy()
    found_labels = labels.copy()
    found_labels[5:, 10:] = 0  # the body of person 2 is missed
    found_parts = np.zeros((10, 20), np.int64)
    found_parts[:5, :6], found_parts[:5, 6:10] = 1, 2  # head 1 in two pieces: IoU 0.6 and 0.4
    found_parts[:5, 10:] = 3
    found_parts[5:, :10] = 4
    picture = Picture(
        labels,
        humans,
        parts,
        found_labels,
        found_humans,
        human_scores=[0.9, 0.8],
        found_parts=found_parts,
        part_scores=[(1, 0.9), (1, 0.8), (1, 0.7), (2, 0.6)],
    )
    return score_instances(store(tmp_path, [picture]), tmp_path / "results", FIVE, strict=strict)


def test_parts_by_hand(tmp_path: Path) -> None:
    published_way, strict = one_picture(False, tmp_path / "a"), one_picture(True, tmp_path / "b")
    # Heads, 2 true: pieces of 0.6, 0.4 and a whole one, by score. Bodies, 2 true: one found whole.
    # Up to 0.3 the published way counts all three as right: recall 1/2, 1, 3/2 at precision 1.
    np.testing.assert_allclose(published_way.class_ap_r[0], [1.5, 1.5, 1.5, *([(1 + 2 / 3) / 2] * 2), *([1 / 6] * 4)])
    # Strictly the second piece is wrong: recall 1/2 at precision 1, recall 1 at 2/3.
    np.testing.assert_allclose(strict.class_ap_r[0], [*([(1 + 2 / 3) / 2] * 5), *([1 / 6] * 4)])
    for scores in (published_way, strict):
        np.testing.assert_allclose(scores.class_ap_r[1], 0.5)
        assert scores.parts.tolist() == [2, 2, 0, 0]
    # Arms and legs are nowhere: zeros in the published mean, left out of the strict one.
    np.testing.assert_array_equal(published_way.class_ap_r[2:], 0)
    assert np.isnan(strict.class_ap_r[2:]).all()
    assert published_way.ap_r[0] == pytest.approx((1.5 + 0.5) / 4)
    assert strict.ap_r[0] == pytest.approx(((1 + 2 / 3) / 2 + 0.5) / 2)


def test_people_by_hand(tmp_path: Path) -> None:
    scores = one_picture(False, tmp_path)
    # Person 1 is exact. Person 2: background 100 of 150, head 1, body 0: mean 5/9.
    assert scores.people == 2
    np.testing.assert_allclose(scores.ap_p, [1, 1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5])
    # Person 2, while matched, has one of two parts.
    np.testing.assert_allclose(scores.pcp, [0.75] * 5 + [0.5] * 4)
    assert (scores.ap_p_50, scores.pcp_50) == (1.0, 0.75)
    # And the class maps by themselves: background is never true, half the bodies are missed.
    assert scores.parsing.pixel_accuracy == pytest.approx(0.75)
    assert scores.parsing.mean_iou_present == pytest.approx((1 + 0.5) / 2)


def test_average_precision_by_hand_and_at_random() -> None:
    assert average_precision(np.array([True, False, True]), 4) == pytest.approx(0.25 * 1 + 0.25 * 2 / 3)
    assert average_precision(np.array([False, True]), 1) == 0.5
    assert average_precision(np.zeros(0, np.bool_), 3) == 0
    assert np.isnan(average_precision(np.array([True]), 0))
    rng = np.random.default_rng(0)
    for _ in range(50):
        hits = rng.random(rng.integers(1, 30)) < rng.random()
        positives = int(hits.sum()) + int(rng.integers(1, 5))
        assert average_precision(hits, positives) == pytest.approx(area_under(hits.tolist(), positives))
    assert by_score([0.5, 0.9, 0.5, 0.1]).tolist() == [1, 0, 2, 3]


def test_the_report_compares_with_what_is_published(tmp_path: Path) -> None:
    scores = one_picture(False, tmp_path / "a")
    figures = published("mce2p", "cihp", "r101", 16)
    assert figures[0].metric == "mIoU"
    document = json.loads(json.dumps(scores.to_json(figures)))
    assert document["mean_ap_r"] == pytest.approx(scores.mean_ap_r)
    assert document["classes"][0]["name"] == "head"
    report = scores.to_markdown(figures)
    assert f"| AP^r | {100 * scores.mean_ap_r:.2f} | 48.92 |" in report
    assert "| AP^p 0.5 | 100.00 | none |  |" in report
    assert "may be found more than once" in report
    strict = one_picture(True, tmp_path / "b").to_markdown(figures)
    assert "| none |  |" in strict.split("| AP^r |")[1].splitlines()[0]
    assert "AP^r is strict" in strict


BREAKAGES = [
    ("instance_parsing/0000001.png", None, r"instance_parsing/0000001\.png: no such file"),
    ("instance_parsing/0000001.txt", None, r"0000001\.txt: no such file, expected instance results"),
    ("global_tag/0000001.png", b"\x89PNG\r\n\x1a\nshort", r"global_tag/0000001\.png: is cut short"),
    ("instance_parsing/0000001.txt", b"1 0.5 7\n", r"line 1 is '1 0.5 7', expected class \(1 to 4\) and score"),
    ("instance_parsing/0000001.txt", b"5 0.5\n", r"line 1 is '5 0.5'"),
    ("instance_parsing/0000001.txt", b"1 nan\n", r"line 1 is '1 nan'"),
    ("instance_parsing/0000001.txt", b"", r"part 1 has no line in 0000001\.txt, which has 0 lines"),
    ("results.txt", None, r"results\.txt: no such file"),
    ("results.txt", b"0000000 1 0.5\n", r"no line for 0000001; 1 of 2 pictures have no results"),
    ("results.txt", b"0000000 1 0.5\n0000001 1\n", r"line 2 is '0000001 1', expected `name 1 score"),
    ("results.txt", b"0000000 1 0.5\n0000001 1 0.5 1 0.6\n", "each name and id once"),
    ("results.txt", b"0000000 1 0.5 2 0.5 3 0.5 4 0.5 5 0.5\n0000001\n", "shows person 1, who has no score"),
]


@pytest.mark.parametrize(("file", "content", "message"), BREAKAGES, ids=lambda value: str(value)[:40])
def test_results_that_are_missing_or_damaged_are_named(
    file: str, content: bytes | None, message: str, tmp_path: Path
) -> None:
    rng = np.random.default_rng(5)
    samples = store(tmp_path, [random_picture(rng), random_picture(rng)])
    path = tmp_path / "results" / file
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(DataError, match=message) as refusal:
        score_instances(samples, tmp_path / "results", FIVE)
    assert "\n" not in str(refusal.value)


def test_maps_that_do_not_fit_are_named(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    pictures = [random_picture(rng)]
    results = tmp_path / "results"

    def refused(message: str) -> None:
        with pytest.raises(DataError, match=message):
            score_instances(samples, results, FIVE)

    samples = store(tmp_path, pictures)
    write_png(results / "global_parsing/0000000.png", np.zeros((40, 59)))
    refused(r"global_parsing/0000000\.png: is 59x40, expected 60x40")
    write_png(results / "global_parsing/0000000.png", np.full((40, 60), 5))
    refused(r"holds class 5 in 2400 pixels, expected 0 to 4 \(five\)")
    samples = store(tmp_path, pictures)
    lines = results / "instance_parsing/0000000.txt"
    lines.write_text(lines.read_text() + "1 0.5\n")
    refused("has a line but no pixel")
    samples = store(tmp_path, pictures)
    write_png(tmp_path / "truth/Instance_ids/0000000.png", np.ones((40, 60)))
    refused(r"instance 1 spans classes \[0, ")
    write_png(tmp_path / "truth/Instance_ids/0000000.png", np.ones((40, 61)))
    refused(r"Instance_ids/0000000\.png: is 61x40, expected 60x40")
    samples = (Sample("0000000", samples[0].image, samples[0].labels),)
    refused("the data set has no Human_ids, Instance_ids")
    results = tmp_path / "nowhere"
    refused("nowhere: no such folder")


def test_a_split_without_people_has_no_score(tmp_path: Path) -> None:
    empty = np.zeros((8, 8), np.int64)
    samples = store(tmp_path, [Picture(empty, empty, empty, empty, empty, human_scores=[], found_parts=empty)])
    with pytest.raises(DataError, match="no person in the ground truth of 1 pictures"):
        score_instances(samples, tmp_path / "results", FIVE)


def test_what_is_predicted_where_nobody_is_counts_as_wrong(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    pictures = [random_picture(rng), random_picture(rng)]
    nobody = np.zeros_like(pictures[1].labels)
    pictures[1].labels = pictures[1].humans = pictures[1].parts = nobody
    scores = score_instances(store(tmp_path, pictures), tmp_path / "results", FIVE)
    expected = [people_scores(pictures, 5, limit) for limit in THRESHOLDS]
    np.testing.assert_allclose(scores.ap_p, [ap for ap, _ in expected])
    parts = [[part_ap(pictures, c, limit, strict=False) for limit in THRESHOLDS] for c in range(1, 5)]
    np.testing.assert_allclose(scores.class_ap_r, parts)
