"""label_map: the boundary-only way against the definition, and the definition against PyTorch and OpenCV."""

from __future__ import annotations

import tracemalloc
from typing import Literal

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from benchmarks.scenes import person_logits
from ce2p_runtime.geometry import frame_mapping
from ce2p_runtime.model_files.metadata import Geometry
from ce2p_runtime.ops import label_map, label_map_reference, warp_labels
from ce2p_runtime.ops.bilinear import bilinear_resize, settle_matrix
from ce2p_runtime.ops.label_map import reference_values

SCHP = Geometry("affine", half_pixel=False, centre="float", unwarp="logits")
CE2P = Geometry("affine", half_pixel=True, centre="int", unwarp="labels")
OPENCV_4 = int(cv2.__version__.split(".")[0]) < 5
Matrix = NDArray[np.float64]
Size = tuple[int, int]

# classes, logits, input, frame
SHAPES = [
    (20, (31, 31), (121, 121), (270, 480)),
    (20, (30, 30), (119, 119), (333, 187)),
    (18, (32, 24), (128, 96), (50, 41)),
    (7, (17, 33), (65, 130), (200, 301)),
    (59, (24, 24), (97, 97), (160, 90)),
    (2, (9, 11), (33, 41), (64, 64)),
    (3, (1, 1), (16, 16), (20, 33)),
    (5, (1, 7), (9, 25), (31, 12)),
    (6, (40, 40), (20, 20), (90, 60)),
    (4, (8, 8), (2, 2), (1, 1)),
]


def noise_logits(classes: int, size: Size) -> NDArray[np.float32]:
    return np.random.default_rng(classes).standard_normal((classes, *size)).astype(np.float32)


def unwarp(frame: Size, size: Size, geometry: Geometry = SCHP) -> Matrix:
    matrix = frame_mapping(geometry, frame, size).unwarp
    assert matrix is not None
    return matrix


def turned(matrix: Matrix, size: Size, degrees: float, scale: float = 1.0) -> Matrix:
    """The matrix followed by a rotation and scaling about the middle of the input."""
    about = cv2.getRotationMatrix2D(((size[1] - 1) / 2, (size[0] - 1) / 2), degrees, scale)
    return np.asarray(about[:, :2] @ matrix + np.array([[0, 0, about[0, 2]], [0, 0, about[1, 2]]]))


def shifted(matrix: Matrix, x: float, y: float) -> Matrix:
    return matrix + np.array([[0, 0, x], [0, 0, y]])


def check_against_reference(
    logits: NDArray[np.float32], matrix: Matrix | None, size: Size, frame: Size, align_corners: bool
) -> None:
    """The label's reference value is exactly the greatest; where that class is alone, labels are equal."""
    labels = label_map(logits, matrix, size, frame, align_corners=align_corners)
    expected = label_map_reference(logits, matrix, size, frame, align_corners=align_corners)
    assert labels.dtype == np.uint8
    assert labels.shape == frame
    for rows, values in reference_values(logits, matrix, size, frame, align_corners):
        chosen = np.take_along_axis(values, labels[rows].astype(np.intp)[np.newaxis], axis=0)[0]
        best = values.max(axis=0)
        np.testing.assert_array_equal(chosen, best)
        alone = (values == best).sum(axis=0) == 1
        np.testing.assert_array_equal(labels[rows][alone], expected[rows][alone])
    assert np.mean(labels != expected) < 1e-3


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize("kind", ["person", "noise"])
@pytest.mark.parametrize(("classes", "low", "size", "frame"), SHAPES)
def test_quick_way_is_the_reference(
    classes: int, low: Size, size: Size, frame: Size, kind: str, align_corners: bool
) -> None:
    logits = person_logits(classes, low, frame[1] / frame[0]) if kind == "person" else noise_logits(classes, low)
    for matrix in (None, unwarp(frame, size), unwarp(frame, size, CE2P)):
        check_against_reference(logits, matrix, size, frame, align_corners)


