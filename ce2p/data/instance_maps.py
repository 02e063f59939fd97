"""What must hold between CIHP's three annotations of a picture: classes, people and part instances.

A part instance is one part of one person: M-CE2P's evaluation (metrics/helper.py) reads one class and one person off
each, and scores AP^r by them. A person is made of parts: AP^p and PCP compare people by them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..labels import IGNORE
from .splits import Sample


def instance_faults(
    sample: Sample,
    classes: NDArray[np.uint8] | None,
    humans: NDArray[np.int32] | None,
    instances: NDArray[np.int32] | None,
) -> Iterator[tuple[Path, str]]:
    """Files of `sample` that contradict each other, with what is wrong; maps that lack or differ in size are left out.

    Arrays are [H, W], as `read_labels` and `read_ids` return them.
    """
    if classes is None:
        return
    if instances is not None and sample.instances and instances.shape == classes.shape:
        for identity, found in values_under(instances, classes).items():
            if len(found) > 1:
                yield sample.instances, f"instance {identity} spans classes {_listed(found)}, expected one class"
            elif found == [0]:
                yield sample.instances, f"instance {identity} lies on background, expected a class"
        if humans is not None and humans.shape == instances.shape:
            for identity, found in values_under(instances, humans).items():
                if len(found) > 1:
                    yield sample.instances, f"instance {identity} spans people {_listed(found)}, expected one person"
    if humans is not None and sample.humans and humans.shape == classes.shape:
        for identity, found in values_under(humans, classes).items():
            if not set(found) - {0, IGNORE}:
                yield sample.humans, f"person {identity} has no part, expected at least one class under it"


def values_under(identities: NDArray[np.int32], values: NDArray[np.uint8] | NDArray[np.int32]) -> dict[int, list[int]]:
    """The different values, ascending, under each identity above 0."""
    chosen = identities > 0
    # One number per pair: np.unique over columns takes a hundred times as long.
    pairs = np.unique(identities[chosen].astype(np.int64) << 32 | values[chosen].astype(np.int64))
    found: dict[int, list[int]] = {}
    for pair in pairs.tolist():
        found.setdefault(pair >> 32, []).append(pair & 0xFFFFFFFF)
    return found


def _listed(values: list[int]) -> str:
    return f"{', '.join(map(str, values[:-1]))} and {values[-1]}"
