"""Moving pictures: one person who walks, turns and waves in front of a panning camera, with labels per
frame."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from .backgrounds import sample_background
from .body import View
from .figure import sample_person
from .motion import sample_motion
from .scene import Scene, render, sample_light

_STREAM = 0x5EC  # keeps a sequence's draws apart from those of a data set with the same seed


def walking_scenes(seed: int, frames: int, size: tuple[int, int], fps: float = 25.0) -> Iterator[Scene]:
    """Yield the scenes of `walking_sequence`, unrendered: the same person, clothes and place at `frames`
    times.

    Raises `ValueError` for an `fps` that is not positive.
    """
    if fps <= 0:
        raise ValueError(f"frames per second must be positive, not {fps}")
    rng = np.random.default_rng([seed, _STREAM])
    person, motion = sample_person(rng), sample_motion(rng)
    background, light = sample_background(rng), sample_light(rng)
    height, width = size
    scale = float(rng.uniform(0.68, 0.80)) * height
    stray = max(0.0, 0.5 * width - 0.30 * scale)
    start, grain = float(rng.uniform(0.0, 2 * np.pi)), int(rng.integers(2**30))
    for index in range(frames):
        time = index / fps
        # Wandering to and fro, and coming a little nearer, in waves of different length: it never repeats
        # soon.
        near = scale * (1.0 + 0.10 * float(np.sin(0.45 * time + start)))
        x = 0.5 * width + 0.7 * stray * float(np.sin(0.6 * time + 2.0 * start))
        ground = 0.935 * height + 0.35 * (near - scale)
        view = View(near, x, min(ground, 0.96 * height))
        yield Scene(
            person=person,
            pose=motion.at(time),
            view=view,
            background=background,
            light=light,
            size=size,
            time=time,
            noise_seed=grain + index,
        )


def walking_sequence(
    seed: int, frames: int, size: tuple[int, int], fps: float = 25.0
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """Yield `frames` pictures, uint8 BGR (H, W, 3), of one moving person with their labels, uint8 (H, W).

    `size` is (height, width). Frame i shows the time i / `fps` seconds and is the same whether or not later
    ones are asked for. Raises `ValueError` for an `fps` that is not positive or a size below 16 pixels.
    """
    for scene in walking_scenes(seed, frames, size, fps):
        yield render(scene)
