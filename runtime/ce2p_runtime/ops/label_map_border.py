"""Mixed cells of a lattice: which classes can win inside each, and which of those wins at a place.

Between four neighbouring lattice points a bilinear value is a convex combination of theirs, so a class that loses to
one same class at all four points cannot win inside. Each mixed cell keeps the classes that lose to none of the best
classes of its corners: two nearly always, about 2 to 3 even on white noise. Cells are sorted into groups by their
number of candidates, and only the candidates' logits are kept and interpolated.

Rounding keeps the argument intact, because float32 products with a weight >= 0 and float32 sums are monotone, and
because the same operations run in the same order as in the reference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .bilinear import blend
from .label_map_lattice import Floats, Index, Labels, Lattice, take_better

# One visit to mixed places: which of them, weights of the lower lattice row there, flat output indices.
Visit = tuple["slice | Index", Floats, Index]

CHUNK_FLOATS = 1 << 19
"""Floats per temporary [C, n] array: 2 MB, to stay in the cache and to bound the memory for noisy logits."""
_GROUPS = np.array([2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256])
"""Candidates per cell of each group. A cell with fewer repeats its last one: at most half of the work is in vain."""


@dataclass(frozen=True)
class _Group:
    """Cells with the same number K of candidates."""

    classes: Labels
    """[K, n], ascending along K."""
    values: Floats
    """Logits [4, K, n] at the upper left, lower left, upper right and lower right points."""


class Border:
    """The candidates of `cells` [n], ascending flat indices into `lattice`: at most CHUNK_FLOATS / C of them."""

    def __init__(self, lattice: Lattice, cells: Index) -> None:
        corners = lattice.corners(cells)
        values = lattice.corner_values(corners)
        labels = [lattice.labels.reshape(-1).take(corner) for corner in corners]
        # The diagonal's two points know most; where they agree, another corner's class is the second rival.
        second = np.where(labels[3] != labels[0], labels[3], np.where(labels[1] != labels[0], labels[1], labels[2]))
        candidates = _may_win(values, labels[0]) & _may_win(values, second)
        count = np.add.reduce(candidates, axis=0, dtype=np.intp)
        # (cell, class) in order of cells, classes ascending within each.
        classes = np.flatnonzero(np.ascontiguousarray(candidates.T)) % lattice.classes
        ends = np.cumsum(count)
        self._first = int(cells[0])
        self._number = np.empty(int(cells[-1]) - self._first + 1, np.intp)
        self._number[cells - self._first] = np.arange(len(cells))
        self._group: Labels = np.asarray(np.searchsorted(_GROUPS, count), np.uint8)
        self._slot = np.empty(len(cells), np.intp)
        self._groups: dict[int, _Group] = {}
        for group in np.flatnonzero(np.bincount(self._group)).tolist():
            members = np.flatnonzero(self._group == group)
            self._slot[members] = np.arange(len(members))
            each = np.arange(int(_GROUPS[group]))[:, np.newaxis]
            chosen = classes[ends[members] - np.maximum(count[members] - each, 1)]
            place = chosen * len(cells) + members
            sides = [values[corner].reshape(-1).take(place) for corner in (0, 2, 1, 3)]
            self._groups[group] = _Group(chosen.astype(np.uint8), np.stack(sides))

    def resolve(self, cells: Index, weight: Floats, visits: Callable[[Index], Iterator[Visit]], out: Labels) -> None:
        """Label the places in `cells` [n] at column weights `weight` [n]; `visits` spreads them over rows."""
        number = self._number.take(cells - self._first)
        group_of = self._group[number]
        for key, group in self._groups.items():
            places = np.flatnonzero(group_of == key)
            size = max(CHUNK_FLOATS // (8 * len(group.classes)), 1)
            for start in range(0, len(places), size):
                part = places[start : start + size]
                _resolve(group, self._slot[number[part]], weight[part], visits(part), out)


def _resolve(group: _Group, slot: Index, weight: Floats, visits: Iterator[Visit], out: Labels) -> None:
    points = group.values.take(slot, axis=2, mode="clip")
    upper_lower = blend(points[:2], points[2:], weight)
    classes = group.classes.take(slot, axis=1, mode="clip")
    for which, lower_weight, target in visits:
        values = blend(upper_lower[0][:, which], upper_lower[1][:, which], lower_weight)
        here = classes[:, which]
        if len(values) == 2:  # nearly all cells of a parsing: half the passes of the running argmax below
            out[target] = np.where(values[1] > values[0], here[1], here[0])
            continue
        best, labels, better = values[0], here[0].copy(), np.empty(len(target), bool)
        for index in range(1, len(values)):
            take_better(values[index], here[index], best, labels, better)
        out[target] = labels


def _may_win(values: tuple[Floats, ...], rival: Labels) -> NDArray[np.bool_]:
    """bool [C, n]: whether a class is above its rival at any of the four points; a tie is the lower index's."""
    each = np.arange(len(rival))
    place = rival.astype(np.intp) * len(rival) + each
    against = [value.reshape(-1).take(place) for value in values]
    lead = values[0] - against[0]
    for value, other in zip(values[1:], against[1:], strict=True):
        np.maximum(lead, value - other, out=lead)
    upto = np.arange(len(lead))[:, np.newaxis] <= rival
    wins: NDArray[np.bool_] = (lead > 0) | ((lead == 0) & upto)
    return wins
