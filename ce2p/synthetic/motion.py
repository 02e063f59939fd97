"""How people stand and move: poses drawn at random, and poses as smooth functions of time."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .body import SIDES, ArmPose, LegPose, Pose

_REST = ArmPose(swing=0.05, spread=0.20, elbow=0.22, twist=-0.3)

# Arms as people hold them in photographs; `sample_pose` varies each angle.
_ARM_POSES = (
    _REST,
    _REST,
    ArmPose(swing=0.1, spread=0.35, elbow=0.35, twist=0.2),
    ArmPose(swing=-0.1, spread=0.75, elbow=1.75, twist=-1.35),  # hand on hip
    ArmPose(swing=0.15, spread=0.15, elbow=1.30, twist=-0.55),  # forearm ahead of the waist
    ArmPose(swing=0.0, spread=1.15, elbow=1.9, twist=1.4),  # hand raised in greeting
    ArmPose(swing=0.0, spread=0.9, elbow=0.35, twist=0.6),  # held out
)


def walking_pose(phase: float, stride: float, arm_swing: float, *, yaw: float = 0.0) -> Pose:
    """Return the pose at `phase` radians of a gait whose thighs swing by `stride` radians either way."""
    arms, legs = {}, {}
    for name, side in SIDES:
        swing, forwards = side * np.sin(phase), side * np.cos(phase)
        # The knee bends only while its leg swings forwards; the square keeps the start and the end smooth.
        knee = 0.10 + 2.0 * stride * max(0.0, float(forwards)) ** 2
        legs[name] = LegPose(swing=float(stride * swing) + 0.05, spread=0.05, knee=knee, splay=0.22)
        arms[name] = replace(_REST, swing=float(-arm_swing * swing), elbow=0.35 - 0.2 * float(swing))
    return Pose(yaw=yaw + 0.05 * float(np.sin(phase)), lean=0.02 * float(np.cos(phase)), arms=arms, legs=legs)


def sample_pose(rng: np.random.Generator) -> Pose:
    """Draw the pose of a still picture: standing or in mid-step, mostly facing the camera."""
    yaw = float(np.clip(rng.normal(0.0, 0.25), -0.6, 0.6))
    if rng.random() < 0.35:
        pose = walking_pose(rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 0.45), rng.uniform(0.2, 0.5), yaw=yaw)
    else:
        weight_on = float(rng.choice([-1.0, 1.0]))
        legs = {}
        for name, side in SIDES:
            relaxed = rng.uniform(0.0, 0.3) if side == weight_on else rng.uniform(0.0, 0.08)
            legs[name] = LegPose(
                swing=0.55 * relaxed + rng.normal(0.0, 0.02),
                spread=rng.uniform(0.02, 0.17),
                knee=0.04 + relaxed,
                splay=rng.uniform(0.15, 0.6),
            )
        pose = Pose(yaw=yaw, lean=rng.normal(0.0, 0.035), legs=legs)
    arms = dict(pose.arms)
    for name, _ in SIDES:
        if rng.random() < 0.75:
            arms[name] = _varied(_ARM_POSES[int(rng.integers(len(_ARM_POSES)))], rng)
    head_yaw, head_tilt = rng.normal(0.0, 0.22), rng.normal(0.0, 0.09)
    return replace(pose, arms=arms, head_yaw=float(np.clip(head_yaw, -0.5, 0.5)), head_tilt=float(head_tilt))


def _varied(arm: ArmPose, rng: np.random.Generator) -> ArmPose:
    swing, spread, elbow, twist = rng.normal(0.0, (0.08, 0.07, 0.10, 0.10))
    return ArmPose(
        swing=arm.swing + float(swing),
        spread=max(0.12, arm.spread + float(spread)),
        elbow=max(0.08, arm.elbow + float(elbow)),
        twist=arm.twist + float(twist),
    )


@dataclass(frozen=True)
class Motion:
    """One person's way of moving, in seconds and radians; `at` gives the pose at any time.

    The gait repeats every `period`. One arm, `waving`, is raised and lowered every `wave_every` seconds and
    waves while it is up. The body turns to and fro by `turn` every `turn_every` seconds.
    """

    period: float
    stride: float
    arm_swing: float
    waving: str
    wave_every: float
    turn: float
    turn_every: float
    offset: float

    def at(self, time: float) -> Pose:
        """Return the pose `time` seconds into the motion."""
        slow = 2 * np.pi * (time + self.offset)
        yaw = self.turn * float(np.sin(slow / self.turn_every))
        pose = walking_pose(slow / self.period, self.stride, self.arm_swing, yaw=yaw)
        raised = 1.0 / (1.0 + float(np.exp(-8.0 * (np.sin(slow / self.wave_every) - 0.25))))
        to_and_fro = float(np.sin(slow / 1.1))
        greeting = ArmPose(swing=0.1, spread=1.15, elbow=1.75 + 0.35 * to_and_fro, twist=1.35)
        arms = dict(pose.arms)
        arms[self.waving] = _between(arms[self.waving], greeting, raised)
        tilt, glance = 0.05 * float(np.sin(slow / 2.7)), 0.25 * float(np.sin(slow / 3.9))
        return replace(pose, arms=arms, head_yaw=glance, head_tilt=tilt)


def _between(a: ArmPose, b: ArmPose, part: float) -> ArmPose:
    return ArmPose(
        swing=a.swing + part * (b.swing - a.swing),
        spread=a.spread + part * (b.spread - a.spread),
        elbow=a.elbow + part * (b.elbow - a.elbow),
        twist=a.twist + part * (b.twist - a.twist),
    )


def sample_motion(rng: np.random.Generator) -> Motion:
    """Draw a way of walking and waving."""
    return Motion(
        period=float(rng.uniform(1.25, 1.6)),
        stride=float(rng.uniform(0.25, 0.42)),
        arm_swing=float(rng.uniform(0.25, 0.5)),
        waving=str(rng.choice(["left", "right"])),
        wave_every=float(rng.uniform(4.0, 6.0)),
        turn=float(rng.uniform(0.15, 0.4)),
        turn_every=float(rng.uniform(5.0, 8.0)),
        offset=float(rng.uniform(0.0, 20.0)),
    )
