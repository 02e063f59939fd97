"""A person somewhere: framing, light and noise, and the picture with its labels."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .backgrounds import Background, paint_background, sample_background
from .body import Pose, View
from .figure import Person, figure_shapes, ground_shadow, sample_person
from .motion import sample_pose
from .render import paint
from .wardrobe import sample_bag

UPPER_BODY_SHARE = 0.18
"""The share of still pictures that show only the upper part of the body."""

_BAG_SHARE = 0.4


@dataclass(frozen=True)
class Light:
    """Lighting and camera. `gain` multiplies each of blue, green and red, `slope` brightens the picture
    towards one side by that fraction, `noise` is the sensor noise's standard deviation in grey levels."""

    gain: tuple[float, float, float]
    slope: tuple[float, float]
    noise: float
    from_left: bool


@dataclass(frozen=True)
class Scene:
    """All that a picture depends on. `size` is (height, width) in pixels, `time` in seconds moves the
    background, `noise_seed` draws the sensor noise."""

    person: Person
    pose: Pose
    view: View
    background: Background
    light: Light
    size: tuple[int, int]
    time: float = 0.0
    noise_seed: int = 0


def sample_light(rng: np.random.Generator) -> Light:
    """Draw the lighting of a picture."""
    warmth, level = float(rng.uniform(-0.07, 0.09)), float(rng.uniform(0.85, 1.12))
    from_left = bool(rng.random() < 0.5)
    slope = float(rng.uniform(0.0, 0.35)) * (-1.0 if from_left else 1.0)
    return Light(
        gain=(level * (1 - warmth), level, level * (1 + warmth)),
        slope=(slope, float(rng.uniform(-0.2, 0.05))),
        noise=float(rng.uniform(1.0, 6.0)),
        from_left=from_left,
    )


def sample_view(rng: np.random.Generator, size: tuple[int, int], *, whole: bool = False) -> View:
    """Draw where the figure stands: usually whole, 55 to 98 % of the frame high, else cropped below the hips.

    With `whole` it is always whole. What would be cropped otherwise is drawn smaller, the rest does not change.
    """
    height, width = size
    cropped = rng.random() < UPPER_BODY_SHARE
    if cropped and not whole:
        scale = float(rng.uniform(1.35, 1.9)) * height
        ground = float(rng.uniform(0.02, 0.10)) * height + 1.03 * scale
    else:
        scale = float(rng.uniform(0.55, 0.98)) * height
        room = max(height - 1.03 * scale, 0.0)
        ground = height - 0.01 * height - float(rng.uniform(0.0, 0.8)) * room
    # Arms reach about a fifth of the height to either side; in a narrow picture stay in the middle.
    spare = max(0.5 * width - 0.24 * scale, 0.04 * width)
    return View(scale, 0.5 * width + float(rng.uniform(-spare, spare)), ground)


def sample_scene(rng: np.random.Generator, size: tuple[int, int], *, whole: bool = False) -> Scene:
    """Draw a still picture of one person, `size` = (height, width). Deterministic in the state of `rng`.

    `whole` is for figures from head to foot only: cropped at the hips, a top may show nothing of the skirt or the pants
    that would tell it from a dress.
    """
    return Scene(
        person=sample_person(rng),
        pose=sample_pose(rng),
        view=sample_view(rng, size, whole=whole),
        background=sample_background(rng),
        light=sample_light(rng),
        size=size,
        noise_seed=int(rng.integers(2**31)),
    )


def with_bag(scene: Scene, rng: np.random.Generator) -> Scene:
    """Return the scene, in two pictures of five with a bag at the person's hip. Deterministic in the state of `rng`."""
    bag = sample_bag(rng) if rng.random() < _BAG_SHARE else None
    return replace(scene, person=replace(scene.person, outfit=replace(scene.person.outfit, bag=bag)))


def render(scene: Scene) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return the picture, uint8 BGR (H, W, 3), and the LIP class of every pixel, uint8 (H, W).

    A pure function of `scene`: equal scenes give equal bytes. Raises `ValueError` for a size below 16 pixels.
    """
    return _render(scene, None)


def render_regions(scene: Scene) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
    """Return what `render` does and the `Region` of every pixel, uint8 (H, W). Raises as `render` does."""
    regions = np.zeros(scene.size, np.uint8)
    return *_render(scene, regions), regions


def _render(scene: Scene, regions: NDArray[np.uint8] | None) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    image = paint_place(scene.background, scene.size, scene.time)
    labels = np.zeros(scene.size, np.uint8)
    shapes = [ground_shadow(scene.view), *figure_shapes(scene.person, scene.pose, scene.view)]
    paint(image, labels, shapes, light_from_left=scene.light.from_left, regions=regions)
    return expose(image, scene.light, scene.noise_seed), labels


def paint_place(background: Background, size: tuple[int, int], time: float = 0.0) -> NDArray[np.float32]:
    """Return the empty place as `paint_background` does. Raises `ValueError` for a size below 16 pixels."""
    if min(size) < 16:
        raise ValueError(f"a scene is at least 16 pixels high and wide, not {size}")
    return paint_background(background, size, time)


def expose(image: NDArray[np.float32], light: Light, noise_seed: int) -> NDArray[np.uint8]:
    """Apply uneven light and sensor noise and quantise."""
    height, width = image.shape[:2]
    down = np.linspace(-0.5, 0.5, height, dtype=np.float32)[:, None]
    across = np.linspace(-0.5, 0.5, width, dtype=np.float32)[None, :]
    field = 1.0 + light.slope[0] * across + light.slope[1] * down
    grain = np.random.default_rng(noise_seed).standard_normal((height, width), dtype=np.float32)
    exposed = image * field[..., None] * np.array(light.gain, np.float32)
    exposed += light.noise * grain[..., None]
    return np.asarray(np.clip(exposed, 0, 255), dtype=np.uint8)
