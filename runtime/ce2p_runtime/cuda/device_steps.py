"""What a group of frames has computed on the GPU, as a CUDA graph where the network allows it.

The device work of a group (prepare, network, labels) is a graph from its third time in a slot on: it runs once
directly, is captured the next time, and is replayed from then on. The batch size is fixed: a group that is not full
runs with whatever the rest of the input holds, and that part of the output is not looked at. So shapes and addresses
never change under a captured graph.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from ..backends.base import DeviceBackend
from ..frame_steps import label_launches, needs_input_labels, prepare_launch
from ..ops.launches import ArrayAt
from .driver import Resources
from .graph import GraphError, Graphs, StageEvent, load_graphs
from .kernels import Kernels, load_kernels
from .slots import Plan, Slot

logger = logging.getLogger(__name__)


class DeviceSteps:
    """The network with the steps around it, on the backend's stream, for groups of `group_size` frames.

    `resources` owns what it holds on the device. `graphs=False` never captures. The context must be current for every
    call. Raises BackendError and ModelFileError.
    """

    def __init__(self, backend: DeviceBackend, group_size: int, resources: Resources, graphs: bool) -> None:
        self._backend, self._metadata, self._compute = backend, backend.metadata, backend.stream
        self.graphs: Graphs | None = None
        """What captures; None where groups run directly, for a reason that `description` tells."""
        if not graphs:
            self._no_graphs = "not asked for"
        elif not backend.capturable:
            self._no_graphs = f"{backend.name} cannot be captured"
        else:
            self.graphs, self._no_graphs = load_graphs(resources)
        self._bind(resources, group_size)

    def _bind(self, resources: Resources, group_size: int) -> None:
        """Give the network its memory, and load the kernels that fit its types."""
        self._tensors = self._backend.tensors(group_size)
        self._memory = [resources.buffer(tensor.nbytes) for tensor in self._tensors]
        addresses = {tensor.name: memory.address for tensor, memory in zip(self._tensors, self._memory, strict=True)}
        self._backend.bind(group_size, addresses)
        self._compute.clear(self._memory[0].address, self._tensors[0].nbytes)
        height, width = self._metadata.input_size
        self._input_labels = resources.buffer(group_size * height * width if needs_input_labels(self._metadata) else 0)
        halves = [tensor.dtype == np.float16 for tensor in self._tensors[:2]]
        self._kernels: Kernels = load_kernels(resources, self._metadata, halves[0], halves[1], self._backend.carried)

    @property
    def description(self) -> str:
        """One line for people: whether there are graphs, and where the kernels come from."""
        graph = "CUDA graph" if self.graphs is not None else f"no CUDA graph ({self._no_graphs})"
        return f"{graph}, {self._kernels.origin}"

    def queue(self, slot: Slot, plan: Plan) -> None:
        """The device work of a group, as a graph where there is one or can be made."""
        if not plan.from_host:  # frames of others are somewhere else every time
            self._prepare(slot, plan, captured=False)
        graph = slot.graphs.get(plan.key)
        if graph is None and self.graphs is not None and plan.key in slot.seen:
            graph = self._captured(slot, plan)
        if graph is not None:
            graph.launch(self._compute)
        else:
            self._device_work(slot, plan, captured=False)
            slot.seen.add(plan.key)
        slot.computed.record(self._compute)

    def _captured(self, slot: Slot, plan: Plan) -> Any:
        assert self.graphs is not None  # noqa: S101  (the caller looked)
        try:
            graph = self.graphs.capture(self._compute, lambda: self._device_work(slot, plan, captured=True))
        except GraphError as error:
            self.graphs, self._no_graphs = None, str(error)
            logger.warning("running without CUDA graphs: %s", self._no_graphs)  # not the error: handlers keep it
            return None
        slot.keep_graph(plan.key, graph)
        return graph

    def _device_work(self, slot: Slot, plan: Plan, captured: bool) -> None:
        if plan.from_host:
            self._prepare(slot, plan, captured)
        self._mark(slot, 1, captured)
        self._backend.enqueue()
        self._mark(slot, 2, captured)
        self._make_labels(slot, plan)
        self._mark(slot, 3, captured)

    def _prepare(self, slot: Slot, plan: Plan, captured: bool) -> None:
        self._mark(slot, 0, captured)
        tensor, memory = self._tensors[0], self._memory[0]
        item_bytes = tensor.nbytes // tensor.shape[0]
        for run in plan.runs:
            address = run.frame.address if run.frame is not None else slot.frames_address + run.frame_offset
            target = memory.address + run.first * item_bytes
            launch = prepare_launch(self._metadata, run.mapping, address, target, pitch=run.pitch, items=run.items)
            self._kernels.launch(launch, self._compute)

    def _make_labels(self, slot: Slot, plan: Plan) -> None:
        tensor, memory = self._tensors[1], self._memory[1]
        item_bytes = tensor.nbytes // tensor.shape[0]
        height, width = self._metadata.input_size
        for run in plan.runs:
            launches = label_launches(
                self._metadata,
                run.mapping,
                ArrayAt(memory.address + run.first * item_bytes, (run.items, *tensor.shape[1:])),
                self._input_labels.address + run.first * height * width,
                slot.labels_address + run.label_offset,
            )
            for launch in launches:
                self._kernels.launch(launch, self._compute)

    def _mark(self, slot: Slot, stage: int, captured: bool) -> None:
        event = slot.stages[stage]
        if captured and isinstance(event, StageEvent):
            event.record_in_graph(self._compute)
        else:
            event.record(self._compute)
