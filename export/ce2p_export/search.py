"""Which layers cost a low-precision file its likeness, and the fewest that have to stay in higher precision.

A trial converts everything but some groups of layers and puts the result through the gate. Its harm is how much of the
gate's allowance it uses up: 1 is exactly the limit, so a trial is good enough at 1 and below. The search:

1. Nothing is kept. If that is good enough, it is the answer.
2. Each group is kept by itself. The harm it takes away ranks it.
3. The first k groups of that ranking are kept; k is doubled until it is good enough, then found by bisection. Harms of
   groups do not add up exactly, so this finds a small answer, not the smallest.
4. Each kept group, the least useful first, is given up again where the rest is still good enough.

Everything is deterministic. Trials are remembered on disk under the hash of whatever decides about them, one by one, so
a search that was interrupted goes on where it was, and one that is repeated costs nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ce2p_runtime.base.bounded_json import read_json
from ce2p_runtime.base.cache import cache_folder, read_cached
from ce2p_runtime.base.files import atomic_path
from ce2p_runtime.base.progress import Progress, without_progress
from ce2p_runtime.errors import MediaError


@dataclass(frozen=True)
class Trial:
    """What came of keeping some groups."""

    harm: float
    """Largest share of an allowance that is used up, over all figures; see `ce2p_runtime.judge.allowance`."""
    passed: bool
    figures: Mapping[str, float | None]
    """The gate's: pixel_agreement, boundary_agreement, ..."""


@dataclass(frozen=True)
class GroupHarm:
    """What one group costs: the trial in which it alone was kept."""

    group: str
    trial: Trial
    relief: float
    """Harm with nothing kept, less the harm with this group kept. Negative: keeping it makes things worse."""


@dataclass(frozen=True)
class Sensitivity:
    """The outcome of a search."""

    keep: tuple[str, ...]
    """Groups that stay in higher precision, beside those that always do; in the network's order."""
    base: Trial
    """Nothing kept."""
    final: Trial
    """With `keep`."""
    groups: tuple[GroupHarm, ...]
    """The most harmful first; empty where nothing had to be kept."""
    trials: int
    """How many were looked at, remembered ones included."""


class Trials:
    """Trials of one network, by the groups kept; remembered in `folder` (None: the user's cache).

    `run(keep)` converts and judges. `key`: everything that decides about the outcome, as plain types: another key has
    other trials. A memory that cannot be read or written costs time and nothing else.
    """

    def __init__(
        self,
        run: Callable[[frozenset[str]], Trial],
        key: Mapping[str, Any],
        folder: Path | None = None,
        always: Iterable[str] = (),
    ) -> None:
        self._run = run
        self.always = frozenset(always)
        """Groups that are kept in every trial."""
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:32]
        self.file = (folder or cache_folder("trials")) / f"{digest}.json"
        self._known: dict[str, Trial] = _read(self.file)
        self.looked_at: set[str] = set()

    def __call__(self, keep: Iterable[str]) -> Trial:
        """The trial that keeps these groups and `always`."""
        kept = frozenset(keep) | self.always
        name = " ".join(sorted(kept))
        self.looked_at.add(name)
        if name not in self._known:
            self._known[name] = self._run(kept)
            self._write()
        return self._known[name]

    def _write(self) -> None:
        try:
            with atomic_path(self.file) as temporary:
                temporary.write_text(json.dumps({name: asdict(trial) for name, trial in self._known.items()}))
        except (OSError, MediaError):
            return


def _read(file: Path) -> dict[str, Trial]:
    try:
        stored = read_json(read_cached(file), what=str(file))
        return {str(name): Trial(float(t["harm"]), bool(t["passed"]), dict(t["figures"])) for name, t in stored.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def search(groups: Sequence[str], trials: Trials, progress: Progress = without_progress) -> Sensitivity | None:
    """The fewest of `groups` to keep, as far as the steps above find them; None where keeping all is not enough."""
    candidates = [group for group in groups if group not in trials.always]
    progress("everything converted", 0, 1)
    base = trials(())
    if base.passed:
        return Sensitivity((), base, base, (), len(trials.looked_at))
    harms = leave_one_out(candidates, trials, base, progress)
    ranking = [entry.group for entry in harms]
    count = _shortest_prefix(ranking, trials, progress)
    if count is None:
        return None
    keep = _given_up(ranking[:count], trials, progress)
    ordered = tuple(group for group in groups if group in keep)
    return Sensitivity(ordered, base, trials(keep), harms, len(trials.looked_at))


def leave_one_out(
    candidates: Sequence[str], trials: Trials, base: Trial, progress: Progress = without_progress
) -> tuple[GroupHarm, ...]:
    """Each group kept by itself, the most harmful first; equally harmful ones in the network's order."""
    found = []
    for done, group in enumerate(candidates):
        progress("one group kept", done, len(candidates))
        trial = trials((group,))
        found.append(GroupHarm(group, trial, base.harm - trial.harm))
    progress("one group kept", len(candidates), len(candidates))
    return tuple(sorted(found, key=lambda entry: -entry.relief))


def _shortest_prefix(ranking: Sequence[str], trials: Trials, progress: Progress) -> int | None:
    """The least k such that keeping the first k is good enough, if more never hurts; one group is always converted."""
    most = len(ranking) - 1
    rounds = 2 * max(most, 1).bit_length()
    failing, passing, turn = 0, 1, 0
    while not trials(ranking[:passing]).passed:
        progress("groups kept", turn, rounds)
        if passing >= most:
            return None
        failing, passing, turn = passing, min(2 * passing, most), turn + 1
    while passing - failing > 1:
        progress("groups kept", turn, rounds)
        middle, turn = (failing + passing) // 2, turn + 1
        if trials(ranking[:middle]).passed:
            passing = middle
        else:
            failing = middle
    progress("groups kept", rounds, rounds)
    return passing


def _given_up(kept: Sequence[str], trials: Trials, progress: Progress) -> frozenset[str]:
    """`kept` without those that are not needed, tried from the last."""
    needed = list(kept)
    for done, group in enumerate(reversed(kept)):
        progress("groups given up", done, len(kept))
        rest = [other for other in needed if other != group]
        if rest and trials(rest).passed:
            needed = rest
    progress("groups given up", len(kept), len(kept))
    return frozenset(needed)
