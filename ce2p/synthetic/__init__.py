"""Drawn people with exact labels: articulated, dressed figures in varied places, for demos and tests.

Everything is a pure function of a seed. A still picture:

    scene = sample_scene(np.random.default_rng(1), (256, 192))
    image, labels = render(scene)

`iter_samples` yields many, `write_lip_folder` writes them in LIP's layout, `walking_sequence` yields the
frames of a video. Sizes are (height, width), images uint8 BGR (H, W, 3), labels uint8 (H, W) of `Lip` ids.
"""

from .body import Pose, View
from .dataset import iter_samples, sample_at, write_lip_folder
from .figure import Person, sample_person
from .lip import NUM_CLASSES, Lip
from .scene import Scene, render, sample_scene
from .sequence import walking_scenes, walking_sequence

__all__ = [
    "NUM_CLASSES",
    "Lip",
    "Person",
    "Pose",
    "Scene",
    "View",
    "iter_samples",
    "render",
    "sample_at",
    "sample_person",
    "sample_scene",
    "walking_scenes",
    "walking_sequence",
    "write_lip_folder",
]