@pytest.mark.parametrize("kind", ["person", "noise"])
@pytest.mark.parametrize(
    "change",
    [
        lambda m, s: turned(m, s, 30),
        lambda m, s: turned(m, s, -90, 1.3),
        lambda m, s: turned(m, s, 180, 0.5),
        lambda m, s: shifted(m * [[-1], [1]], s[1] - 1, 0),
        lambda m, s: shifted(m * [[1], [-2.5]], 0, s[0]),
        lambda m, s: shifted(m, 40.3, -25.9),
        lambda m, s: shifted(m, 1e4, 0),
        lambda m, s: shifted(turned(m, s, 20), -3e3, 0),
        lambda m, s: shifted(m * 1e-3, 20.2, 20.2),
        lambda m, s: np.zeros((2, 3)),
    ],
    ids=["turn30", "turn-90", "turn180", "mirror", "flip", "shift", "outside", "turned-outside", "magnify", "point"],
)
def test_quick_way_is_the_reference_for_other_matrices(change: object, kind: str) -> None:
    low, size, frame = (26, 29), (101, 113), (140, 211)
    logits = person_logits(20, low, 1.5) if kind == "person" else noise_logits(20, low)
    matrix = change(unwarp(frame, size), size)  # type: ignore[operator]
    check_against_reference(logits, matrix, size, frame, True)
    check_against_reference(logits, matrix, size, frame, False)


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize(
    "matrix", [None, unwarp((90, 140), (65, 65)), turned(unwarp((90, 140), (65, 65)), (65, 65), 25)]
)
def test_tied_classes(matrix: Matrix | None, align_corners: bool) -> None:
    """Few distinct values, as from quantised outputs: ties everywhere, and rounding decides some of them."""
    logits = np.random.default_rng(5).integers(0, 3, (9, 17, 17)).astype(np.float32) * np.float32(0.1)
    labels = label_map(logits, matrix, (65, 65), (90, 140), align_corners=align_corners)
    for rows, values in reference_values(logits, matrix, (65, 65), (90, 140), align_corners):
        chosen = np.take_along_axis(values, labels[rows].astype(np.intp)[np.newaxis], axis=0)[0]
        np.testing.assert_array_equal(chosen, values.max(axis=0))
    # Two classes that are equal to the bit never differ by rounding: the lower index must win everywhere.
    doubled = np.repeat(person_logits(6, (17, 17)), 2, axis=0)
    assert not np.any(label_map(doubled, matrix, (65, 65), (90, 140), align_corners=align_corners) % 2)


@pytest.mark.parametrize("levels", [2, 3, 5])
def test_exact_ties_go_to_the_lowest_class(levels: int) -> None:
    """Quarter weights and small whole numbers: float32 rounds nothing, so not even ties may differ."""
    logits = np.random.default_rng(levels).integers(0, levels, (6, 9, 9)).astype(np.float32) - 1
    quarter = np.array([[0.25, 0, -0.5], [0, 0.25, -0.5]])
    eighth_turn = np.array([[0.25, -0.25, 12], [0.25, 0.25, -6]])
    for matrix, frame in ((None, (33, 65)), (quarter, (140, 140)), (eighth_turn, (140, 140))):
        labels = label_map(logits, matrix, (33, 33), frame, align_corners=True)
        expected = label_map_reference(logits, matrix, (33, 33), frame, align_corners=True)
        np.testing.assert_array_equal(labels, expected)


def test_realistic_logits_leave_no_difference_at_all() -> None:
    for frame in ((540, 960), (960, 540)):
        logits, matrix = (person_logits(20, (119, 119), frame[1] / frame[0], people=2), unwarp(frame, (473, 473)))
        labels = label_map(logits, matrix, (473, 473), frame, align_corners=True)
        expected = label_map_reference(logits, matrix, (473, 473), frame, align_corners=True)
        assert len(np.unique(labels)) > 10
        np.testing.assert_array_equal(labels, expected)


