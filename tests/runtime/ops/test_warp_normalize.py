"""warp_normalize: the quick way against the reference, and both against the public preprocessing."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from benchmarks.scenes import photo
from ce2p_runtime.geometry import frame_mapping
from ce2p_runtime.model_files.metadata import Geometry, Normalisation
from ce2p_runtime.ops import crop, crop_reference, warp_normalize, warp_normalize_reference

SCHP = Geometry("affine", half_pixel=False, centre="float", unwarp="logits")
SCHP_PIXELS = Normalisation("bgr", 1 / 255, (0.406, 0.456, 0.485), (0.225, 0.224, 0.229))
SSSEG_PIXELS = Normalisation("rgb", 1.0, (123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
OPENCV_4 = int(cv2.__version__.split(".")[0]) < 5
CASES = [
    ((270, 480), (119, 119)),
    ((480, 270), (119, 119)),
    ((333, 257), (130, 97)),
    ((40, 51), (119, 119)),
    ((1, 1), (17, 17)),
    ((9, 1), (16, 24)),
]


def forward(frame: tuple[int, int], size: tuple[int, int], turn: float = 0.0) -> NDArray[np.float64]:
    """The SCHP crop of a frame, turned by some degrees about the input's origin."""
    matrix = frame_mapping(SCHP, frame, size).forward
    assert matrix is not None
    angle = np.deg2rad(turn)
    turned: NDArray[np.float64] = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) @ matrix
    return turned


def noise(size: tuple[int, int]) -> NDArray[np.uint8]:
    return np.random.default_rng(size[0]).integers(0, 256, (*size, 3)).astype(np.uint8)


def differences(
    frame: NDArray[np.uint8], matrix: NDArray[np.float64] | None, size: tuple[int, int]
) -> NDArray[np.intp]:
    return np.abs(crop(frame, matrix, size).astype(int) - crop_reference(frame, matrix, size).astype(int))


@pytest.mark.parametrize(("frame", "size"), CASES)
@pytest.mark.parametrize("turn", [0.0, 17.0])
def test_warp_is_within_a_grey_level_of_the_reference(
    frame: tuple[int, int], size: tuple[int, int], turn: float
) -> None:
    # White noise is the worst case: every error of a coordinate becomes a difference in value.
    apart = differences(noise(frame), forward(frame, size, turn), size)
    # OpenCV 4 rounds coordinates to 1/32 pixel: half a step per axis times a contrast of 255, plus rounding.
    assert apart.max() <= (9 if OPENCV_4 else 1)
    assert OPENCV_4 or np.mean(apart > 0) < 0.01


def test_warp_of_a_photograph_hardly_differs() -> None:
    apart = differences(photo((540, 960)), forward((540, 960), (473, 473)), (473, 473))
    assert apart.max() <= 1 + OPENCV_4
    assert np.mean(apart > 0) < (0.1 if OPENCV_4 else 1e-3)


@pytest.mark.parametrize(("frame", "size"), CASES)
def test_resize_is_within_a_grey_level_of_the_reference(frame: tuple[int, int], size: tuple[int, int]) -> None:
    # cv2.resize has 11-bit weights: errors below 255/2048 per axis decide roundings, never more than a level.
    apart = differences(noise(frame), None, size)
    assert apart.max() <= 1
    assert np.mean(apart > 0) < 0.2


@pytest.mark.parametrize("pixels", [SCHP_PIXELS, SSSEG_PIXELS])
@pytest.mark.parametrize("stretch", [False, True])
def test_quick_way_is_the_reference_of_its_own_crop(pixels: Normalisation, stretch: bool) -> None:
    frame, size = noise((60, 80)), (31, 47)
    matrix = None if stretch else forward((60, 80), size)
    values = warp_normalize(frame, matrix, size, pixels)
    # Sent through the identity, the quick crop has no interpolation left: only the normalisation is compared.
    identity = np.eye(2, 3)
    expected = warp_normalize_reference(crop(frame, matrix, size), identity, size, pixels)
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, expected)


