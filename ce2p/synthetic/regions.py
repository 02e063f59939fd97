"""Which part of a figure covers a pixel, beside the LIP class that says what covers it.

LIP merges what other data sets tell apart: a glove is on some hand, a sock on some leg, a neck is "face". The painter
keeps this second map when asked; `classes.py` and `parts.py` turn the two into other data sets' labels.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from enum import IntEnum

from .render import Shape


class Region(IntEnum):
    """Part of a figure. Left and right are the person's own. Nothing, the background, is 0."""

    NOTHING = 0
    HEAD = 1
    """Face, hair wherever it falls, and what is worn on the head."""
    NECK = 2
    """The bare neck and the skin inside a neckline."""
    TRUNK = 3
    """Clothes that hang from the shoulders, sleeves apart: tops, dresses and coats down to their hems, scarves."""
    BELT = 4
    HIPS = 5
    """Clothes that hang from the waist, the legs of trousers apart: skirts, and the seat of trousers."""
    LEFT_ARM = 6
    """An arm with its sleeve, hand and glove."""
    RIGHT_ARM = 7
    LEFT_LEG = 8
    """A leg with its part of the trousers, sock and shoe."""
    RIGHT_LEG = 9
    BAG = 10


def belonging_to(region: Region, shapes: Iterable[Shape]) -> list[Shape]:
    """Return the shapes with every labelled one put into `region`, unless it is in one already.

    Details have no label and stay what the shape below them is.
    """
    return [
        replace(shape, region=region) if shape.label is not None and not shape.region else shape for shape in shapes
    ]