def public_pipeline(logits: NDArray[np.float32], matrix: Matrix, size: Size, frame: Size) -> NDArray[np.intp]:
    """SCHP simple_extractor.py: torch upsampling, one cv2.warpAffine per class, argmax."""
    large = F.interpolate(torch.from_numpy(logits)[None], size, mode="bilinear", align_corners=True)[0].numpy()
    inverse = cv2.invertAffineTransform(matrix)
    warped = [cv2.warpAffine(plane, inverse, frame[::-1], flags=cv2.INTER_LINEAR) for plane in large]
    return np.argmax(np.stack(warped, axis=2), axis=2)


@pytest.mark.parametrize("frame", [(540, 960), (961, 539), (321, 243)])
def test_agrees_with_the_public_extractor(frame: Size) -> None:
    logits, matrix = person_logits(20, (119, 119), frame[1] / frame[0]), unwarp(frame, (473, 473))
    labels = label_map(logits, matrix, (473, 473), frame, align_corners=True)
    agreement = np.mean(labels == public_pipeline(logits, matrix, (473, 473), frame))
    # OpenCV 5 warps with float32 coordinates; OpenCV 4 rounds them to 1/32 pixel, which moves borders.
    assert agreement >= (0.999 if OPENCV_4 else 0.9999)


@pytest.mark.parametrize("align_corners", [True, False])
def test_plain_resize_agrees_with_torch(align_corners: bool) -> None:
    logits, frame = person_logits(20, (60, 60), 1.5), (301, 451)
    large = F.interpolate(torch.from_numpy(logits)[None], frame, mode="bilinear", align_corners=align_corners)
    labels = label_map(logits, None, (237, 237), frame, align_corners=align_corners)
    assert np.mean(labels == large[0].argmax(0).numpy()) >= 0.9999


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize(
    ("source", "target"),
    [((7, 9), (25, 33)), ((1, 1), (4, 5)), ((5, 1), (5, 1)), ((30, 20), (7, 1)), ((8, 8), (60, 3))],
)
def test_bilinear_resize_equals_torch(source: Size, target: Size, align_corners: bool) -> None:
    values = noise_logits(3, source)
    expected = F.interpolate(torch.from_numpy(values)[None], target, mode="bilinear", align_corners=align_corners)
    np.testing.assert_allclose(bilinear_resize(values, target, align_corners), expected[0].numpy(), atol=2e-5)


@pytest.mark.parametrize("geometry", [SCHP, CE2P])
@pytest.mark.parametrize("frame", [(540, 960), (961, 539), (333, 500), (40, 30)])
def test_label_warp_agrees_with_opencv(frame: Size, geometry: Geometry) -> None:
    """CE2P evaluate.py: argmax at S×S, then cv2.warpAffine of the label map with INTER_NEAREST."""
    size = (473, 473)
    logits, matrix = person_logits(20, (119, 119), frame[1] / frame[0]), unwarp(frame, size, geometry)
    large = F.interpolate(torch.from_numpy(logits)[None], size, mode="bilinear", align_corners=True)
    small = large[0].argmax(0).numpy().astype(np.uint8)
    expected = cv2.warpAffine(small, cv2.invertAffineTransform(matrix), frame[::-1], flags=cv2.INTER_NEAREST)
    # OpenCV 4 rounds coordinates to 1/1024 pixel first: samples halfway between pixels go either way.
    least = 0.998 if OPENCV_4 else 0.9999
    assert np.mean(warp_labels(small, matrix, frame) == expected) >= least
    assert np.mean(label_map(logits, matrix, size, frame, align_corners=True, unwarp="labels") == expected) >= least


@pytest.mark.parametrize("degrees", [0.0, 41.0])
@pytest.mark.parametrize("unwarped", ["labels", "logits"])
def test_label_warp_is_its_reference(degrees: float, unwarped: Literal["labels", "logits"]) -> None:
    size, frame = (65, 81), (120, 97)
    logits = person_logits(12, (17, 21), 0.8)
    for matrix in (None, turned(unwarp(frame, size), size, degrees)):
        quick = label_map(logits, matrix, size, frame, align_corners=False, unwarp=unwarped)
        slow = label_map_reference(logits, matrix, size, frame, align_corners=False, unwarp=unwarped)
        np.testing.assert_array_equal(quick, slow)
    both = [label_map(logits, None, size, frame, align_corners=False, unwarp=u) for u in ("labels", "logits")]
    assert np.any(both[0] != both[1])


