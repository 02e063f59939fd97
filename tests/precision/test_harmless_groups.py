"""Which of the groups that int8 spares by itself are converted after all: those that the gate finds harmless."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from ce2p_export import GraphOptions
from ce2p_export.exporter import HARMLESS, _with_harmless_groups
from ce2p_export.precision import HIGH_PRECISION, PrecisionPlan

BASE = 0.4


@dataclass
class Network:
    """Stands in for Candidates: converting a group costs what `costs` says, as a share of the gate's allowance."""

    costs: dict[str, float]
    precision: str = "int8"
    target: Any = "cpu"
    passes_on: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Group -> the backends that still pass once it is converted."""
    attempts: int = 0

    def __post_init__(self) -> None:
        self.options = GraphOptions((65, 65), precision=self.precision)  # type: ignore[arg-type]
        self.plan = PrecisionPlan("int8", frozenset(HIGH_PRECISION), self.target)

    def attempt(self, keep: frozenset[str]) -> Any:
        self.attempts += 1
        converted = set(HIGH_PRECISION) - self.plan.keep
        harm = BASE + sum(self.costs[group] for group in converted)
        passed = {"onnxruntime", "openvino"}
        for group in converted:
            passed &= set(self.passes_on.get(group, passed))
        failure = "too far off" if harm > 1 else None
        return SimpleNamespace(keep=keep, harm=harm, failure=failure, passed_on=tuple(sorted(passed)))


def kept(network: Network) -> set[str]:
    return _with_harmless_groups(network, network.attempt(frozenset(HIGH_PRECISION))).keep  # type: ignore[arg-type, return-value]


def test_harmless_groups_are_converted_and_the_others_stay() -> None:
    costs = {"pyramid.context": HARMLESS / 2, "edge_classifier": -0.1, "fusion.classifier": 2 * HARMLESS}
    network = Network(costs)
    assert kept(network) == {"fusion.classifier"}
    assert network.plan.keep == {"fusion.classifier"}


def test_a_group_that_would_cost_a_backend_or_the_gate_stays() -> None:
    costs = {"pyramid.context": 0.01, "edge_classifier": 0.9, "fusion.classifier": 0.0}
    network = Network(costs, passes_on={"pyramid.context": ("openvino",)})
    assert kept(network) == {"pyramid.context", "edge_classifier"}


@pytest.mark.parametrize("settings", [{"precision": "fp16"}, {"target": "tensorrt"}], ids=str)
def test_only_int8_for_cpus_converts_them(settings: dict[str, str]) -> None:
    network = Network(dict.fromkeys(HIGH_PRECISION, 0.0), **settings)
    assert kept(network) == set(HIGH_PRECISION)
    assert network.attempts == 1
