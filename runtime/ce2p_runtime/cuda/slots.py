"""One group of frames on its way through the GPU: its memory, its events, and what was planned for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry import FrameMapping
from .arrays import DeviceFrame
from .driver import DeviceBuffer, Event, PinnedBuffer, Resources
from .graph import CapturedGraph, StageEvent

_ALIGNMENT = 256
_KEPT_GRAPHS = 8
"""Per slot. Videos need one; folders of pictures would otherwise collect one per size."""


@dataclass(frozen=True)
class Run:
    """Neighbouring frames of a group that have one size and lie one after the other: they share their launches."""

    first: int
    """Index of the first in the group."""
    items: int
    mapping: FrameMapping
    pitch: int
    frame: DeviceFrame | None
    """Where the frame lies, if it was on the device already; `items` is 1 then."""
    frame_offset: int
    """Else: bytes from the start of the slot's frame memory."""
    label_offset: int
    """Bytes from the start of the slot's label memory to labels uint8 [items, H, W]."""


@dataclass(frozen=True)
class Plan:
    """What a group of frames needs."""

    runs: tuple[Run, ...]
    frame_bytes: int
    label_bytes: int

    @property
    def uploads(self) -> bool:
        """Whether frames come from the host."""
        return self.frame_bytes > 0

    @property
    def from_host(self) -> bool:
        """Whether all frames do."""
        return all(run.frame is None for run in self.runs)

    @property
    def key(self) -> tuple[Any, ...]:
        """Equal for groups whose device work is the same, addresses included."""
        return self.from_host, tuple((run.first, run.items, run.mapping.frame_size) for run in self.runs)

    @property
    def count(self) -> int:
        """Frames in the group."""
        return sum(run.items for run in self.runs)


def make_plan(
    frames: Sequence[NDArray[np.uint8] | DeviceFrame], mapping_of: Callable[[tuple[int, int]], FrameMapping]
) -> Plan:
    """Lay a group out: host frames packed into the slot's frame memory, labels into its label memory."""
    runs: list[Run] = []
    first = frame_bytes = label_bytes = 0
    for (size, device), neighbours in groupby(frames, key=_size_and_place):
        group = list(neighbours)
        height, width = size
        items = len(group)
        taken = device if isinstance(device, DeviceFrame) else None
        pitch = width * 3 if taken is None else taken.pitch
        runs.append(
            Run(
                first=first,
                items=items,
                mapping=mapping_of(size),
                pitch=pitch,
                frame=taken,
                frame_offset=frame_bytes,
                label_offset=label_bytes,
            )
        )
        first += items
        if taken is None:
            frame_bytes += _aligned(items * height * width * 3)
        label_bytes += _aligned(items * height * width)
    return Plan(tuple(runs), frame_bytes, label_bytes)


def _size_and_place(frame: NDArray[np.uint8] | DeviceFrame) -> tuple[tuple[int, int], DeviceFrame | None]:
    if isinstance(frame, DeviceFrame):
        return frame.size, frame  # every one by itself
    return (frame.shape[0], frame.shape[1]), None


def _aligned(nbytes: int) -> int:
    return -(-nbytes // _ALIGNMENT) * _ALIGNMENT


StageEvents = tuple["Event | StageEvent", "Event | StageEvent", "Event | StageEvent", "Event | StageEvent"]


@dataclass
class Slot:
    """Memory and events of one group in flight. Free while `plan` is None; its memory grows to what comes."""

    resources: Resources
    stages: StageEvents
    """Before preparing, before the network, before the labels, after them."""
    upload_begins: Event
    uploaded: Event
    computed: Event
    download_begins: Event
    done: Event
    frames: DeviceBuffer | None = None
    labels: DeviceBuffer | None = None
    pinned_frames: PinnedBuffer | None = None
    pinned_labels: PinnedBuffer | None = None
    graphs: dict[tuple[Any, ...], CapturedGraph] = field(default_factory=dict)
    seen: set[tuple[Any, ...]] = field(default_factory=set)
    """Keys of plans that ran here directly, with the present memory."""
    plan: Plan | None = None
    held: object = None
    """Keeps device frames alive until the work on them is done."""
    on_device: tuple[Any, ...] | None = None
    """Where the labels were copied to, if they are to stay on the device."""

    @property
    def frames_address(self) -> int:
        """Where frames from the host go; 0 where there are none."""
        return 0 if self.frames is None else self.frames.address

    @property
    def labels_address(self) -> int:
        """Where the labels go."""
        return 0 if self.labels is None else self.labels.address

    def reserve(self, plan: Plan, download: bool) -> None:
        """Have room for a plan. Graphs hold addresses: where memory moves, they go."""
        if _lacks(self.frames, plan.frame_bytes) or _lacks(self.labels, plan.label_bytes):
            self.forget_graphs()
        self.frames = self._grown(self.frames, plan.frame_bytes, "frames", self.resources.buffer)
        self.labels = self._grown(self.labels, plan.label_bytes, "labels", self.resources.buffer)
        self.pinned_frames = self._grown(self.pinned_frames, plan.frame_bytes, "pinned_frames", self.resources.pinned)
        if download:
            size = plan.label_bytes
            self.pinned_labels = self._grown(self.pinned_labels, size, "pinned_labels", self.resources.pinned)

    def _grown(self, memory: Any, nbytes: int, name: str, allocate: Callable[[int], Any]) -> Any:
        if not _lacks(memory, nbytes):
            return memory
        if memory is not None:
            setattr(self, name, None)  # first, since the new allocation may fail
            self.resources.release(memory)
        return allocate(nbytes)

    def keep_graph(self, key: tuple[Any, ...], graph: CapturedGraph) -> None:
        """Remember a graph; the oldest goes when there are too many."""
        if len(self.graphs) >= _KEPT_GRAPHS:
            self.resources.release(self.graphs.pop(next(iter(self.graphs))))
        self.graphs[key] = graph

    def forget_graphs(self) -> None:
        """Destroy all graphs."""
        while self.graphs:
            self.resources.release(self.graphs.popitem()[1])
        self.seen.clear()


def _lacks(memory: DeviceBuffer | PinnedBuffer | None, nbytes: int) -> bool:
    if memory is None:
        return nbytes > 0
    return (memory.nbytes if isinstance(memory, DeviceBuffer) else len(memory.array)) < nbytes
