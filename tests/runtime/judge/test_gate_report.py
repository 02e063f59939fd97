"""Sums over pictures, limits, and the lines that say what failed."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from ce2p_runtime import ModelFileError
from ce2p_runtime.judge import Check, GateError, GateReport
from ce2p_runtime.judge.agreement import boundary_band, compare_labels
from ce2p_runtime.judge.picture import ComparedPicture, comparison_sheet
from ce2p_runtime.precisions import PRECISIONS, LabelLimits, precision_named

Labels = NDArray[np.uint8]
NAMES = ("Background", "Hair", "Coat")
PALETTE = ((0, 0, 0), (0, 0, 255), (0, 255, 0))
LAX = LabelLimits(0.0, 0.0, 0.0, 0.0, 1.0, worst_class=0.0)


def report(
    pairs: Sequence[tuple[Labels, Labels]], limits: LabelLimits = LAX, truths: Sequence[Labels | None] = ()
) -> GateReport:
    known = [*truths, *[None] * (len(pairs) - len(truths))]
    bands = [boundary_band(reference, 1) for reference, _ in pairs]
    figures = [
        compare_labels(f"p{i}", *pair, band, len(NAMES), truth)
        for i, (pair, band, truth) in enumerate(zip(pairs, bands, known, strict=True))
    ]
    worst = min(range(len(figures)), key=lambda i: figures[i].rank)
    image = np.full((*pairs[worst][0].shape, 3), 128, np.uint8)
    shown = ComparedPicture(image, *pairs[worst], bands[worst], NAMES, PALETTE)
    return GateReport(
        reference="ref",
        reference_backend="torch on cpu",
        candidate="cand",
        backend="fake",
        device="cpu",
        precision="int8",
        thresholds=limits,
        class_names=NAMES,
        pictures=tuple(figures),
        worst_picture=shown,
    )


def halves(shape: tuple[int, int] = (10, 20), label: int = 1) -> Labels:
    made = np.zeros(shape, np.uint8)
    made[:, shape[1] // 2 :] = label
    return made


def spoilt(values: Labels, pixels: int, label: int) -> Labels:
    """With `pixels` of the last column's end set to `label`."""
    made = values.copy()
    made.reshape(-1)[-pixels:] = label
    return made


def test_figures_are_sums_over_pictures_not_means_of_shares() -> None:
    large, small = halves((10, 100)), halves((2, 4))
    found = report([(large, large), (small, spoilt(small, 2, 0))])
    assert found.pixel_agreement == (1000 + 6) / 1008
    assert found.boundary_agreement == (40 + 6) / 48
    assert found.class_iou == {"Background": 504 / 506, "Hair": 502 / 504, "Coat": None}
    assert found.mean_iou == (504 / 506 + 502 / 504) / 2
    assert found.class_share == {"Background": 0.5, "Hair": 0.5, "Coat": 0.0}
    assert (found.worst.name, found.worst.agreement) == ("p1", 0.75)
    assert found.truth_miou is found.reference_truth_miou is None
    assert found.passed
    found.require()


def test_classes_of_a_handful_of_pixels_are_reported_but_not_judged() -> None:
    reference = spoilt(halves((20, 100)), 1, 2)  # 1 of 2000 pixels
    found = report([(reference, halves((20, 100)))], dataclasses.replace(LAX, class_iou=0.99, worst_class=0.99))
    assert found.class_iou["Coat"] == 0.0
    assert found.judged_classes == ("Background", "Hair")
    assert found.passed
    two = spoilt(halves((20, 100)), 2, 2)  # a thousandth: judged
    found = report([(two, halves((20, 100)))], dataclasses.replace(LAX, worst_class=0.5))
    assert found.failures == ("IoU of the worst class against the reference (Coat) is 0 %, expected at least 50 %",)
    assert found.mean_iou == pytest.approx((1 + 998 / 1000 + 0) / 3)


def test_every_limit_fails_by_itself_and_names_its_place() -> None:
    reference = halves((10, 20))
    pairs = [(reference, reference), (reference, spoilt(reference, 10, 0))]  # 10 of 400, one row's right half
    assert report(pairs).passed
    # The band: columns 8 to 11 of ten rows, twice; two of its pixels differ.
    for changes, line in (
        ({"pixel_agreement": 0.976}, "pixel agreement is 97.5 %, expected at least 97.6 %"),
        ({"worst_picture": 0.96}, "pixel agreement of the worst picture (p1) is 95 %, expected at least 96 %"),
        ({"boundary_agreement": 0.98}, "agreement in the boundary band is 97.5 %, expected at least 98 %"),
        ({"class_iou": 0.96}, "mean class IoU against the reference is 95.1"),
        ({"worst_class": 0.96}, "IoU of the worst class against the reference (Hair) is 95 %, expected at least 96 %"),
    ):
        found = report(pairs, dataclasses.replace(LAX, **changes))
        assert not found.passed
        assert len(found.failures) == 1
        assert found.failures[0].startswith(line)
        with pytest.raises(GateError, match="cand: is not as good as ref by limits of your own: ") as refusal:
            found.require()
        assert "\n" not in str(refusal.value)
    at_limit = dataclasses.replace(LAX, pixel_agreement=0.975, worst_picture=0.95, boundary_agreement=0.975)
    assert report(pairs, at_limit).passed


@pytest.mark.parametrize("name", PRECISIONS)
def test_the_refusal_names_the_limits_that_were_applied_whatever_the_files_precision(name: str) -> None:
    found = report([(halves(), spoilt(halves(), 60, 0))], PRECISIONS[name].labels)
    assert found.precision == "int8"
    assert found.to_dict()["limits"] == f"the limits for {name}"
    with pytest.raises(GateError, match=f"cand: is not as good as ref by the limits for {name}: pixel agreement is"):
        found.require()


