"""Two results of the same candidates: what became faster, slower, or wrong.

The runs share no rounds, so intervals are those of two independent series, and the drift between two days is not in
them; the tolerance is there for that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from ce2p.errors import DataError
from ce2p_runtime.measuring.samples import Ratio, ratio_interval

from .document import Result, Row

Verdict = Literal["regression", "improvement", "no difference", "not comparable"]

MINOR = 0.02
"""A stage below this share of the old whole is listed without a verdict: nobody waits for it."""
AGREEMENT_TOLERANCE = {"pixel_agreement": 0.001, "boundary_agreement": 0.005, "mean_iou": 0.005}
"""How far a share of the gate may fall, one below its limits apart, which always counts. On one machine they repeat
exactly; another version of a backend rounds otherwise."""
GATE_PASSED = "gate passed"
"""The figure that is 1 or 0."""
_TIMED = ("decode", "prepare", "network", "labels", "copy", "png", "frame", "whole")
_MACHINE = ("cpu", "cores", "memory_gib", "governor", "system", "kernel", "python")
_SETTINGS = ("footage", "device", "threads", "opencv_threads", "rest_ms", "warmup")


@dataclass(frozen=True, kw_only=True)
class Change:
    """One figure of one candidate, old and new."""

    candidate: str
    what: str
    old: float | None
    new: float | None
    ratio: Ratio | None = None
    """New over old, of times."""
    verdict: Verdict

    def to_dict(self) -> dict[str, Any]:
        return {**vars(self), "ratio": vars(self.ratio) if self.ratio else None}


@dataclass(frozen=True)
class Comparison:
    """What came of comparing two results."""

    changes: tuple[Change, ...]
    differences: tuple[str, ...]
    """In machine, versions or settings; with any of them times get no verdict."""
    remarks: tuple[str, ...]
    """Candidates without a partner, and what else takes weight from the comparison."""
    tolerance: float

    @property
    def regressions(self) -> tuple[Change, ...]:
        return tuple(change for change in self.changes if change.verdict == "regression")

    def to_dict(self) -> dict[str, Any]:
        """Plain types, ready for json.dump."""
        return {
            "tolerance": self.tolerance,
            "differences": list(self.differences),
            "remarks": list(self.remarks),
            "changes": [change.to_dict() for change in self.changes],
            "regressions": len(self.regressions),
        }


def compare(old: Result, new: Result, tolerance: float) -> Comparison:
    """Compare the candidates that both have, by model name, backend and kind of device. `tolerance`: a share, of times.

    Raises DataError where they have none in common.
    """
    before, after = _by_key(old), _by_key(new)
    shared = [key for key in after if key in before]
    if not shared:
        raise DataError(
            "the two results have no candidate in common (model name, backend and device): "
            f"old {', '.join(row.name for row in old.rows)}; new {', '.join(row.name for row in new.rows)}"
        )
    differences = _differences(old, new)
    same_gate = old.settings["gate"] == new.settings["gate"]
    changes: list[Change] = []
    for key in shared:
        changes += _times(before[key], after[key], tolerance, comparable=not differences)
        changes += _accuracy(before[key], after[key], comparable=same_gate)
    return Comparison(tuple(changes), differences, tuple(_remarks(old, new, same_gate)), tolerance)


def _times(old: Row, new: Row, tolerance: float, *, comparable: bool) -> list[Change]:
    changes = []
    whole = old.stages.get("whole", old.timing).median_ms
    for stage in _TIMED:
        if stage not in old.stages or stage not in new.stages:
            continue
        one, other = old.stages[stage], new.stages[stage]
        if not one.median_ms or not other.median_ms:
            continue
        ratio = ratio_interval(other.samples, one.samples)
        weighs = max(one.median_ms, other.median_ms) >= MINOR * whole
        verdict = _verdict(ratio, tolerance) if comparable and old.batch == new.batch else "not comparable"
        shown: Verdict = verdict if weighs or verdict == "not comparable" else "no difference"
        times = {"old": one.median_ms, "new": other.median_ms}
        changes.append(Change(candidate=new.label, what=f"{stage} p50 ms", **times, ratio=ratio, verdict=shown))
    return changes


def _verdict(ratio: Ratio, tolerance: float) -> Verdict:
    """A difference is one when it is beyond the tolerance and its interval does not span 1."""
    if ratio.verdict == "slower" and ratio.value > 1 + tolerance:
        return "regression"
    if ratio.verdict == "faster" and ratio.value < 1 / (1 + tolerance):
        return "improvement"
    return "no difference" if ratio.low is not None else "not comparable"


def _accuracy(old: Row, new: Row, *, comparable: bool) -> list[Change]:
    """Shares of the gate, and the gate itself: whoever fails it now and did not before has become worse."""
    changes = []
    for name, allowed in AGREEMENT_TOLERANCE.items():
        one, other = old.judgement.share(name), new.judgement.share(name)
        if one is None and other is None:
            continue
        verdict: Verdict = "not comparable"
        if comparable and one is not None and other is not None:
            fell = one - other
            verdict = "regression" if fell > allowed else "improvement" if fell < -allowed else "no difference"
        what = name.replace("_", " ")
        changes.append(Change(candidate=new.label, what=what, old=one, new=other, verdict=verdict))
    held = [_held(row) for row in (old, new)]
    if held != [None, None]:
        verdict = "not comparable"
        if comparable and None not in held:
            verdict = "no difference" if held[0] == held[1] else "regression" if held[0] else "improvement"
        changes.append(Change(candidate=new.label, what=GATE_PASSED, old=held[0], new=held[1], verdict=verdict))
    return changes


def _held(row: Row) -> float | None:
    """1 where a row passed its gate, 0 where not, None where it was not judged."""
    standing = row.judgement.standing
    return None if standing == "not judged" else float(standing != "failed")


def _differences(old: Result, new: Result) -> tuple[str, ...]:
    """What two results do not share, one line each. The commit is meant to differ, and so is ce2p's own version."""
    found = [_changed(name, old.machine.get(name), new.machine.get(name)) for name in _MACHINE]
    gpus = [[(gpu["name"], gpu["driver"]) for gpu in result.machine.get("gpus", [])] for result in (old, new)]
    found.append(_changed("GPUs", *gpus))
    versions = [{k: v for k, v in result.machine.get("versions", {}).items() if k != "ce2p"} for result in (old, new)]
    found += [
        _changed(f"version of {k}", versions[0].get(k), versions[1].get(k))
        for k in sorted({*versions[0], *versions[1]})
    ]
    found += [_changed(name.replace("_", " "), old.settings.get(name), new.settings.get(name)) for name in _SETTINGS]
    return tuple(text for text in found if text)


def _changed(what: str, old: object, new: object) -> str:
    return "" if old == new else f"{what}: {old} before, {new} now"


def _remarks(old: Result, new: Result, same_gate: bool) -> list[str]:
    before, after = _by_key(old), _by_key(new)
    found = [f"only in the old result: {row.label}" for key, row in before.items() if key not in after]
    found += [f"only in the new result: {row.label}" for key, row in after.items() if key not in before]
    found += [
        f"{after[key].label}: is another file than before"
        for key in after
        if key in before and before[key].sha256 != after[key].sha256
    ]
    if not same_gate:
        found.append("the gate had other pictures or another reference, so agreement is not comparable")
    found += [f"the {name} run was noisy" for name, result in (("old", old), ("new", new)) if result.warnings]
    return found


def _by_key(result: Result) -> dict[tuple[str, ...], Row]:
    return {row.key: row for row in result.rows}
