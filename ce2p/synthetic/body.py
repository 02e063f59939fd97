"""Bodies: proportions, poses as joint angles, and the joints where a camera sees them.

The body is built in three dimensions and seen by a distant camera that looks slightly down, so that a walking
person's forward foot lies lower in the picture. Units are figure heights: the ground is 0, the crown of a
standing figure about 1. x points to the picture's right (the person's left when facing us), y up, z to us.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .outline import Points

Vector: TypeAlias = NDArray[np.float64]

SIDES: Final = (("left", 1.0), ("right", -1.0))
"""The person's own sides, with the sign of x that they have on a person facing the camera."""

_CAMERA_PITCH: Final = 0.22  # radians; steep enough for shoes to show their length
_ANKLE: Final = 0.05


@dataclass(frozen=True)
class Physique:
    """Proportions in figure heights. `build` scales all thicknesses; 1 is average."""

    build: float = 1.0
    shoulders: float = 0.108  # half the distance between the shoulder joints
    waist: float = 0.078  # half width
    hips: float = 0.094  # half width
    legs: float = 1.0  # length relative to the average
    head: float = 0.088  # half the distance from chin to crown


@dataclass(frozen=True)
class ArmPose:
    """Angles in radians, 0 for an arm that hangs straight down.

    `swing` lifts the upper arm forwards, `spread` sideways. `elbow` bends the forearm; `twist` chooses the
    plane: 0 forwards, positive up or outwards, negative across the body.
    """

    swing: float = 0.0
    spread: float = 0.2
    elbow: float = 0.2
    twist: float = 0.0


@dataclass(frozen=True)
class LegPose:
    """Angles in radians: `swing` lifts the thigh forwards, `spread` sideways, `knee` bends the shin back."""

    swing: float = 0.0
    spread: float = 0.05
    knee: float = 0.05
    splay: float = 0.3


@dataclass(frozen=True)
class Pose:
    """All joint angles, in radians. `yaw` turns the whole body, positive towards the picture's right."""

    yaw: float = 0.0
    lean: float = 0.0
    head_yaw: float = 0.0
    head_tilt: float = 0.0
    arms: Mapping[str, ArmPose] = field(default_factory=lambda: {"left": ArmPose(), "right": ArmPose()})
    legs: Mapping[str, LegPose] = field(default_factory=lambda: {"left": LegPose(), "right": LegPose()})


@dataclass(frozen=True)
class View:
    """Where the figure stands in the picture: pixels per figure height and the ground point below the
    pelvis."""

    scale: float
    x: float
    ground: float


@dataclass(frozen=True)
class Skeleton:
    """Joints in pixels. `joints` maps a name to x, y; `depth` to nearness to the camera in figure heights."""

    physique: Physique
    pose: Pose
    scale: float
    joints: Mapping[str, Points]
    depth: Mapping[str, float]

    def trunk(self, t: float, across: float = 0.0) -> Points:
        """Return a point of the trunk: `t` from 0 at the pelvis to 1 at the neck's root, `across` to the
        picture's right in figure heights."""
        up = self.joints["neck"] - self.joints["pelvis"]
        right = np.array([-up[1], up[0]]) / max(float(np.hypot(*up)), 1e-9)
        return np.asarray(self.joints["pelvis"] + t * up + across * self.scale * right)

    def breadth(self, half_width: float) -> float:
        """Return the half width of a turned trunk: an ellipse seen at the angle of `yaw`."""
        return half_width * float(np.hypot(np.cos(self.pose.yaw), 0.68 * np.sin(self.pose.yaw)))

    @property
    def front(self) -> float:
        """How far turning moves the middle of the chest to the picture's right, in figure heights."""
        return 0.055 * float(np.sin(self.pose.yaw))


def _unit(v: Vector) -> Vector:
    return v / max(float(np.linalg.norm(v)), 1e-9)


def _hang(side: float, swing: float, spread: float) -> Vector:
    """Return the direction of a limb that hangs down, lifted sideways and then forwards."""
    down = np.cos(spread)
    return np.array([side * np.sin(spread), -down * np.cos(swing), down * np.sin(swing)])


