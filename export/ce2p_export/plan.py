"""Everything that decides about one exported file, and what settles it: folds, the traced graph, calibration."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import onnx_ir as ir

from ce2p.families import preprocessing_for
from ce2p_runtime.base.progress import Progress
from ce2p_runtime.precisions import PRECISIONS

from .deploy import FoldReport, deploy
from .onnx_graph import GraphOptions, trace_graph
from .precision.calibration import calibrate
from .precision.converters import PrecisionPlan, Quantisation
from .precision.groups import HIGH_PRECISION, layer_groups
from .precision.half import unfit_weights
from .precision.int8 import FLAVOURS, tensors_to_calibrate
from .precision.ranges import activation_ranges
from .precision.sums import chain_sums
from .source import SourceModel


@dataclass(frozen=True)
class ExportPlan:
    """One file of a network. Another file is another plan: `dataclasses.replace`, or a method below."""

    options: GraphOptions
    graph: bytes = field(repr=False)
    """The pure graph: float32, of standard ops, serialised."""
    groups: Mapping[str, tuple[str, ...]] = field(repr=False)
    """Layer groups of the graph and their nodes, in the network's order."""
    layers: PrecisionPlan = field(repr=False)
    """How the layers are converted."""
    folds: tuple[FoldReport, ...] = ()
    """Exact folds in the graph; our fused ops go with them."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """What the metadata tell beside all this."""

    @property
    def half(self) -> bool:
        """Whether the file holds half precision, whose roundings CPU backends leave out."""
        return PRECISIONS[self.options.precision].half_for(self.layers.target) is not None

    def keeping(self, groups: Collection[str]) -> ExportPlan:
        """The same with these layer groups in higher precision, too."""
        return replace(self, layers=replace(self.layers, keep=self.layers.keep.union(groups)))

    def keeping_nodes(self, nodes: Collection[str]) -> ExportPlan:
        """The same with the groups of these nodes in higher precision, too."""
        return self.keeping([group for group, members in self.groups.items() if not set(members).isdisjoint(nodes)])

    def noting(self, **facts: Any) -> ExportPlan:
        """The same with more to tell in its metadata."""
        return replace(self, provenance={**self.provenance, **facts})


def plan_export(
    source: SourceModel, options: GraphOptions, *, fold: bool, quantisation: Quantisation | None, progress: Progress
) -> ExportPlan:
    """Fold and trace the network and calibrate it where its precision wants that: the plan to begin with.

    Raises CE2PError, as for pictures on which an activation is not finite.
    """
    net = source.net
    folds: tuple[FoldReport, ...] = ()
    if fold:
        progress("folding", 0, 0)
        deployed = deploy(net, options.size, keep_edge=options.edge)
        net, folds = deployed.net, deployed.folds
    progress("tracing", 0, 0)
    traced = trace_graph(net, preprocessing_for(net.config.family), options)
    if quantisation is not None and FLAVOURS[quantisation.target].chained_sums:
        chain_sums(traced.graph)
    tensors, groups, unfit = tensors_to_calibrate(traced.graph), layer_groups(traced.graph), unfit_weights(traced.graph)
    graph = ir.to_proto(traced).SerializeToString()
    if quantisation is None:
        plan = ExportPlan(options, graph, groups, PrecisionPlan(), folds)
        return plan.keeping_nodes(unfit) if PRECISIONS[options.precision].half == "float16" else plan
    statistics, _ = calibrate(graph, tensors, quantisation.inputs, partial(progress, "calibrating"))
    ranges = activation_ranges(statistics, quantisation.method)
    spared = frozenset(HIGH_PRECISION) & groups.keys()
    plan = ExportPlan(options, graph, groups, PrecisionPlan(spared, quantisation.target, ranges), folds)
    how = {"target": quantisation.target, "method": quantisation.method, "calibrated_on": quantisation.note}
    return plan.noting(quantisation=how)
