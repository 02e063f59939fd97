"""Synthetic people with exact labels: articulated, dressed figures in varied places, for demos and tests.

Everything is a pure function of a seed. A still picture:

    scene = sample_scene(np.random.default_rng(1), (256, 192))
    image, labels = render(scene)

`iter_samples` yields many, `walking_sequence` the frames of a video; `sample_group` draws several people at once.
`write_dataset` writes a folder as the data sets in `SYNTHETIC` are published, with their classes.
Sizes are (height, width), images uint8 BGR (H, W, 3), labels uint8 (H, W) of `Lip` ids.
"""

from .annotated import SYNTHETIC, Annotated, annotated_at, iter_samples, sample_at
from .body import Pose, View
from .figure import Person, sample_person
from .folders import write_dataset, write_lip_folder
from .group import Group, render_group, sample_group
from .lip import Lip
from .scene import Scene, render, sample_scene
from .sequence import walking_scenes, walking_sequence

__all__ = [
    "SYNTHETIC",
    "Annotated",
    "Group",
    "Lip",
    "Person",
    "Pose",
    "Scene",
    "View",
    "annotated_at",
    "iter_samples",
    "render",
    "render_group",
    "sample_at",
    "sample_group",
    "sample_person",
    "sample_scene",
    "walking_scenes",
    "walking_sequence",
    "write_dataset",
    "write_lip_folder",
]
