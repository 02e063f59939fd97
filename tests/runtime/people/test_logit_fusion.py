"""Fusion by hand on tiny maps, and against the published steps written once more with torch and OpenCV."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from ce2p_runtime.geometry import frame_mapping
from ce2p_runtime.model_files.metadata import Geometry, ModelMetadata
from ce2p_runtime.people import logit_fusion
from ce2p_runtime.people.crop_logits import CropLogits
from ce2p_runtime.people.instances import Box
from ce2p_runtime.people.logit_fusion import fuse, fused_logits_reference
from tests.runtime.people.oracle import AFFINE, RESIZE, metadata
from tests.runtime.warps import exact_warp

CE2P = Geometry("affine", True, "int", "labels")
Floats = NDArray[np.float32]


def placed(logits: Floats, facts: ModelMetadata, box: Box) -> CropLogits:
    size = (box[3] - box[1], box[2] - box[0])
    return CropLogits(logits, facts, frame_mapping(facts.geometry, size, facts.input_size), box)


def constant(values: list[float], box: Box) -> CropLogits:
    """A crop with the same logits everywhere."""
    logits = np.broadcast_to(np.float32(values)[:, np.newaxis, np.newaxis], (len(values), 2, 2))
    return placed(np.array(logits), metadata((4, 4), classes=len(values)), box)


def by_definition(
    facts: ModelMetadata, frame: tuple[int, int], whole: list[Floats], local: list[list[tuple[Box, Floats]]]
) -> NDArray[np.float64]:
    """The published steps in their own order, float64: upsample to S with torch, to the box, accumulate."""

    def to_box(logits: Floats, size: tuple[int, int]) -> NDArray[np.float64]:
        at_input = F.interpolate(
            torch.from_numpy(logits)[None], facts.input_size, mode="bilinear", align_corners=facts.align_corners
        )[0].numpy()
        mapping = frame_mapping(facts.geometry, size, facts.input_size)
        planes = [
            cv2.resize(plane, size[::-1], interpolation=cv2.INTER_LINEAR)
            if mapping.unwarp is None
            else exact_warp(plane, mapping.unwarp, size)
            for plane in at_input
        ]
        return np.stack(planes).astype(np.float64)

    fused = np.zeros((facts.num_classes, *frame))
    for logits in whole:
        fused += to_box(logits, frame)
    for network in local:
        output = np.zeros_like(fused)
        output[0] = np.inf
        count = np.zeros(output.shape, np.int32)
        for (x0, y0, x1, y1), logits in network:
            single = to_box(logits, (y1 - y0, x1 - x0))
            for c in range(facts.num_classes):
                for y in range(y0, y1):
                    for x in range(x0, x1):
                        value = single[c, y - y0, x - x0]
                        if c == 0:
                            output[c, y, x] = min(output[c, y, x], value)
                        else:
                            output[c, y, x] += value
                            count[c, y, x] += 1
        count[count == 0] = 1
        fused += output / count
    return fused


def test_foreground_is_averaged_and_background_the_minimum_where_boxes_overlap() -> None:
    crops = [constant([1, 6, 2], (0, 0, 3, 2)), constant([3, 2, 9], (2, 0, 4, 2))]
    fused = fused_logits_reference((3, 4), 3, [], [crops])
    np.testing.assert_array_equal(fused[:, 0, 0], [1, 6, 2])  # first box only
    np.testing.assert_array_equal(fused[:, 0, 2], [1, 4, 5.5])  # both: minimum, means
    np.testing.assert_array_equal(fused[:, 0, 3], [3, 2, 9])  # second only
    np.testing.assert_array_equal(fused[:, 2, 1], [np.inf, 0, 0])  # outside
    found = fuse((3, 4), 3, [], [crops])
    np.testing.assert_array_equal(found.labels, [[1, 1, 2, 2], [1, 1, 2, 2], [0, 0, 0, 0]])
    np.testing.assert_array_equal(found.logits[0], [6, 6, 5.5, 9])
    assert np.isinf(found.logits[2]).all()


def test_a_global_network_is_added_and_cannot_speak_outside_the_boxes_of_a_local_one() -> None:
    whole = constant([0, 5, 0], (0, 0, 4, 3))
    local = [constant([1, 0, 4], (1, 1, 3, 3))]
    alone = fuse((3, 4), 3, [whole], [])
    assert (alone.labels == 1).all()
    assert (alone.logits == 5).all()
    both = fuse((3, 4), 3, [whole], [local, local])
    np.testing.assert_array_equal(both.labels, [[0, 0, 0, 0], [0, 2, 2, 0], [0, 2, 2, 0]])  # 0+8 beats 5+0
    np.testing.assert_array_equal(both.logits[1, 1:3], [8, 8])


def test_equal_logits_go_to_the_lowest_class() -> None:
    assert (fuse((2, 2), 3, [constant([3, 3, 3], (0, 0, 2, 2))], []).labels == 0).all()
    assert (fuse((2, 2), 3, [constant([1, 3, 3], (0, 0, 2, 2))], []).labels == 1).all()


@pytest.mark.parametrize("geometry", [RESIZE, AFFINE, CE2P], ids=["resize", "schp", "ce2p"])
@pytest.mark.parametrize("align_corners", [True, False])
def test_fusion_is_the_published_one(geometry: Geometry, align_corners: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        logit_fusion, "_BAND_PIXELS", 61 * 7
    )  # bands of 7 rows, so that boxes begin and end inside bands
    rng = np.random.default_rng(5)
    facts = metadata((33, 29), geometry, classes=5, align_corners=align_corners)
    frame = (40, 61)
    boxes: list[Box] = [(0, 0, 30, 40), (20, 5, 61, 33), (25, 10, 26, 12), (50, 30, 61, 40)]

    def logits() -> Floats:
        return rng.normal(0, 3, (5, 9, 8)).astype(np.float32)

    whole, local = [logits()], [[(box, logits()) for box in boxes] for _ in range(2)]
    expected = by_definition(facts, frame, whole, local)
    full = placed(whole[0], facts, (0, 0, 61, 40))
    crops = [[placed(values, facts, box) for box, values in network] for network in local]
    fused = fused_logits_reference(frame, 5, [full], crops)
    np.testing.assert_array_equal(np.isinf(fused), np.isinf(expected))
    finite = np.isfinite(expected)
    # Float32 coordinates in OpenCV are off by up to 3e-5 pixel, logits here change by up to 10 per pixel.
    np.testing.assert_allclose(fused[finite], expected[finite], atol=2e-3)
    found = fuse(frame, 5, [full], crops)
    np.testing.assert_array_equal(found.labels, fused.argmax(axis=0))
    np.testing.assert_array_equal(found.logits, fused.max(axis=0))


def test_rows_are_those_of_the_whole() -> None:
    logits = np.random.default_rng(1).normal(size=(3, 7, 6)).astype(np.float32)
    for geometry in (RESIZE, AFFINE):
        crop = placed(logits, metadata((25, 21), geometry, classes=3), (4, 3, 30, 22))
        whole = crop.whole()
        for top, bottom in ((3, 4), (7, 15), (21, 22)):
            np.testing.assert_array_equal(crop.rows(top, bottom), whole[:, top - 3 : bottom - 3])
        with pytest.raises(ValueError, match="not within the box"):
            crop.rows(2, 5)


def test_logits_of_other_classes_or_beyond_the_frame_are_refused() -> None:
    with pytest.raises(ValueError, match="3 classes"):
        fuse((4, 4), 2, [constant([0, 1, 2], (0, 0, 4, 4))], [])
    with pytest.raises(ValueError, match="within 4x4"):
        fuse((4, 4), 3, [], [[constant([0, 1, 2], (1, 0, 5, 4))]])
