"""What follows from the gate on several backends: who must pass, who may serve the file, what a failure is told by."""

from __future__ import annotations

from typing import Any

import pytest

from ce2p_runtime.judge import GateOutcome, Reference, judge_labels
from tests.runtime.judge.networks import Array, parser, pictures


def swapped(logits: Array) -> Array:
    return logits[:, [0, 2, 1, 3]]


@pytest.fixture(scope="module")
def reports() -> dict[str, Any]:
    reference = Reference.of(parser("reference"), pictures(1))
    return {"good": judge_labels(reference, parser()), "bad": judge_labels(reference, parser(fault_out=swapped))}


@pytest.mark.parametrize(
    ("on", "required", "rounded", "passed", "decisive"),
    [
        ({"x": "good", "y": "bad"}, (), None, True, "good"),
        ({"x": "good", "y": "bad"}, ("y",), None, False, "bad"),
        ({"x": "good"}, ("x", "z"), None, False, "good"),
        ({"x": "bad", "y": "bad"}, (), None, False, "bad"),
        ({"x": "good"}, (), "bad", False, "bad"),
        ({"x": "bad"}, (), "good", False, "bad"),  # nobody here could serve it
        ({}, (), "good", True, "good"),
        ({}, (), None, False, None),
    ],
)
def test_who_must_pass_and_who_serves(
    reports: dict[str, Any],
    on: dict[str, str],
    required: tuple[str, ...],
    rounded: str | None,
    passed: bool,
    decisive: str | None,
) -> None:
    judged = {name: reports[kind] for name, kind in on.items()}
    outcome = GateOutcome(judged, {}, frozenset(required), reports[rounded] if rounded else None)
    assert outcome.passed is passed
    assert outcome.passed_on == tuple(name for name, kind in on.items() if kind == "good")
    assert outcome.decisive is (reports[decisive] if decisive else None)
    assert ("rounded" in outcome.to_dict()["figures"]) is (rounded is not None)
    assert ("every rounding put in" in outcome.titled) is (rounded is not None)
