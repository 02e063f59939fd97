"""The ssseg augmentation step by step: sizes, crops, rotation and padding by hand, and the shares of what is drawn."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from ce2p.augmentation import SssegAugmentation, edge_map, ssseg
from ce2p.labels import label_set
from tests.augmentation.drawing import Script, labels_of, picture_of, scene, within_binomial_bounds

STILL = SssegAugmentation(
    (6, 6),
    label_set("lip"),
    resize=(6, 6),
    scale_range=(1, 1),
    flip_probability=0,
    rotation_probability=0,
    photometric=False,
)
"""Nothing but the crop is left to chance."""
RNG = np.random.default_rng


@pytest.mark.parametrize(
    ("picture", "sides", "factor", "keep_ratio", "expected"),
    [
        # LIP: 520x520 whatever the aspect, fractions cut off.
        ((500, 400), (520, 520), 1.0, False, (520, 520)),
        ((500, 400), (520, 520), 0.7517, False, (390, 390)),
        # Two different sides: the longer one to the picture's longer side; a square counts as wide.
        ((500, 400), (300, 200), 1.0, False, (300, 200)),
        ((400, 500), (300, 200), 1.0, False, (200, 300)),
        ((400, 400), (200, 300), 1.0, False, (200, 300)),
        # VOC: 375x500 grows by 512/375; 100x1000 is held back by its long side, 2048/1000.
        ((375, 500), (2048, 512), 1.0, True, (512, 683)),
        ((500, 375), (2048, 512), 0.5, True, (341, 256)),
        ((100, 1000), (2048, 512), 1.0, True, (205, 2048)),
    ],
)
def test_sizes_after_resizing(
    picture: tuple[int, int], sides: tuple[int, int], factor: float, keep_ratio: bool, expected: tuple[int, int]
) -> None:
    assert ssseg._resized_shape(picture, sides, factor, keep_ratio) == expected


def test_sides_left_out_are_in_the_published_proportion() -> None:
    def sides(size: int, keep_ratio: bool) -> tuple[int, int]:
        return SssegAugmentation((size, size), label_set("voc"), keep_ratio=keep_ratio)._sides()

    assert sides(473, False) == (520, 520)
    assert sides(512, True) == (2048, 512)
    assert sides(64, False) == (70, 70)


@pytest.mark.parametrize("seed", range(40))
def test_the_crop_rule_is_that_of_a_whole_histogram(seed: int) -> None:
    rng = RNG(seed)
    shares = rng.dirichlet(np.full(5, rng.uniform(0.05, 3)))
    labels = rng.choice(np.array([0, 1, 7, 254, 255], np.uint8), (37, 41), p=shares)
    if seed % 4 == 0:  # a class that the coarse sample does not see
        labels[::16, ::16] = 255
    if seed % 8 == 1:
        labels[:] = rng.choice([0, 255])
    values, counts = np.unique(labels[labels != 255], return_counts=True)
    for limit in (0.2, 0.5, 0.75, 1.0):
        expected = len(values) > 1 and counts.max() / counts.sum() < limit
        assert ssseg._is_varied(labels, limit) == expected


def test_exactly_three_quarters_is_too_much() -> None:
    assert not ssseg._is_varied(labels_of("0001"), 0.75)
    assert ssseg._is_varied(labels_of("00011"), 0.75)
    assert not ssseg._is_varied(labels_of("0001.."), 0.75)  # ignored pixels do not count


def test_the_first_varied_crop_is_taken() -> None:
    labels = np.zeros((6, 12), np.uint8)
    labels[:, 9:] = 5
    rng = Script(integers=[0, 0, 0, 1, 0, 6])  # top and left of three draws
    window = STILL._window(labels, rng)  # type: ignore[arg-type]
    # Columns 0 to 5 and 1 to 6 are all background; 6 to 11 are half and half.
    assert (window[0].start, window[1].start, rng.left()) == (0, 6, 0)


def test_the_tenth_crop_is_taken_as_it_is() -> None:
    labels = np.zeros((6, 20), np.uint8)
    rng = Script(integers=[0, 3] * 9 + [0, 11] + [0, 0])
    window = STILL._window(labels, rng)  # type: ignore[arg-type]
    assert (window[1].start, rng.left()) == (11, 2)


def test_crops_lie_anywhere_with_equal_chance() -> None:
    labels = np.indices((6, 9))[1].astype(np.uint8) % 4  # every crop is varied
    rng, draws = RNG(0), 2000
    lefts = [STILL._window(labels, rng)[1].start for _ in range(draws)]
    assert all(within_binomial_bounds(lefts.count(left), draws, 1 / 4) for left in range(4))


def test_picture_and_labels_are_cropped_alike() -> None:
    _, labels = scene(24, 24)
    sample = replace(STILL, resize=(24, 24))(picture_of(labels), labels, RNG(3))
    np.testing.assert_array_equal(sample.image, picture_of(sample.labels))
    np.testing.assert_array_equal(sample.edges, edge_map(sample.labels))


def test_the_mirror_exchanges_sides() -> None:
    labels = labels_of("efghij", *["001122"] * 5)
    sample = replace(STILL, flip_probability=1.0)(picture_of(labels), labels, RNG(0))
    np.testing.assert_array_equal(sample.labels, labels_of("ijghef", *["221100"] * 5))
    np.testing.assert_array_equal(sample.image, picture_of(labels)[:, ::-1])


def test_a_quarter_turn_is_about_the_corner_of_the_middle_pixels() -> None:
    labels = labels_of("1234", "5678", "9abc", "defg")
    turning = replace(STILL, size=(4, 4), resize=(4, 4), rotation_probability=1.0, rotation_degrees=90)
    rng = Script(random=[0.9, 0.0], uniform=[1.0], integers=[0, 0, -90])
    sample = turning(picture_of(labels), labels, rng)  # type: ignore[arg-type]
    # Clockwise about (2, 2) in whole pixels takes (x, y) to (4 - y, x): column 0 lies outside the picture.
    np.testing.assert_array_equal(sample.labels, labels_of(".d95", ".ea6", ".fb7", ".gc8"))
    assert not sample.image[:, 0].any()
    np.testing.assert_array_equal(sample.image[:, 1:], picture_of(sample.labels)[:, 1:])


def test_whole_degrees_within_the_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[float] = []
    real = cv2.getRotationMatrix2D
    monkeypatch.setattr(ssseg.cv2, "getRotationMatrix2D", lambda c, degrees, s: drawn.append(degrees) or real(c, 0, s))
    turning = replace(STILL, rotation_probability=0.6)
    rng, draws = RNG(0), 3000
    labels = np.zeros((6, 6), np.uint8)
    for _ in range(draws):
        turning._rotated(picture_of(labels), labels, rng)
    assert set(drawn) == set(range(-30, 30))
    assert within_binomial_bounds(len(drawn), draws, 0.6)


def test_rotation_last_takes_corners_from_the_crop_and_rotation_first_does_not() -> None:
    _, labels = scene(90, 90, classes=4)
    turning = replace(
        STILL, size=(20, 20), resize=(90, 90), rotation_probability=1.0, rotation_degrees=30, max_class_share=1.0
    )
    last = [(turning(picture_of(labels), labels, RNG(seed)).labels == 255).sum() for seed in range(30)]
    first = replace(turning, rotation_first=True)
    crops = [(first(picture_of(labels), labels, RNG(seed)).labels == 255).sum() for seed in range(30)]
    assert sum(lost > 0 for lost in last) >= 26  # all but turns by a degree or two
    assert 1 <= sum(lost > 0 for lost in crops) <= 15  # only crops at the rim of the picture


def test_small_pictures_are_padded_on_all_sides_and_ignored_there() -> None:
    labels = labels_of("0055", "0055", "0055")
    sample = replace(STILL, size=(6, 9), resize=(4, 3))(picture_of(labels), labels, RNG(0))
    inside = np.zeros((6, 9), bool)
    inside[1:4, 2:6] = True  # wide: 3 rows of 4; 3 rows are missing, the odd one below; 5 columns, the odd one right
    np.testing.assert_array_equal(sample.labels[1:4, 2:6], labels_of("0055", "0055", "0055"))
    assert (sample.labels[~inside] == 255).all()
    assert (sample.edges[~inside] == 255).all()
    np.testing.assert_array_equal(sample.edges[inside].reshape(3, 4), edge_map(labels))
    assert (sample.image[~inside] == (104, 116, 124)).all()
    np.testing.assert_array_equal(sample.image[1:4, 2:6], picture_of(labels))


def test_the_default_padding_is_the_mean_that_is_subtracted() -> None:
    from ce2p.families import preprocessing_for

    red, green, blue = preprocessing_for("ssseg").normalisation.mean
    assert SssegAugmentation((8, 8), label_set("lip")).padding_colour == (round(blue), round(green), round(red))


def test_the_whole_pipeline_keeps_picture_and_labels_together() -> None:
    """Blocks have a colour each; after everything but the colours' distortion the colour still tells the label."""
    _, labels = scene(80, 60, classes=8)
    full = SssegAugmentation((64, 64), label_set("voc"), photometric=False)
    for seed in range(6):
        sample = full(picture_of(labels), labels, RNG(seed))
        assert sample.image.shape == (64, 64, 3)
        inner = (sample.labels != 255) & (sample.edges == 0)
        expected = picture_of(sample.labels)
        close = np.abs(sample.image.astype(int) - expected).max(axis=-1) <= 12
        assert inner.sum() > 100
        assert close[inner].mean() > 0.9
