"""The twenty classes of the LIP data set, as the generator labels them.

Left and right are the person's own: facing the camera, the left arm is on the picture's right. LIP has no
class for the neck; the generator gives it, like the skin that a neckline shows, to `FACE`. A hand is
`LEFT_ARM` or `RIGHT_ARM` unless it wears a glove.
"""

from __future__ import annotations

from enum import IntEnum


class Lip(IntEnum):
    """LIP class ids, as stored in the published `*_segmentations/*.png`."""

    BACKGROUND = 0
    HAT = 1
    HAIR = 2
    GLOVE = 3
    SUNGLASSES = 4
    UPPER_CLOTHES = 5
    DRESS = 6
    COAT = 7
    SOCKS = 8
    PANTS = 9
    JUMPSUITS = 10
    SCARF = 11
    SKIRT = 12
    FACE = 13
    LEFT_ARM = 14
    RIGHT_ARM = 15
    LEFT_LEG = 16
    RIGHT_LEG = 17
    LEFT_SHOE = 18
    RIGHT_SHOE = 19
