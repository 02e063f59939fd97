"""What holds for the labels of every data set: the number of ignored pixels, and PASCAL's colours."""

from __future__ import annotations

Colour = tuple[int, int, int]
"""Red, green, blue, 0 to 255."""

IGNORE = 255
"""The label of pixels that no loss and no metric counts."""


def _pascal_colour(label: int) -> Colour:
    """PASCAL VOC's colour map: the label's bits, three by three, become the high bits of red, green and blue."""
    red = green = blue = 0
    for bit in range(7, -1, -1):
        red |= (label & 1) << bit
        green |= (label >> 1 & 1) << bit
        blue |= (label >> 2 & 1) << bit
        label >>= 3
    return red, green, blue


PASCAL_PALETTE: tuple[Colour, ...] = tuple(_pascal_colour(label) for label in range(256))
"""The colour of each label there can be."""
