"""What int8 does beyond its plan, where the gate finds no harm: groups converted, the context convolution thinned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnx
import pytest

from ce2p_export import GraphOptions, Quantisation
from ce2p_export.harmless import HARMLESS, with_harmless_changes
from ce2p_export.precision import HIGH_PRECISION, PrecisionPlan
from ce2p_runtime.base.cache import CACHE_VARIABLE
from tests.export.precision.test_low_rank import CHANNELS, FEW, context, pictures

BASE = 0.4
THIN = "thin"


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))


@dataclass
class Network:
    """Stands in for Candidates: each change costs what `costs` says, as a share of the gate's allowance."""

    costs: dict[str, float]
    precision: str = "int8"
    target: Any = "cpu"
    passes_on: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Change -> the backends that still pass after it."""
    unrounded: dict[str, float] = field(default_factory=dict)
    """Group -> what it costs with float results, where that is less."""
    attempts: int = 0
    pure: bytes = field(default_factory=lambda: context(inputs=FEW))
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.options = GraphOptions((65, 65), precision=self.precision)  # type: ignore[arg-type]
        self.plan = PrecisionPlan("int8", frozenset(HIGH_PRECISION), self.target)

    def attempt(self, keep: frozenset[str]) -> Any:
        self.attempts += 1
        changes = set(HIGH_PRECISION) - self.plan.keep | ({THIN} if "thinned" in self.provenance else set())
        costs = {**self.costs, **{group: self.unrounded.get(group, self.costs[group]) for group in self.plan.unrounded}}
        harm = BASE + sum(costs[change] for change in changes)
        passed = {"onnxruntime", "openvino"}
        for change in changes - self.plan.unrounded:
            passed &= set(self.passes_on.get(change, passed))
        failure = "too far off" if harm > 1 else None
        return SimpleNamespace(keep=keep, harm=harm, failure=failure, passed_on=tuple(sorted(passed)))

    def counting(self, step: str) -> Callable[[int, int], None]:
        return lambda done, total: None

    @property
    def thinned(self) -> bool:
        """Whether graph, ranges and record all are of the thinned network; they must go together."""
        names = {weight.name for weight in onnx.load_from_string(self.pure).graph.initializer}
        signs = {"pyramid.conv.reduce.weight" in names, "thinned" in self.provenance}
        signs.add("pyramid.conv.reduced" in self.plan.ranges)
        assert len(signs) == 1
        return signs.pop()


def kept(network: Network, *, may_thin: bool = False) -> set[str]:
    first = network.attempt(frozenset(HIGH_PRECISION))
    quantisation = Quantisation(pictures(4, FEW), "noise", "minmax", network.target, may_thin)
    return set(with_harmless_changes(network, first, quantisation).keep)  # type: ignore[arg-type]


def test_harmless_groups_are_converted_and_the_others_stay() -> None:
    costs = {"pyramid.context": HARMLESS / 2, "edge_classifier": -0.1, "fusion.classifier": 2 * HARMLESS}
    network = Network(costs)
    assert kept(network) == {"fusion.classifier"}
    assert network.plan.keep == {"fusion.classifier"}


def test_a_group_whose_results_do_harm_in_8_bits_leaves_them_float() -> None:
    costs = {"pyramid.context": 0.0, "edge_classifier": 2 * HARMLESS, "fusion.classifier": 2 * HARMLESS}
    network = Network(costs, unrounded={"fusion.classifier": HARMLESS / 2})
    assert kept(network) == {"edge_classifier"}
    assert network.plan.keep == {"edge_classifier"}
    assert network.plan.unrounded == {"fusion.classifier"}


def test_float_results_that_keep_a_backend_are_taken() -> None:
    """8-bit logits that only ONNX Runtime rounds must not cost ONNX Runtime its pass."""
    network = Network(free(0.0), passes_on={"fusion.classifier": ("openvino",)})
    assert kept(network) == set()
    assert network.plan.unrounded == {"fusion.classifier"}


def test_a_group_that_would_cost_a_backend_or_the_gate_stays() -> None:
    costs = {"pyramid.context": 0.01, "edge_classifier": 0.9, "fusion.classifier": 0.0}
    network = Network(costs, passes_on={"pyramid.context": ("openvino",)}, unrounded={"pyramid.context": 0.3})
    assert kept(network) == {"pyramid.context", "edge_classifier"}
    assert network.plan.unrounded == set()


@pytest.mark.parametrize("settings", [{"precision": "fp16"}, {"target": "tensorrt"}], ids=str)
def test_only_int8_for_cpus_is_changed(settings: dict[str, str]) -> None:
    network = Network(dict.fromkeys((*HIGH_PRECISION, THIN), 0.0), **settings)
    assert kept(network, may_thin=True) == set(HIGH_PRECISION)
    assert network.attempts == 1
    assert not network.thinned


def free(thinning: float) -> dict[str, float]:
    """Costs where only thinning has any."""
    return {**dict.fromkeys(HIGH_PRECISION, 0.0), THIN: thinning}


def test_the_convolution_is_thinned_where_that_is_harmless() -> None:
    network = Network(free(HARMLESS / 2))
    assert kept(network, may_thin=True) == set()
    assert network.thinned
    record = network.provenance["thinned"]
    assert record["rank"] == CHANNELS // 2
    assert 0 < record["operations"] < 1
    low, high = network.plan.ranges["pyramid.conv.reduced"]
    assert low < 0 < high


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        (Network(free(2 * HARMLESS)), "it would use up 60% of what the gate allows instead of 40%"),
        (Network(free(0.9)), "its labels do not pass the gate: too far off"),
        (Network(free(0.0), passes_on={THIN: ("openvino",)}), "its labels do not pass the gate on onnxruntime"),
        (Network(free(0.0), pure=context(inputs=FEW, weight="decoder.conv.weight")), "this network has none"),
    ],
    ids=["harm", "gate", "backend", "no such convolution"],
)
def test_it_stays_as_it_was_where_it_is_not(network: Network, reason: str) -> None:
    assert kept(network, may_thin=True) == set()
    assert not network.thinned
    assert network.provenance == {"not_thinned": reason}


def test_without_leave_nothing_is_thinned() -> None:
    network = Network(free(0.0))
    kept(network)
    assert not network.thinned