def test_equals_the_public_preprocessing() -> None:
    frame, size = photo((360, 640)), (473, 473)
    matrix = forward((360, 640), size)
    warped = cv2.warpAffine(frame, matrix, size[::-1], flags=cv2.INTER_LINEAR, borderValue=(0, 0, 0))
    tensor = torch.from_numpy(warped.transpose(2, 0, 1)).contiguous().float().div(255)
    mean, std = (torch.tensor(values)[:, None, None] for values in (SCHP_PIXELS.mean, SCHP_PIXELS.std))
    # One float32 rounding here, three there.
    np.testing.assert_allclose(
        warp_normalize(frame, matrix, size, SCHP_PIXELS), ((tensor - mean) / std).numpy(), rtol=0, atol=1e-6
    )


def test_colour_order_and_padding() -> None:
    frame = np.zeros((10, 40, 3), np.uint8)
    frame[:] = (10, 20, 30)
    matrix = forward((10, 40), (40, 40))
    rgb = warp_normalize(frame, matrix, (40, 40), SSSEG_PIXELS)
    mean, std = np.array(SSSEG_PIXELS.mean), np.array(SSSEG_PIXELS.std)
    np.testing.assert_allclose(rgb[:, 20, 20], (np.array([30, 20, 10]) - mean) / std, rtol=1e-6)
    np.testing.assert_allclose(rgb[:, 0, 0], -mean / std, rtol=1e-6)
    bgr = warp_normalize(frame, matrix, (40, 40), SCHP_PIXELS)
    expected = (np.array([10, 20, 30]) / 255 - SCHP_PIXELS.mean) / SCHP_PIXELS.std
    np.testing.assert_allclose(bgr[:, 20, 20], expected, rtol=1e-5)


def test_writes_into_one_item_of_a_batch() -> None:
    frame, size = noise((30, 50)), (20, 20)
    matrix = forward((30, 50), size)
    batch = np.full((2, 3, 20, 20), 7, np.float32)
    returned = warp_normalize(frame, matrix, size, SCHP_PIXELS, out=batch[1])
    assert np.shares_memory(returned, batch)
    np.testing.assert_array_equal(batch[1], warp_normalize(frame, matrix, size, SCHP_PIXELS))
    assert (batch[0] == 7).all()
    pixels = np.zeros((2, 20, 20, 3), np.uint8)
    for use in (matrix, None):
        assert np.shares_memory(crop(frame, use, size, out=pixels[0]), pixels)
        np.testing.assert_array_equal(pixels[0], crop(frame, use, size))


def test_views_of_frames_are_accepted() -> None:
    frame = noise((40, 60))
    matrix = forward((40, 30), (24, 24))
    mirrored = frame[:, ::-2]
    np.testing.assert_array_equal(
        crop(mirrored, matrix, (24, 24)), crop(np.ascontiguousarray(mirrored), matrix, (24, 24))
    )


@pytest.mark.parametrize(
    "frame",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_other_frames_are_refused(frame: NDArray[np.uint8]) -> None:
    for function in (crop, crop_reference):
        with pytest.raises(ValueError, match="uint8 BGR frame"):
            function(frame, np.eye(2, 3), (8, 8))


def test_other_matrices_and_outputs_are_refused() -> None:
    frame = noise((8, 8))
    with pytest.raises(ValueError, match="2x3"):
        crop(frame, np.eye(3), (8, 8))
    with pytest.raises(ValueError, match="2x3"):
        warp_normalize(frame, np.full((2, 3), np.nan), (8, 8), SCHP_PIXELS)
    for out in (np.empty((3, 8, 9), np.float32), np.empty((3, 8, 8)), np.empty((3, 8, 16), np.float32)[:, :, ::2]):
        with pytest.raises(ValueError, match="contiguous"):
            warp_normalize(frame, None, (8, 8), SCHP_PIXELS, out=out)  # type: ignore[arg-type]
