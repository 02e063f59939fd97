"""The closed-form mapping against the three-point solution that SCHP and CE2P publish."""

from __future__ import annotations

import itertools

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from ce2p_runtime.geometry import frame_mapping
from ce2p_runtime.model_files.metadata import Geometry

SCHP = Geometry("affine", half_pixel=False, centre="float", unwarp="logits")
CE2P = Geometry("affine", half_pixel=True, centre="int", unwarp="labels")
STRETCH = Geometry("resize", half_pixel=False, centre="float", unwarp="logits")
FRAMES = [
    (1080, 1920),
    (1920, 1080),
    (2160, 3840),
    (3840, 2160),
    (720, 1280),
    (481, 321),
    (480, 320),
    (97, 1500),
    (2, 3),
]
INPUTS = [(473, 473), (512, 512), (384, 384), (512, 384), (320, 640)]


def three_points(
    centre: NDArray[np.generic], width: np.float32, size: tuple[int, int], half_pixel: bool, inverse: bool
) -> NDArray[np.float64]:
    """The formula of both at rotation 0: centre, a point above it, and a third that makes a right angle."""
    extent = np.array(size, np.float64) if half_pixel else np.array(size, np.float64) - 1
    ours, theirs = np.zeros((3, 2), np.float32), np.zeros((3, 2), np.float32)
    ours[0], theirs[0] = centre, (extent[1] * 0.5, extent[0] * 0.5)
    ours[1] = centre + np.array([0, width * -0.5])
    theirs[1] = np.array([extent[1] * 0.5, extent[0] * 0.5]) + np.array([0, extent[1] * -0.5], np.float32)
    for points in (ours, theirs):
        along = points[0] - points[1]
        points[2] = points[1] + np.array([-along[1], along[0]], np.float32)
    solved: NDArray[np.float64] = cv2.getAffineTransform(*((theirs, ours) if inverse else (ours, theirs)))
    return solved


def box(frame: tuple[int, int], size: tuple[int, int]) -> tuple[NDArray[np.float32], np.float32]:
    """Centre and width of the whole-frame box, extended to the input's aspect."""
    height, width, aspect = frame[0] - 1, frame[1] - 1, size[1] / size[0]
    if width < aspect * height:
        width = height * aspect
    return np.array([(frame[1] - 1) * 0.5, (frame[0] - 1) * 0.5], np.float32), np.float32(width)


def corners(frame: tuple[int, int], matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where the four corner pixels of the frame land."""
    bottom, right = frame[0] - 1, frame[1] - 1
    landed: NDArray[np.float64] = matrix @ np.array([[0, right, 0, right], [0, 0, bottom, bottom], [1, 1, 1, 1]])
    return landed


@pytest.mark.parametrize(("frame", "size"), list(itertools.product(FRAMES, INPUTS)))
@pytest.mark.parametrize("geometry", [SCHP, CE2P])
def test_forward_is_the_published_transform(geometry: Geometry, frame: tuple[int, int], size: tuple[int, int]) -> None:
    centre, width = box(frame, size)
    published = three_points(centre, width, size, geometry.half_pixel, inverse=False)
    mapping = frame_mapping(geometry, frame, size)
    assert mapping.forward is not None
    # Affine maps differ most at the corners.
    assert np.abs(corners(frame, mapping.forward) - corners(frame, published)).max() < 1e-4


@pytest.mark.parametrize(("frame", "size"), list(itertools.product(FRAMES, INPUTS)))
@pytest.mark.parametrize("geometry", [SCHP, CE2P])
def test_unwarp_is_the_inverse_of_the_published_inverse(
    geometry: Geometry, frame: tuple[int, int], size: tuple[int, int]
) -> None:
    centre, width = box(frame, size)
    stored = centre.astype(np.int32) if geometry.centre == "int" else centre
    published = three_points(stored, width, size, geometry.half_pixel, inverse=True)
    mapping = frame_mapping(geometry, frame, size)
    assert mapping.unwarp is not None
    # cv2.warpAffine inverts the matrix it is given.
    difference = corners(frame, mapping.unwarp) - corners(frame, cv2.invertAffineTransform(published))
    assert np.abs(difference).max() < 1e-4


def test_truncated_centre_moves_even_sizes_by_half_a_pixel() -> None:
    mapping = frame_mapping(CE2P, (1080, 1921), (473, 473))
    assert mapping.forward is not None
    assert mapping.unwarp is not None
    scale = 473 / 1920
    assert mapping.unwarp[1, 2] - mapping.forward[1, 2] == pytest.approx(0.5 * scale, abs=1e-9)
    assert mapping.unwarp[0, 2] == mapping.forward[0, 2]


def test_schp_meets_the_corner_pixels_and_keeps_the_aspect() -> None:
    mapping = frame_mapping(SCHP, (473, 473), (473, 473))
    assert mapping.forward == pytest.approx(np.array([[1.0, 0, 0], [0, 1.0, 0]]))
    wide = frame_mapping(SCHP, (101, 201), (473, 473)).forward
    assert wide is not None
    landed = corners((101, 201), wide)
    assert landed[0, :2] == pytest.approx([0, 472])
    assert landed[1, [0, 2]] == pytest.approx([118, 354])


def test_matrices_have_no_shear_at_all() -> None:
    matrix = frame_mapping(SCHP, (479, 641), (473, 473)).unwarp
    assert matrix is not None
    assert matrix[0, 1] == 0
    assert matrix[1, 0] == 0
    assert matrix[0, 0] == matrix[1, 1]


def test_one_pixel_frame_has_a_finite_mapping() -> None:
    matrix = frame_mapping(SCHP, (1, 1), (473, 473)).forward
    assert matrix is not None
    assert np.isfinite(matrix).all()
    assert matrix @ [0, 0, 1] == pytest.approx([236, 236])


def test_resize_has_no_matrices() -> None:
    mapping = frame_mapping(STRETCH, (480, 640), (473, 473))
    assert mapping.forward is None
    assert mapping.unwarp is None
    assert mapping.frame_size == (480, 640)


@pytest.mark.parametrize(("frame", "size"), [((0, 5), (473, 473)), ((5, 0), (473, 473)), ((5, 5), (1, 473))])
def test_impossible_sizes_are_refused(frame: tuple[int, int], size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="frame"):
        frame_mapping(SCHP, frame, size)
