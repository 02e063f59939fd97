"""The gate over the real parser: what must pass passes, and broken candidates of every kind are stopped."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ce2p_runtime import BackendError, HumanParser, MediaError, ModelFileError
from ce2p_runtime.judge import GatePicture, GateReport, Reference, judge_labels
from ce2p_runtime.precisions import PRECISIONS
from tests.runtime.judge.networks import CLASSES, COLOURS, ColourNetwork, parser, picture, pictures

Array = NDArray[Any]


@pytest.fixture(scope="module")
def reference() -> Reference:
    return Reference.of(parser("reference", precision="fp32"), pictures())


def swapped(logits: Array) -> Array:
    return logits[:, [0, 2, 1, 3]]


def shifted(logits: Array) -> Array:
    """By two pixels of the input: half a pixel of the logits."""
    return (logits + np.concatenate([logits[..., :1], logits[..., :-1]], axis=3)) / 2


def all_background(logits: Array) -> Array:
    return np.where(np.arange(len(CLASSES))[:, None, None] == 0, logits.max(1, keepdims=True) + 1, logits)


def not_a_number(logits: Array) -> Array:
    return np.full_like(logits, np.nan)


def test_the_same_network_agrees_everywhere(reference: Reference) -> None:
    report = judge_labels(reference, parser(precision="fp32"))
    assert report.passed
    assert report.pixel_agreement == report.boundary_agreement == report.mean_iou == 1.0
    assert report.thresholds == PRECISIONS["fp32"].labels
    assert (report.reference, report.reference_backend) == ("reference", "formula on cpu")
    assert (report.candidate, report.backend, report.device, report.precision) == (
        "candidate",
        "formula",
        "cpu",
        "fp32",
    )
    assert report.truth_miou == report.reference_truth_miou
    assert report.truth_miou is not None
    assert report.truth_miou > 0.9  # the formula does find the rectangles
    assert [own.name for own in report.pictures] == [f"rectangles {i}" for i in range(4)]
    assert all(own.band_pixels for own in report.pictures)


def test_a_wrong_scale_of_the_logits_changes_no_label_and_passes(reference: Reference) -> None:
    assert judge_labels(reference, parser(fault_out=lambda x: 7 * x, precision="fp32")).passed


@pytest.mark.parametrize(
    ("faults", "failing"),
    [
        ({"fault_out": swapped}, "worst class against the reference"),
        ({"fault_in": lambda x: 0.55 * x}, "boundary band"),
        ({"fault_in": lambda x: x[:, ::-1]}, "pixel agreement"),
        ({"fault_out": shifted}, "boundary band"),
        ({"fault_out": all_background}, "worst class against the reference"),
        ({"fault_out": not_a_number}, "pixel agreement"),
        ({"fault_out": lambda x: -x}, "pixel agreement"),
        ({"fault_out": lambda x: np.round(x / 8)}, "boundary band"),
    ],
)
def test_broken_candidates_are_stopped_by_the_widest_limits(
    reference: Reference, faults: dict[str, Any], failing: str
) -> None:
    report = judge_labels(reference, parser(**faults))
    assert report.precision == "int8"
    assert not report.passed
    assert any(failing in line for line in report.failures), report.failures


def test_labels_two_pixels_off_are_seen_by_the_band_where_all_pixels_together_see_little() -> None:
    """One large region in a large picture: most pixels are far from a boundary."""
    truth = np.zeros((480, 640), np.uint8)
    truth[:, 320:] = 2
    image = COLOURS[truth].astype(np.uint8)
    reference = Reference.of(parser("reference", input_size=truth.shape), [GatePicture("halves", image)])
    report = judge_labels(reference, parser(fault_out=shifted, input_size=truth.shape))
    limits = report.thresholds
    assert report.pixel_agreement >= limits.pixel_agreement
    assert report.mean_iou is not None
    assert report.mean_iou >= limits.class_iou
    assert report.boundary_agreement == 0.75  # two columns of the band's eight
    assert [line.partition(" is ")[0] for line in report.failures] == ["agreement in the boundary band"]


def test_one_broken_picture_is_the_worst_and_is_kept(reference: Reference) -> None:
    seen: list[int] = []

    def third_only(logits: Array) -> Array:
        seen.append(len(seen))
        return swapped(logits) if seen[-1] == 2 else logits

    report = judge_labels(reference, parser(fault_out=third_only))
    assert report.worst.name == "rectangles 2"
    shown, made = report.worst_picture, reference.pictures[2]
    np.testing.assert_array_equal(shown.image, made.picture.image)
    np.testing.assert_array_equal(shown.reference, made.labels)
    swaps = np.array([0, 2, 1, 3], np.uint8)
    np.testing.assert_array_equal(shown.candidate, swaps[made.labels])
    assert report.truth_miou is not None
    assert any("lost against the truth" in line for line in report.failures)


def test_garbage_labels_are_a_failure_of_the_candidate_and_an_error_of_the_reference() -> None:
    class Garbage(ColourNetwork):
        def run(self, batch: Array) -> list[Array]:
            return [np.full((len(batch), *self.metadata.input_size), 250, np.uint8)]

    garbage = HumanParser.on(Garbage(output_kind="labels"), name="garbage")
    reference = Reference.of(parser(), pictures(2))
    report = judge_labels(reference, garbage)
    assert report.pixel_agreement == 0.0
    assert "labels that are no class (up to 250 on rectangles 0), expected 0 to 3" in report.failures[0]
    with pytest.raises(BackendError, match="garbage: gives label 250 on rectangles 0, its classes are 0 to 3"):
        Reference.of(garbage, pictures(1))


def test_a_static_batch_is_judged_full(reference: Reference) -> None:
    network = ColourNetwork(batch=3, precision="fp32")
    assert judge_labels(reference, HumanParser.on(network, name="batch 3")).passed
    assert network.batches == [3, 3]

    def spoil_the_last(logits: Array) -> Array:
        return np.concatenate([logits[:2], swapped(logits[2:])])

    report = judge_labels(reference, HumanParser.on(ColourNetwork(batch=3, fault_out=spoil_the_last), name="batch 3"))
    assert report.worst.name == "rectangles 2"


def test_another_input_size_of_the_candidate_leaves_the_band_alone(reference: Reference) -> None:
    smaller = judge_labels(reference, parser(input_size=(48, 64)))
    same = judge_labels(reference, parser())
    assert [own.band_pixels for own in smaller.pictures] == [own.band_pixels for own in same.pictures]


def test_other_classes_are_refused(reference: Reference) -> None:
    names = ("Background", "Hair", "Skirt", "Coat")
    with pytest.raises(ModelFileError, match=r"its class 2 is Skirt .* reference reference is Coat"):
        judge_labels(reference, parser(class_names=names))
    with pytest.raises(ModelFileError, match=r"has 3 classes \(custom\), its reference reference 4"):
        judge_labels(reference, parser(class_names=names[:3], palette=((0, 0, 0),) * 3))
    with pytest.raises(ModelFileError, match="unknown precision 'int4'"):
        judge_labels(reference, parser(precision="int4"))
    assert judge_labels(reference, parser(precision="int4"), PRECISIONS["fp32"].labels).passed


def test_pictures_and_truths_that_do_not_fit_are_refused() -> None:
    good = picture(0)
    assert good.truth is not None
    with pytest.raises(BackendError, match="no pictures"):
        Reference.of(parser(), [])
    with pytest.raises(ValueError, match="a frame is uint8"):
        Reference.of(parser(), [dataclasses.replace(good, image=good.truth)])
    with pytest.raises(MediaError, match=r"rectangles 0: its truth is \(149, 210\), the picture \(150, 210\)"):
        Reference.of(parser(), [dataclasses.replace(good, truth=good.truth[1:])])
    with pytest.raises(MediaError, match="its truth holds label 9, expected 0 to 3 or 255"):
        Reference.of(parser(), [dataclasses.replace(good, truth=np.full_like(good.truth, 9))])
    ignored = Reference.of(parser(), [dataclasses.replace(good, truth=np.full_like(good.truth, 255))])
    assert judge_labels(ignored, parser()).truth_miou is None


def test_progress_is_told(reference: Reference) -> None:
    told: list[tuple[int, int]] = []
    report: GateReport = judge_labels(reference, parser(), progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert report.passed