def _arm(shoulder: Vector, side: float, arm: ArmPose) -> dict[str, Vector]:
    upper = _hang(side, arm.swing, arm.spread)
    ahead = np.array([0.0, 0.0, 1.0])
    if abs(upper[2]) > 0.95:  # the arm itself points ahead: it bends upwards
        ahead = np.array([0.0, 1.0, 0.0])
    ahead = _unit(ahead - (ahead @ upper) * upper)
    outward = side * np.cross(upper, ahead)
    outward = -outward if outward @ np.array([side, 1.0, 0.0]) < 0 else outward
    fore = np.cos(arm.elbow) * upper + np.sin(arm.elbow) * (np.cos(arm.twist) * ahead + np.sin(arm.twist) * outward)
    elbow = shoulder + 0.150 * upper
    wrist = elbow + 0.132 * fore
    return {"elbow": elbow, "wrist": wrist, "fingers": wrist + 0.068 * fore}


def _leg(hip: Vector, side: float, leg: LegPose, length: float) -> dict[str, Vector]:
    knee = hip + 0.222 * length * _hang(side, leg.swing, leg.spread)
    shin = leg.swing - leg.knee
    ankle = knee + 0.222 * length * _hang(side, shin, 0.6 * leg.spread)
    # A foot behind the body stands on its toes; a foot ahead lands on its heel.
    toe_down = -0.035 + 0.05 * np.sin(shin)
    toe = ankle + np.array([side * 0.115 * np.sin(leg.splay), toe_down, 0.115 * np.cos(leg.splay)])
    return {"knee": knee, "ankle": ankle, "toe": toe}


def _joints(physique: Physique, pose: Pose) -> dict[str, Vector]:
    """Return the unturned joints in body coordinates, the pelvis at the origin."""
    joints = {"pelvis": np.zeros(3)}
    cos, sin = np.cos(pose.lean), np.sin(pose.lean)

    def upright(x: float, y: float, z: float = 0.0) -> Vector:
        return np.array([x * cos + y * sin, y * cos - x * sin, z])

    joints["neck"] = upright(0.0, 0.310)
    joints["head"] = joints["neck"] + np.array([0.045 * np.sin(pose.head_tilt), 0.030 + physique.head, 0.012])
    for name, side in SIDES:
        shoulder = upright(side * physique.shoulders, 0.274)
        hip = np.array([side * 0.55 * physique.hips, 0.0, 0.0])
        limbs = _arm(shoulder, side, pose.arms[name]) | _leg(hip, side, pose.legs[name], physique.legs)
        joints |= {f"{name}_{joint}": at for joint, at in limbs.items()}
        joints |= {f"{name}_shoulder": shoulder, f"{name}_hip": hip}
    return joints


def place(physique: Physique, pose: Pose, view: View) -> Skeleton:
    """Compute where every joint lies in the picture.

    The lower foot is put on the ground, so that bending the knees lowers the body. Joints: pelvis, neck,
    head, and for `left_` and `right_` each shoulder, elbow, wrist, fingers, hip, knee, ankle, toe.
    """
    body = _joints(physique, pose)
    lift = _ANKLE - min(body["left_ankle"][1], body["right_ankle"][1])
    turn_cos, turn_sin = np.cos(pose.yaw), np.sin(pose.yaw)
    pitch_cos, pitch_sin = np.cos(_CAMERA_PITCH), np.sin(_CAMERA_PITCH)
    joints, depth = {}, {}
    for name, (x, y, z) in body.items():
        across, nearer = x * turn_cos + z * turn_sin, z * turn_cos - x * turn_sin
        height = (y + lift) * pitch_cos - nearer * pitch_sin
        joints[name] = np.array([view.x + view.scale * across, view.ground - view.scale * height])
        depth[name] = float(nearer)
    return Skeleton(physique, pose, view.scale, joints, depth)


def sample_physique(rng: np.random.Generator) -> Physique:
    """Draw the proportions of one adult, from slight to stocky."""
    build = float(np.clip(rng.normal(1.0, 0.09), 0.82, 1.25))
    return Physique(
        build=build,
        shoulders=float(rng.uniform(0.098, 0.114)),
        waist=build * float(rng.uniform(0.070, 0.086)),
        hips=build * float(rng.uniform(0.088, 0.100)),
        legs=float(rng.uniform(0.95, 1.06)),
        head=float(rng.uniform(0.083, 0.092)),
    )
