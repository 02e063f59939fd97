"""The affine augmentation: its matrix against the published construction, its pixels by hand, its distributions."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ce2p.augmentation import AffineAugmentation, Augmented, affine, edge_map
from ce2p.augmentation.affine import crop_matrix
from ce2p.augmentation.geometric_steps import warp
from ce2p.labels import LabelSet, label_set
from ce2p_runtime.geometry import frame_mapping
from ce2p_runtime.model_files.metadata import Geometry
from tests.augmentation.drawing import Script, labels_of, picture_of, scene, within_binomial_bounds

SIZES = [((500, 400), (473, 473)), ((333, 512), (384, 384)), ((64, 31), (97, 65)), ((7, 90), (40, 100))]


def at(matrix: np.ndarray, point: tuple[float, float]) -> np.ndarray:
    return matrix @ np.array([*point, 1.0])


@pytest.mark.parametrize("half_pixel", [False, True])
@pytest.mark.parametrize(("picture", "crop"), SIZES)
def test_without_chance_the_matrix_is_the_one_that_the_runtime_parses_with(
    picture: tuple[int, int], crop: tuple[int, int], half_pixel: bool
) -> None:
    geometry = Geometry(kind="affine", half_pixel=half_pixel, centre="float", unwarp="logits")
    expected = frame_mapping(geometry, picture, crop).forward
    np.testing.assert_allclose(crop_matrix(picture, crop, half_pixel=half_pixel), expected, atol=1e-4)


@pytest.mark.parametrize("half_pixel", [False, True])
@pytest.mark.parametrize(("picture", "crop"), SIZES)
@pytest.mark.parametrize(("factor", "degrees"), [(1.0, 0.0), (0.8, 30.0), (1.25, -47.0)])
def test_three_points_go_where_the_published_construction_puts_them(
    picture: tuple[int, int], crop: tuple[int, int], half_pixel: bool, factor: float, degrees: float
) -> None:
    (height, width), (rows, columns) = picture, crop
    box_width, box_height = width - 1.0, height - 1.0
    if box_width < box_height * columns / rows:
        box_width = box_height * columns / rows
    turn, reach = math.radians(degrees), factor * box_width / 2
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    # Half a box above the centre, in a box that is turned by `degrees`; and the same turned by a right angle.
    above = centre + reach * np.array([math.sin(turn), -math.cos(turn)])
    beside = above + reach * np.array([-math.cos(turn), -math.sin(turn)])
    side_x, side_y = (columns, rows) if half_pixel else (columns - 1, rows - 1)
    middle, half = np.array([side_x / 2, side_y / 2]), side_x / 2

    matrix = crop_matrix(picture, crop, half_pixel=half_pixel, factor=factor, degrees=degrees)
    np.testing.assert_allclose(at(matrix, tuple(centre)), middle, atol=1e-9)
    np.testing.assert_allclose(at(matrix, tuple(above)), middle - [0, half], atol=1e-9)
    np.testing.assert_allclose(at(matrix, tuple(beside)), middle - [half, half], atol=1e-9)
    mirrored = crop_matrix(picture, crop, half_pixel=half_pixel, factor=factor, degrees=degrees, mirrored=True)
    np.testing.assert_allclose(at(mirrored, (width - 1 - 3.0, 5.0)), at(matrix, (3.0, 5.0)), atol=1e-9)


def test_a_quarter_turn_brings_the_right_side_to_the_top() -> None:
    labels = labels_of("123", "456", "789")
    matrix = crop_matrix((3, 3), (3, 3), half_pixel=False, degrees=90)
    image, turned = warp(picture_of(labels), labels, matrix, (3, 3))
    np.testing.assert_array_equal(turned, labels_of("369", "258", "147"))
    np.testing.assert_array_equal(image, picture_of(turned))


def test_around_the_picture_it_is_black_and_ignored() -> None:
    labels = labels_of("12345", "12345", "12345")
    still = AffineAugmentation(
        (5, 5), label_set("voc"), scale_sigma=0, rotation_sigma=0, rotation_probability=0, flip_probability=0
    )
    image, found, _ = still(picture_of(labels), labels, np.random.default_rng(0))
    # As wide as the crop, so nothing is scaled; one row above and one below lie outside.
    np.testing.assert_array_equal(found, labels_of(".....", "12345", "12345", "12345", "....."))
    np.testing.assert_array_equal(image[1:4], picture_of(labels))
    assert not image[[0, 4]].any()


def test_half_a_box_doubles_the_picture_about_its_middle() -> None:
    labels = labels_of("0000000", "0011100", "0012100", "0011100", "0000000")
    matrix = crop_matrix((5, 7), (5, 7), half_pixel=False, factor=0.5)
    _, found = warp(picture_of(labels), labels, matrix, (5, 7))
    assert found[2, 3] == 2
    np.testing.assert_array_equal(at(matrix, (3, 2)), [3, 2])
    np.testing.assert_array_equal(at(matrix, (4, 1)), [5, 0])
    assert (found[0, 1], found[0, 5], found[4, 1], found[4, 5]) == (1, 1, 1, 1)


def mirrored(dataset: str, *rows: str) -> tuple[np.ndarray, Augmented]:
    labels = labels_of(*rows)
    always = AffineAugmentation(
        labels.shape, label_set(dataset), scale_sigma=0, rotation_sigma=0, rotation_probability=0, flip_probability=1
    )
    return labels, always(picture_of(labels), labels, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("dataset", "rows", "expected"),
    [
        ("lip", ("5efgh", "0ij1.", "00000", "00000", "00000"), ("ghef5", ".1ij0", "00000", "00000", "00000")),
        ("cihp", ("5efgh", "0ij1.", "00000", "00000", "00000"), ("ghef5", ".1ij0", "00000", "00000", "00000")),
        # Shoes, legs and arms change; bag (16) and scarf (17) stay what they are.
        ("atr", ("9acde", "fgh1.", "00000", "00000", "00000"), ("fcd9a", ".1hge", "00000", "00000", "00000")),
        ("ppp", ("12345", "6000.", "00000", "00000", "00000"), ("54321", ".0006", "00000", "00000", "00000")),
        ("voc", ("efghi", "9ack.", "00000", "00000", "00000"), ("ihgfe", ".kca9", "00000", "00000", "00000")),
    ],
)
def test_a_mirror_exchanges_the_sides_of_that_data_set(
    dataset: str, rows: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    labels, sample = mirrored(dataset, *rows)
    np.testing.assert_array_equal(sample.labels, labels_of(*expected))
    np.testing.assert_array_equal(sample.image, picture_of(labels)[:, ::-1])


def test_the_mirror_turns_with_the_picture_as_if_it_had_been_mirrored_first() -> None:
    image, labels = scene(60, 45)
    augmentation = AffineAugmentation((64, 64), label_set("voc"))
    draws = {"standard_normal": [0.4, -0.9]}
    together = augmentation(image, labels, Script(random=[0.0, 0.0], **draws))  # type: ignore[arg-type]
    first = (np.ascontiguousarray(image[:, ::-1]), np.ascontiguousarray(labels[:, ::-1]))
    draws = {"standard_normal": [0.4, -0.9]}
    apart = augmentation(*first, Script(random=[0.0, 1.0], **draws))  # type: ignore[arg-type]
    # The same positions up to rounding (OpenCV 4: 1/32 pixel), over which a smooth picture hardly changes.
    assert np.abs(together.image.astype(int) - apart.image).max() <= 8
    assert np.mean(together.labels == apart.labels) > 0.98


def test_edges_are_made_from_the_labels_that_come_out() -> None:
    image, labels = scene(50, 70)
    for seed in range(5):
        sample = AffineAugmentation((64, 48), label_set("lip"))(image, labels, np.random.default_rng(seed))
        assert sample.image.shape == (64, 48, 3)
        np.testing.assert_array_equal(sample.edges, edge_map(sample.labels))
        assert set(np.unique(sample.edges)) == {0, 1}


def test_draws_have_the_published_distributions(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[float, float, bool]] = []

    def record(picture: object, crop: object, *, half_pixel: bool, factor: float, degrees: float, mirrored: bool):
        assert half_pixel
        drawn.append((factor, degrees, mirrored))
        return np.eye(2, 3)

    monkeypatch.setattr(affine, "crop_matrix", record)
    augmentation = AffineAugmentation((4, 4), LabelSet("x", "x", ("a", "b")), half_pixel=True)
    rng, draws = np.random.default_rng(0), 4000
    for _ in range(draws):
        augmentation(np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.uint8), rng)
    factors, degrees, flips = (np.array(values) for values in zip(*drawn, strict=True))
    beyond_one, beyond_two = (math.erfc(sigmas / math.sqrt(2)) / 2 for sigmas in (1, 2))
    assert (factors.min(), factors.max()) == (0.75, 1.25)
    assert within_binomial_bounds(int((factors == 0.75).sum()), draws, beyond_one)
    assert within_binomial_bounds(int((factors == 1.25).sum()), draws, beyond_one)
    assert within_binomial_bounds(int((factors > 1).sum()), draws, 0.5)
    turned = degrees[degrees != 0]
    assert within_binomial_bounds(len(turned), draws, 0.6)
    assert (turned.min(), turned.max()) == (-60, 60)
    assert within_binomial_bounds(int((turned == 60).sum()), len(turned), beyond_two)
    assert within_binomial_bounds(int((turned > 30).sum()), len(turned), beyond_one)
    assert within_binomial_bounds(int(flips.sum()), draws, 0.5)
    assert abs(np.corrcoef(factors, degrees)[0, 1]) < 4 / math.sqrt(draws)
