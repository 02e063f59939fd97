"""The other two augmentations, and building one by name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest

from ce2p.augmentation import KINDS, CropAugmentation, PlainAugmentation, build_augmentation, edge_map
from ce2p.errors import ConfigError
from ce2p.labels import label_set
from ce2p_runtime.geometry import frame_mapping
from ce2p_runtime.model_files.metadata import Geometry
from tests.augmentation.drawing import Script, labels_of, picture_of, scene, within_binomial_bounds

RNG = np.random.default_rng
STILL = CropAugmentation((4, 5), label_set("lip"), scales=(1.0,), flip_probability=0)


def test_what_is_missing_is_added_right_and_below() -> None:
    labels = labels_of("005", "005", "005")
    sample = STILL(picture_of(labels), labels, RNG(0))
    np.testing.assert_array_equal(sample.labels, labels_of("005..", "005..", "005..", "....."))
    np.testing.assert_array_equal(sample.image[:3, :3], picture_of(labels))
    assert (sample.image[3] == (104, 117, 123)).all()
    assert (sample.image[:, 3:] == (104, 117, 123)).all()
    # Padding counts as "no edge" here; the border between columns 1 and 2 is as in the picture.
    np.testing.assert_array_equal(sample.edges[:3, :3], edge_map(labels))
    assert not sample.edges[3].any()
    assert not sample.edges[:, 3:].any()


def test_the_crop_is_drawn_for_the_side_that_is_too_long() -> None:
    labels = labels_of("0123456789", "abcdefghij")
    rng = Script(random=[0.9], integers=[0, 0, 3])  # the only scale; no room above; left = 3
    sample = STILL(picture_of(labels), labels, rng)  # type: ignore[arg-type]
    np.testing.assert_array_equal(sample.labels[:2], labels_of("34567", "defgh"))
    assert (sample.labels[2:] == 255).all()
    np.testing.assert_array_equal(sample.image[:2], picture_of(labels)[:, 3:8])


def test_edges_are_those_of_the_picture_mirrored_and_scaled_with_it() -> None:
    labels = labels_of("00000555")
    flipped = replace(STILL, size=(2, 16), scales=(2.0,), flip_probability=1.0)
    sample = flipped(picture_of(labels), labels, RNG(0))
    # Column 4 differs from its right: columns 3 to 5, mirrored 2 to 4, doubled 4 to 9.
    assert sample.edges.tolist() == [[0] * 4 + [1] * 6 + [0] * 6] * 2
    np.testing.assert_array_equal(sample.labels[0], labels_of("5555550000000000")[0])
    # Made after the mirror they would lie elsewhere: of two pixels that differ, the left one is marked.
    assert edge_map(labels[:, ::-1]).tolist() == [[0, 1, 1, 1, 0, 0, 0, 0]]


def test_the_mirror_exchanges_sides() -> None:
    labels = labels_of("efghi", "j0000", "00000", "00000")
    sample = replace(STILL, flip_probability=1.0)(picture_of(labels), labels, RNG(0))
    np.testing.assert_array_equal(sample.labels, labels_of("jghef", "0000i", "00000", "00000"))


def test_twelve_scales_with_equal_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    factors: list[float] = []
    real = cv2.resize

    def record(pixels: Any, size: Any, fx: float, fy: float, interpolation: int) -> Any:
        assert fx == fy
        factors.append(fx)
        return real(pixels, size, fx=fx, fy=fy, interpolation=interpolation)

    monkeypatch.setattr(cv2, "resize", record)
    image, labels = scene(10, 10)
    augmentation, rng, draws = CropAugmentation((6, 6), label_set("lip")), RNG(0), 2400
    for _ in range(draws):
        augmentation(image, labels, rng)
    found = factors[::3]  # picture, labels and edges, each time
    assert sorted(set(found)) == [round(0.5 + tenth / 10, 1) for tenth in range(12)]
    assert all(within_binomial_bounds(found.count(factor), draws, 1 / 12) for factor in set(found))


@pytest.mark.parametrize("half_pixel", [False, True])
def test_none_is_the_crop_that_the_runtime_makes(half_pixel: bool) -> None:
    image, labels = scene(61, 47)
    geometry = Geometry(kind="affine", half_pixel=half_pixel, centre="float", unwarp="logits")
    matrix = frame_mapping(geometry, (61, 47), (64, 80)).forward
    sample = PlainAugmentation((64, 80), label_set("lip"), half_pixel=half_pixel)(image, labels, RNG(0))
    difference = np.abs(cv2.warpAffine(image, matrix, (80, 64)).astype(int) - sample.image)
    assert difference.max() <= 3  # the runtime's box is float32
    assert (sample.labels[:, 0] == 255).all()
    np.testing.assert_array_equal(sample.edges, edge_map(sample.labels))


def test_none_stretches_where_evaluation_does() -> None:
    image, labels = scene(30, 40)
    sample = PlainAugmentation((15, 80), label_set("lip"), "resize")(image, labels, RNG(0))
    np.testing.assert_array_equal(sample.image, cv2.resize(image, (80, 15)))
    np.testing.assert_array_equal(sample.labels, labels[::2].repeat(2, axis=1))


@pytest.mark.parametrize("name", list(KINDS))
def test_every_kind_makes_samples_of_one_size_from_its_generator_alone(name: str) -> None:
    augmentation = build_augmentation(name, {}, (40, 56), label_set("atr"))
    for shape in ((61, 47), (30, 90), (500, 20)):
        image, labels = scene(*shape, classes=18)
        before = image.copy(), labels.copy()
        one, other = (augmentation(image, labels, RNG([5, 2])) for _ in range(2))
        assert [pixels.shape for pixels in one] == [(40, 56, 3), (40, 56), (40, 56)]
        for left, right in zip(one, other, strict=True):
            assert left.dtype == np.uint8
            np.testing.assert_array_equal(left, right)
        assert set(np.unique(one.labels)) <= {*range(18), 255}
        assert set(np.unique(one.edges)) <= {0, 1, 255}
        np.testing.assert_array_equal(image, before[0])
        np.testing.assert_array_equal(labels, before[1])


@pytest.mark.parametrize(
    ("name", "parameters", "words"),
    [
        ("afine", {}, "'afine' is unknown; expected one of affine, ssseg, crop, none"),
        ("affine", {"scale": 1}, "'affine' has no parameter 'scale'; expected scale_sigma, rotation_sigma"),
        ("affine", {"size": (3, 3)}, "has no parameter 'size'"),
        ("affine", {"flip_probability": 1.5}, "flip_probability is 1.5, expected a number from 0 to 1"),
        ("affine", {"scale_sigma": True}, "scale_sigma is True, expected a number"),
        ("ssseg", {"scale_range": (1.25, 0.75)}, "expected the lesser number first"),
        ("ssseg", {"scale_range": 1.0}, "scale_range is 1.0, expected two numbers"),
        ("ssseg", {"resize": (0, 520)}, "resize is (0, 520), expected two sides"),
        ("ssseg", {"_distort": None}, "has no parameter '_distort'"),
        ("crop", {"scales": ()}, "scales is empty"),
        ("crop", {"padding_colour": (0, 0, 256)}, "expected three whole numbers from 0 to 255"),
        ("none", {"geometry": "stretch"}, "geometry is 'stretch', expected 'affine' or 'resize'"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(name: str, parameters: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build_augmentation(name, parameters, (64, 64), label_set("lip"))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_input_of_one_pixel_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least 2 pixels"):
        build_augmentation("none", {}, (1, 64), label_set("lip"))
