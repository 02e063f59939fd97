"""Photometric distortion against one step after the other in floating point, as published."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from ce2p.augmentation.photometric import Photometric
from tests.augmentation.drawing import Script, scene, within_binomial_bounds

YES, NO = 0.0, 0.9


def cut(values: np.ndarray) -> np.ndarray:
    return np.clip(values, 0, 255).astype(np.uint8)


def one_by_one(image: np.ndarray, steps: list[tuple[str, float]]) -> np.ndarray:
    """Each step on the whole picture, with a trip to HSV and back for saturation and another for hue."""
    for step, value in steps:
        if step == "brightness":
            image = cut(image.astype(np.float32) + value)
        elif step == "contrast":
            image = cut(image.astype(np.float32) * value)
        else:
            hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
            if step == "saturation":
                hsv[..., 1] = cut(hsv[..., 1].astype(np.float32) * value)
            else:
                hsv[..., 0] = (hsv[..., 0].astype(int) + int(value)) % 180
            image = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    return image


@pytest.mark.parametrize(
    ("random", "uniform", "integers", "steps"),
    [
        ([YES, NO, NO, NO, NO], [-20.3], [], [("brightness", -20.3)]),
        ([NO, NO, YES, NO, NO], [1.37], [], [("contrast", 1.37)]),
        ([YES, NO, YES, NO, NO], [31.9, 0.51], [], [("brightness", 31.9), ("contrast", 0.51)]),
        ([NO, NO, NO, YES, NO], [1.5], [], [("saturation", 1.5)]),
        ([NO, NO, NO, NO, YES], [], [-18], [("hue", -18)]),
        ([NO, NO, NO, NO, YES], [], [17], [("hue", 17)]),
        # Contrast before, and after, what it does not commute with.
        ([NO, NO, YES, YES, NO], [1.49, 0.5], [], [("contrast", 1.49), ("saturation", 0.5)]),
        ([NO, YES, YES, YES, NO], [1.49, 0.5], [], [("saturation", 0.5), ("contrast", 1.49)]),
        ([YES, YES, YES, NO, YES], [9.5, 1.3], [5], [("brightness", 9.5), ("hue", 5), ("contrast", 1.3)]),
    ],
)
def test_each_drawn_step_is_exact(
    random: list[float], uniform: list[float], integers: list[int], steps: list[tuple[str, float]]
) -> None:
    image, _ = scene(40, 50)
    before = image.copy()
    rng = Script(random=random, uniform=uniform, integers=integers)
    found = Photometric()(image, rng)  # type: ignore[arg-type]
    np.testing.assert_array_equal(found, one_by_one(before, steps))
    np.testing.assert_array_equal(image, before)
    assert rng.left() == 0


def test_saturation_and_hue_together_save_one_rounding() -> None:
    image, _ = scene(40, 50)
    rng = Script(random=[NO, NO, NO, YES, YES], uniform=[0.8], integers=[11])
    found = Photometric()(image, rng)  # type: ignore[arg-type]
    difference = np.abs(found.astype(int) - one_by_one(image, [("saturation", 0.8), ("hue", 11)]))
    assert difference.max() <= 6
    assert difference.mean() < 1


def test_nothing_drawn_changes_nothing() -> None:
    image, _ = scene(9, 9)
    assert Photometric()(image, Script(random=[NO] * 5)) is image  # type: ignore[arg-type]


def test_each_step_has_an_even_chance() -> None:
    image = np.array([[[40, 90, 200]]], np.uint8)
    unchanged = [image, one_by_one(image, [("hue", 0)])]  # to HSV and back is not always the same
    rng, draws = np.random.default_rng(0), 3000
    still = {"brightness": 0.0, "contrast": (1.0, 1.0), "saturation": (1.0, 1.0), "hue": 0}
    for step, value in (("brightness", 32.0), ("contrast", (0.5, 1.5)), ("saturation", (0.5, 1.5)), ("hue", 18)):
        distort = Photometric(**(still | {step: value}))  # type: ignore[arg-type]
        # A draw that happens to change nothing is rare: one hue in 36, contrasts near 1.
        found = [distort(image, rng) for _ in range(draws)]
        changed = sum(not any((one == same).all() for same in unchanged) for one in found)
        assert 0.42 * draws < changed < 0.54 * draws, step


def test_contrast_comes_last_half_of_the_time() -> None:
    image = np.array([[[250, 10, 10]]], np.uint8)
    distort = Photometric(0.0, (1.5, 1.5), (0.5, 0.5), 0)
    first, last = (
        one_by_one(image, s)
        for s in ([("contrast", 1.5), ("saturation", 0.5)], [("saturation", 0.5), ("contrast", 1.5)])
    )
    assert (first != last).any()
    rng, draws = np.random.default_rng(1), 4000
    found = [distort(image, rng) for _ in range(draws)]
    assert within_binomial_bounds(sum(bool((one == first).all()) for one in found), draws, 1 / 8)
    assert within_binomial_bounds(sum(bool((one == last).all()) for one in found), draws, 1 / 8)
