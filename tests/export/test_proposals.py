"""What int8 does beyond its plan where the judge finds no loss: groups converted, a convolution of lower rank."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnx
import pytest

from ce2p_export import GraphOptions, Quantisation
from ce2p_export.plan import ExportPlan
from ce2p_export.precision.converters import PrecisionPlan
from ce2p_export.precision.groups import HIGH_PRECISION
from ce2p_export.proposals import MAX_COST, improved, proposals
from ce2p_runtime.base.cache import CACHE_VARIABLE, cache_folder
from tests.export.precision.test_low_rank import CHANNELS, FEW, context, pictures

BASE = 0.4
LOW_RANK = "low rank"


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))


@dataclass(frozen=True)
class Made:
    """Stands in for Candidate: a plan and its verdict."""

    plan: ExportPlan
    verdict: Any
    file: Path


@dataclass
class Network:
    """Makes candidates: each change costs what `costs` says, as a share of the gate's allowance."""

    costs: dict[str, float]
    target: Any = "cpu"
    passes_on: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Change -> the backends that still pass after it."""
    unrounded: dict[str, float] = field(default_factory=dict)
    """Group -> what it costs with float results, where that is less."""
    graph: bytes = field(default_factory=lambda: context(inputs=FEW))
    judged: bool = True
    made: int = 0

    def plan(self) -> ExportPlan:
        layers = PrecisionPlan(frozenset(HIGH_PRECISION), self.target)
        return ExportPlan(GraphOptions((65, 65), precision="int8"), self.graph, {}, layers)

    def __call__(self, plan: ExportPlan) -> Any:
        self.made += 1
        layers = plan.layers
        changes = set(HIGH_PRECISION) - layers.keep | ({LOW_RANK} if factorised(plan) else set())
        costs = {**self.costs, **{group: self.unrounded.get(group, self.costs[group]) for group in layers.unrounded}}
        harm = BASE + sum(costs[change] for change in changes)
        passed = {"onnxruntime", "openvino"}
        for change in changes - layers.unrounded:
            passed &= set(self.passes_on.get(change, passed))
        failure = "too far off" if harm > 1 else None
        found = SimpleNamespace(harm=harm if self.judged else None, failure=failure, passed_on=tuple(sorted(passed)))
        file = cache_folder("files") / str(self.made)
        file.parent.mkdir(exist_ok=True)
        file.touch()
        return Made(plan, found, file)


def factorised(plan: ExportPlan) -> bool:
    """Whether graph, ranges and record all are of the factorised network; they must go together."""
    names = {weight.name for weight in onnx.load_from_string(plan.graph).graph.initializer}
    signs = {"pyramid.conv.reduce.weight" in names, "low_rank" in plan.provenance}
    signs.add("pyramid.conv.reduced" in plan.layers.ranges)
    assert len(signs) == 1
    return signs.pop()


def final(network: Network, *, low_rank: bool = False) -> ExportPlan:
    """The plan that is left when everything was tried."""
    quantisation = Quantisation(pictures(4, FEW), "noise", "minmax", network.target, low_rank)
    first = network(network.plan())
    changes = proposals(first.plan, quantisation, lambda step, done, total: None)
    untouched = replace(first.plan)
    last: Any = improved(first, changes, network)
    assert first.plan == untouched
    assert list(cache_folder("files").iterdir()) == [last.file]  # the others are gone
    return last.plan  # type: ignore[no-any-return]


def test_groups_that_cost_little_are_converted_and_the_others_stay() -> None:
    costs = {"pyramid.context": MAX_COST / 2, "edge_classifier": -0.1, "fusion.classifier": 2 * MAX_COST}
    assert final(Network(costs)).layers.keep == {"fusion.classifier"}


def test_a_group_whose_results_cost_too_much_in_8_bits_leaves_them_float() -> None:
    costs = {"pyramid.context": 0.0, "edge_classifier": 2 * MAX_COST, "fusion.classifier": 2 * MAX_COST}
    layers = final(Network(costs, unrounded={"fusion.classifier": MAX_COST / 2})).layers
    assert layers.keep == {"edge_classifier"}
    assert layers.unrounded == {"fusion.classifier"}


def test_float_results_that_keep_a_backend_are_taken() -> None:
    """8-bit logits that only ONNX Runtime rounds must not cost ONNX Runtime its pass."""
    layers = final(Network(free(0.0), passes_on={"fusion.classifier": ("openvino",)})).layers
    assert layers.keep == set()
    assert layers.unrounded == {"fusion.classifier"}


def test_a_group_that_would_cost_a_backend_or_the_gate_stays() -> None:
    costs = {"pyramid.context": 0.01, "edge_classifier": 0.9, "fusion.classifier": 0.0}
    network = Network(costs, passes_on={"pyramid.context": ("openvino",)}, unrounded={"pyramid.context": 0.3})
    layers = final(network).layers
    assert layers.keep == {"pyramid.context", "edge_classifier"}
    assert layers.unrounded == set()


def test_nothing_is_proposed_for_tensorrt_and_without_calibration() -> None:
    network = Network(free(0.0), target="tensorrt")
    plan = final(network, low_rank=True)
    assert plan.layers.keep == set(HIGH_PRECISION)
    assert network.made == 1
    assert not factorised(plan)
    assert proposals(plan, None, lambda step, done, total: None) == []


def test_nothing_is_tried_where_nobody_judges() -> None:
    network = Network(free(0.0), judged=False)
    assert final(network, low_rank=True).layers.keep == set(HIGH_PRECISION)
    assert network.made == 1


def free(low_rank: float) -> dict[str, float]:
    """Costs where only the lower rank has any."""
    return {**dict.fromkeys(HIGH_PRECISION, 0.0), LOW_RANK: low_rank}


def test_the_convolution_is_factorised_where_that_costs_little() -> None:
    plan = final(Network(free(MAX_COST / 2)), low_rank=True)
    assert plan.layers.keep == set()
    assert factorised(plan)
    record = plan.provenance["low_rank"]
    assert record["rank"] == CHANNELS // 2
    assert 0 < record["operations"] < 1
    low, high = plan.layers.ranges["pyramid.conv.reduced"]
    assert low < 0 < high


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        (Network(free(2 * MAX_COST)), "it would use up 60% of what the gate allows instead of 40%"),
        (Network(free(0.9)), "its labels do not pass the gate: too far off"),
        (Network(free(0.0), passes_on={LOW_RANK: ("openvino",)}), "its labels do not pass the gate on onnxruntime"),
        (Network(free(0.0), graph=context(inputs=FEW, weight="decoder.conv.weight")), "this network has none"),
    ],
    ids=["cost", "gate", "backend", "no such convolution"],
)
def test_it_stays_as_it_was_where_it_does_not(network: Network, reason: str) -> None:
    plan = final(network, low_rank=True)
    assert plan.layers.keep == set()
    assert not factorised(plan)
    assert plan.graph == network.graph
    assert plan.provenance == {"no_low_rank": reason}


def test_without_leave_nothing_is_factorised() -> None:
    assert not factorised(final(Network(free(0.0))))
