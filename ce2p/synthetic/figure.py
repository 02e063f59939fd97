"""A whole person: a body, its skin and its outfit, put together as shapes from back to front."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .body import Physique, Pose, Skeleton, View, place, sample_physique
from .garments import Wearer, arm, leg, sides_by_depth
from .head import hair_behind, head
from .materials import Material
from .outline import ellipse
from .regions import Region, belonging_to
from .render import Frame, Shape
from .tailoring import coat_back, coat_front, lower_body, scarf, shoulder_bag, upper_body
from .wardrobe import Outfit, sample_outfit, sample_skin

_LEG = {"left": Region.LEFT_LEG, "right": Region.RIGHT_LEG}
_ARM = {"left": Region.LEFT_ARM, "right": Region.RIGHT_ARM}


@dataclass(frozen=True)
class Person:
    """Someone who can be drawn in any pose: proportions, skin and clothes."""

    physique: Physique
    skin: Material
    outfit: Outfit


def sample_person(rng: np.random.Generator) -> Person:
    """Draw a person. Deterministic in the state of `rng`."""
    return Person(sample_physique(rng), sample_skin(rng), sample_outfit(rng))


def figure_shapes(person: Person, pose: Pose, view: View) -> list[Shape]:
    """Return the person's shapes from back to front, in pixels of the picture that `view` places them in."""
    skeleton = place(person.physique, pose, view)
    wearer = Wearer(skeleton, person.outfit, person.skin)
    behind = [name for name in ("left", "right") if _is_behind(skeleton, name)]
    shapes = belonging_to(Region.HEAD, hair_behind(wearer)) + belonging_to(Region.TRUNK, coat_back(wearer))
    for name in sides_by_depth(skeleton):
        shapes += belonging_to(_LEG[name], leg(wearer, name))
    for name in behind:
        shapes += belonging_to(_ARM[name], arm(wearer, name))
    shapes += belonging_to(Region.HIPS, lower_body(wearer))
    shapes += belonging_to(Region.TRUNK, [*upper_body(wearer), *coat_front(wearer), *scarf(wearer)])
    shapes += belonging_to(Region.BAG, shoulder_bag(wearer))
    shapes += belonging_to(Region.HEAD, head(wearer))
    for name in ("left", "right"):
        if name not in behind:
            shapes += belonging_to(_ARM[name], arm(wearer, name))
    return shapes


def _is_behind(skeleton: Skeleton, side: str) -> bool:
    """Tell whether an arm is held behind the trunk."""
    return skeleton.depth[f"{side}_wrist"] < skeleton.depth[f"{side}_shoulder"] - 0.12


def ground_shadow(view: View) -> Shape:
    """Return the soft dark patch under the figure's feet."""
    centre = np.array([view.x, view.ground - 0.015 * view.scale])
    patch = [ellipse(centre, (0.20 * view.scale, 0.040 * view.scale))]
    frame = Frame(centre, 0.0, view.scale)
    return Shape(patch, Material((20.0, 20.0, 25.0)), frame, relief=0, opacity=0.35)