def test_outside_the_input_is_class_0() -> None:
    logits = np.zeros((4, 5, 5), np.float32)
    logits[3] = 1
    matrix = np.array([[1.0, 0, -10], [0, 1.0, -10]])
    for way in (label_map, label_map_reference):
        labels = way(logits, matrix, (17, 17), (40, 40), align_corners=True)
        expected = np.zeros((40, 40), np.uint8)
        expected[10:27, 10:27] = 3
        np.testing.assert_array_equal(labels, expected)


def test_negative_logits_lose_to_the_zeros_outside() -> None:
    """Half a pixel outside every class is pulled towards 0, and class 0 must not win by being first there."""
    logits = np.full((2, 1, 1), -4, np.float32)
    logits[1] = -1
    matrix = np.array([[1.0, 0, -0.5], [0, 1.0, 0]])
    assert label_map(logits, matrix, (1, 1), (1, 3), align_corners=True).tolist() == [[1, 1, 0]]


def test_256_classes() -> None:
    """Class 255 shares its number with the mark for mixed cells."""
    logits = np.zeros((256, 6, 6), np.float32)
    logits[255, :3] = 1
    logits[254, 3:] = 1
    matrix = unwarp((50, 40), (21, 21))
    check_against_reference(logits, matrix, (21, 21), (50, 40), True)
    assert set(np.unique(label_map(logits, matrix, (21, 21), (50, 40), align_corners=True))) == {254, 255}


def test_half_precision_logits_are_read_as_float32() -> None:
    logits = person_logits(8, (20, 20)).astype(np.float16)
    matrix = unwarp((60, 60), (77, 77))
    labels = label_map(logits, matrix, (77, 77), (60, 60), align_corners=True)  # type: ignore[arg-type]
    wide = logits.astype(np.float32)
    np.testing.assert_array_equal(labels, label_map_reference(wide, matrix, (77, 77), (60, 60), align_corners=True))


def test_noise_needs_bounded_memory() -> None:
    """Everything is border here; the logits of the whole frame would take 166 MB."""
    logits, frame = noise_logits(20, (119, 119)), (1080, 1920)
    matrix = unwarp(frame, (473, 473))
    tracemalloc.start()
    try:
        label_map(logits, matrix, (473, 473), frame, align_corners=True)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 64e6


def test_solver_noise_is_not_taken_for_shear() -> None:
    matrix = unwarp((90, 120), (65, 65))
    noisy = matrix + np.array([[0, 1e-17, 0], [-1e-17, 0, 0]])
    np.testing.assert_array_equal(settle_matrix(noisy, (90, 120)), matrix)
    assert settle_matrix(matrix + np.array([[0, 1e-3, 0], [0, 0, 0]]), (90, 120))[0, 1] == 1e-3


@pytest.mark.parametrize(
    ("shape", "size", "frame"),
    [((4, 4), (8, 8), (8, 8)), ((257, 4, 4), (8, 8), (8, 8)), ((3, 0, 4), (8, 8), (8, 8)), ((3, 4, 4), (8, 8), (0, 8))],
)
def test_other_shapes_are_refused(shape: tuple[int, ...], size: Size, frame: Size) -> None:
    with pytest.raises(ValueError, match=r"logits \[C, h, w\]|at least 1"):
        label_map(np.zeros(shape, np.float32), np.eye(2, 3), size, frame, align_corners=True)


def test_other_matrices_and_labels_are_refused() -> None:
    logits = np.zeros((3, 4, 4), np.float32)
    for matrix in (np.eye(3), np.full((2, 3), np.inf)):
        with pytest.raises(ValueError, match="2x3"):
            label_map(logits, matrix, (8, 8), (8, 8), align_corners=True)
    for labels in (np.zeros((4, 4)), np.zeros((4, 4, 1), np.uint8)):
        with pytest.raises(ValueError, match="uint8 labels"):
            warp_labels(labels, np.eye(2, 3), (8, 8))  # type: ignore[arg-type]
