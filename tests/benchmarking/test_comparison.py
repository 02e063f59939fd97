"""What two results are said to differ in."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from ce2p.benchmarking.comparison import GATE_PASSED, Comparison, compare
from ce2p.benchmarking.document import Result
from ce2p.errors import DataError
from tests.benchmarking.made_up import judgement, result, row, stages


def verdicts(comparison: Comparison) -> dict[str, str]:
    return {change.what.removesuffix(" p50 ms"): change.verdict for change in comparison.changes}


def against(**changes: Any) -> Comparison:
    """A plain result against one whose only row is changed."""
    return compare(result(row()), result(row(**changes)), 0.05)


def test_the_same_result_has_no_difference() -> None:
    found = against()
    assert set(verdicts(found).values()) == {"no difference"}
    assert {"decode", "network", "frame", "whole", "pixel agreement", GATE_PASSED} <= set(verdicts(found))
    assert (found.differences, found.remarks, found.regressions) == ((), (), ())


def test_slower_and_faster_beyond_the_tolerance() -> None:
    slower = against(stages=stages(110.0))
    assert verdicts(slower)["network"] == verdicts(slower)["frame"] == "regression"
    assert verdicts(slower)["labels"] == "no difference"
    network = next(change for change in slower.changes if change.what == "network p50 ms")
    assert network.ratio is not None
    assert network.ratio.value == pytest.approx(1.1)
    assert len(slower.regressions) == 3  # network, frame, whole
    assert verdicts(against(stages=stages(90.0)))["network"] == "improvement"
    assert verdicts(against(stages=stages(104.0)))["network"] == "no difference"  # within 5 %
    assert verdicts(against(stages=stages(96.0)))["network"] == "no difference"


def test_a_difference_inside_the_noise_is_none() -> None:
    wild = tuple(1 + 0.6 * (index % 4) / 3 for index in range(12))
    old = result(row(stages=stages(100.0, wild)))
    new = result(row(stages=stages(108.0, wild)))
    assert verdicts(compare(old, new, 0.05))["network"] == "no difference"


def test_too_few_rounds_are_no_ground_for_a_verdict() -> None:
    few = (1.0, 1.01, 1.0)
    found = compare(result(row(stages=stages(100.0, few))), result(row(stages=stages(200.0, few))), 0.05)
    assert verdicts(found)["network"] == "not comparable"
    assert not found.regressions


def test_a_stage_that_nobody_waits_for_decides_nothing() -> None:
    found = against(stages=stages(prepare=1.9))  # nearly twice the time, and below 2 % of the whole
    assert verdicts(found)["prepare"] == "no difference"
    assert verdicts(against(stages=stages(prepare=4.0)))["prepare"] == "regression"


@pytest.mark.parametrize(
    ("machine", "settings", "said"),
    [
        ({"cpu": "Another"}, {}, "cpu: A Processor before, Another now"),
        ({"versions": {"ce2p": "0.2.0", "onnxruntime": "1.31.0"}}, {}, "version of onnxruntime: 1.30.0 before, 1.31.0"),
        ({"gpus": [{"name": "H100", "driver": "1"}]}, {}, "GPUs: "),
        ({}, {"threads": 1}, "threads: default before, 1 now"),
        ({}, {"footage": "a film"}, "footage: "),
    ],
)
def test_times_of_other_conditions_get_no_verdict_but_labels_do(
    machine: dict[str, Any], settings: dict[str, Any], said: str
) -> None:
    new = result(row(stages=stages(200.0), judgement=judgement("failed", 0.9)))
    new = dataclasses.replace(new, machine={**new.machine, **machine}, settings={**new.settings, **settings})
    found = compare(result(row()), new, 0.05)
    assert len(found.differences) == 1
    assert said in found.differences[0]
    assert verdicts(found)["network"] == "not comparable"
    assert {change.what for change in found.regressions} == {
        "pixel agreement",
        "boundary agreement",
        "mean iou",
        GATE_PASSED,
    }


def test_more_rounds_and_another_commit_are_no_other_conditions() -> None:
    new = result(row(), source=None)
    new = dataclasses.replace(new, settings={**new.settings, "rounds": 100}, machine=versions(new, ce2p="0.2.0"))
    assert compare(result(row()), new, 0.05).differences == ()


def versions(of: Result, **changes: str) -> dict[str, Any]:
    return {**of.machine, "versions": {**of.machine["versions"], **changes}}


def test_agreement_may_not_fall() -> None:
    old = result(row(judgement=judgement("passed", 0.995)))
    for pixels, verdict in ((0.995, "no difference"), (0.9935, "regression"), (0.9965, "improvement")):
        new = result(row(judgement=judgement("passed", pixels)))
        assert verdicts(compare(old, new, 0.05))["pixel agreement"] == verdict
    fails = compare(old, result(row(judgement=judgement("failed", 0.9945))), 0.05)
    assert [change.what for change in fails.regressions] == [GATE_PASSED]
    mended = compare(result(row(judgement=judgement("failed", 0.97))), old, 0.05)
    assert verdicts(mended)[GATE_PASSED] == "improvement"


def test_agreement_with_another_reference_or_without_a_gate_is_not_comparable() -> None:
    old, new = result(row()), result(row(judgement=judgement("failed", 0.5)))
    other = dataclasses.replace(new, settings={**new.settings, "gate": {"reference": "z"}})
    found = compare(old, other, 0.05)
    assert verdicts(found)["pixel agreement"] == verdicts(found)[GATE_PASSED] == "not comparable"
    assert any("other pictures or another reference" in text for text in found.remarks)
    unjudged = compare(old, result(row(judgement=judgement("not judged"))), 0.05)
    assert verdicts(unjudged)["pixel agreement"] == verdicts(unjudged)[GATE_PASSED] == "not comparable"
    assert not unjudged.regressions


def test_candidates_are_matched_by_model_backend_and_kind_of_device() -> None:
    old = result(row("a.onnx", device="cuda:0"), row("b.onnx"), row("c.onnx"))
    new = result(row("c.onnx", sha256="1" * 64), row("a.onnx", device="cuda:1"), row("d.onnx"))
    found = compare(old, new, 0.05)
    assert list(dict.fromkeys(change.candidate for change in found.changes)) == [
        "c.onnx onnxruntime",
        "a.onnx onnxruntime",
    ]
    assert found.remarks == (
        "only in the old result: b.onnx onnxruntime",
        "only in the new result: d.onnx onnxruntime",
        "c.onnx onnxruntime: is another file than before",
    )
    with pytest.raises(DataError, match="no candidate in common"):
        compare(result(row("a.onnx")), result(row("a.onnx", "openvino")), 0.05)


def test_noise_is_remarked_and_another_batch_not_compared() -> None:
    noisy = result(row(), disturbances=("the load average was 3.0",))
    assert compare(noisy, result(row()), 0.05).remarks == ("the old run was noisy",)
    found = against(batch=4, stages=stages(50.0))
    assert verdicts(found)["network"] == "not comparable"