def test_a_loss_against_the_truth_fails_and_a_gain_does_not() -> None:
    truth = halves()
    worse = spoilt(truth, 10, 0)
    limits = dataclasses.replace(LAX, miou_loss=0.01)
    found = report([(truth, worse)], limits, [truth])
    assert found.reference_truth_miou == 1.0
    assert found.truth_miou == pytest.approx((100 / 110 + 90 / 100) / 2)
    (line,) = found.failures
    assert line.startswith("points of mIoU lost against the truth is 9.5455 %, expected at most 1 %")
    assert report([(worse, truth)], limits, [truth]).passed
    # Pictures without truth take no part; a truth without a counted pixel is none.
    assert report([(truth, truth), (truth, worse)], limits, [truth]).truth_miou == 1.0
    assert report([(truth, truth)], limits, [np.full(truth.shape, 255, np.uint8)]).truth_miou is None


def test_nan_fails() -> None:
    assert not Check("x", math.nan, 0.5).held
    assert not Check("x", math.nan, 0.5, at_least=False).held
    assert not Check("x", 0.7, math.nan).held
    assert Check("x", math.nan, 0.5).text == "x is nan, expected at least 50 %"
    assert Check("x", None, 0.5).held
    pair = (halves(), halves())
    assert not report([pair], dataclasses.replace(LAX, pixel_agreement=math.nan)).passed


def test_a_figure_is_never_rounded_onto_its_limit() -> None:
    assert Check("x", 0.98999999, 0.99).text == "x is 98.9999 %, expected at least 99 %"
    assert Check("x", 0.01000001, 0.01, at_least=False).text == "x is 1.0001 %, expected at most 1 %"
    for limit in (0.29, 0.57, 0.9999, 0.999, 0.82):
        assert Check("x", limit, limit).shown == f"{round(100 * limit, 4):g} %"


def test_labels_that_are_no_class_fail_whatever_the_limits() -> None:
    wrong = spoilt(halves(), 3, 37)
    found = report([(halves(), halves()), (halves(), wrong)])
    assert found.failures == ("3 pixels on 1 pictures have labels that are no class (up to 37 on p1), expected 0 to 2",)


def test_pictures_of_one_class_hold_without_a_band_but_not_silently() -> None:
    flat = np.full((5, 6), 1, np.uint8)
    found = report([(flat, flat)], PRECISIONS["fp32"].labels)
    assert found.boundary_agreement is None
    assert found.passed
    assert found.remarks == (
        "the reference sees nothing but Hair on these pictures, so the gate says little; use others",
    )
    assert not report([(halves(), halves())]).remarks
    assert not report([(flat, np.zeros_like(flat))], PRECISIONS["int8"].labels).passed


def test_the_worst_picture_by_agreement_then_band_then_name() -> None:
    reference = halves((10, 20))
    inside, at_boundary = reference.copy(), reference.copy()
    inside[0, 19] = 0
    at_boundary[0, 10] = 0
    assert report([(reference, inside), (reference, at_boundary)]).worst.name == "p1"
    assert report([(reference, inside), (reference, inside)]).worst.name == "p0"
    assert report([(reference, at_boundary), (reference, spoilt(reference, 2, 0))]).worst.name == "p1"


def test_plain_types_for_json() -> None:
    found = report([(halves(), spoilt(halves(), 3, 2))], PRECISIONS["int8"].labels, [halves()])
    document = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert document["passed"] is False
    assert document["failures"] == list(found.failures)
    assert document["reference"] == {"name": "ref", "runs_on": "torch on cpu"}
    assert document["candidate"] == {"name": "cand", "runs_on": "fake on cpu"}
    assert document["class_iou"]["Coat"] == 0.0
    assert document["pictures"][0]["pixel_agreement"] == 197 / 200
    assert document["thresholds"]["pixel_agreement"] == 0.99


def test_limits_loosen_with_precision() -> None:
    order = [PRECISIONS[name].labels for name in ("fp32", "fp16", "bf16", "int8")]
    for tighter, looser in itertools.pairwise(order):
        for name in ("pixel_agreement", "worst_picture", "boundary_agreement", "class_iou", "worst_class"):
            assert 1 > getattr(tighter, name) > getattr(looser, name) > 0.7, name
        assert 0 < tighter.miou_loss < looser.miou_loss
    with pytest.raises(ModelFileError, match="unknown precision 'int4'; expected one of fp32"):
        precision_named("int4")


@pytest.mark.parametrize("offset", [(0, 0), (1, 2), (2, 1), (2, 2)])
@pytest.mark.parametrize("shape", [(3000, 2111), (40, 60)])
def test_the_sheet_shows_every_difference_however_large_the_picture(
    shape: tuple[int, int], offset: tuple[int, int], tmp_path: Path
) -> None:
    reference = halves(shape)
    candidate = reference.copy()
    candidate[shape[0] // 3 + offset[0], shape[1] // 3 + offset[1]] = 2
    found = report([(reference, candidate)])
    painted = cv2.imread(str(found.paint_worst(tmp_path / "worst.png")))
    assert painted is not None
    assert max(painted.shape[:2]) < 5000
    last = 3 * painted.shape[1] // 4
    assert (painted == (0, 0, 255)).all(2)[:, last:].any()
    clean = comparison_sheet(dataclasses.replace(found.worst_picture, candidate=reference), "x")
    assert not (clean == (0, 0, 255)).all(2)[:, last:].any()
