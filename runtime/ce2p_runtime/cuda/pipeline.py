"""Frames in, labels out, without the data leaving the GPU in between.

Three streams: uploads, compute, downloads. While frame i computes, frame i+1 is uploaded and frame i-1's labels are
downloaded; events order them. What is computed, and how, stands in device_steps.py.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..backends.base import DeviceBackend
from ..errors import BackendError
from ..frame_steps import check_frame
from ..geometry import FrameMapping, frame_mapping
from ..model_files.metadata import ModelMetadata
from ..process.threads import one_at_a_time
from .arrays import DeviceArray, DeviceFrame, LabelMemory, as_device_frame, is_device_array
from .device_steps import DeviceSteps
from .driver import Resources
from .slots import Plan, Slot, make_plan

_DOING = "parsing on the GPU"


@dataclass(frozen=True)
class FrameLabels:
    """What became of a frame."""

    labels: NDArray[np.uint8] | DeviceArray
    """uint8 [H, W], on the host or, if asked for, on the device."""
    timings: dict[str, float]
    """Milliseconds of GPU time: upload, prepare, network, labels, download; a group's shared evenly by its frames."""


class GpuPipeline:
    """Runs groups of up to `group_size` frames through a network, up to `slots` groups in flight.

    `submit` queues a group and returns its ticket, `collect` waits for it and returns its labels; several threads
    may do so, one after the other. What it holds on the device is freed by `close`; the backend remains the caller's.
    `graphs=False` never captures. Raises BackendError and ModelFileError.
    """

    def __init__(self, backend: DeviceBackend, group_size: int = 1, slots: int = 2, graphs: bool = True) -> None:
        self._device = backend.resources.device
        self.group_size, self.slots = group_size, slots
        self._compute = backend.stream
        self._mapping = lru_cache(256)(partial(_map, backend.metadata))
        self._resources = Resources(self._device)
        self._resources.used_by(self._compute)
        self._label_memory: LabelMemory | None = LabelMemory(Resources(self._device))
        try:
            with self._device.active("making room on the GPU"):
                self._steps = DeviceSteps(backend, group_size, self._resources, graphs)
                self._upload, self._download = self._resources.stream(), self._resources.stream()
                self._free = deque(self._slot() for _ in range(slots))
        except BaseException:
            self._resources.close()
            raise
        self._flying: deque[tuple[int, Slot]] = deque()
        self._finished: dict[int, list[FrameLabels] | BackendError] = {}
        """By ticket: groups that had to be waited for before somebody collected them."""
        self._tickets = count()
        self._lock = threading.RLock()

    def _slot(self) -> Slot:
        graphs = self._steps.graphs
        make: Any = graphs.event if graphs is not None else self._resources.event
        event = self._resources.event
        return Slot(
            resources=self._resources,
            stages=(make(), make(), make(), make()),
            upload_begins=event(),
            uploaded=event(),
            computed=event(),
            download_begins=event(),
            done=event(),
        )

    @property
    def description(self) -> str:
        """One line for people: what runs how."""
        return f"{self._device.name}, {self._steps.description}"

    @one_at_a_time
    def submit(self, frames: Sequence[Any], keep_on_device: bool = False) -> int:
        """Queue a group; returns its ticket. Where all slots are in flight, the oldest is waited for first.

        `frames`: uint8 BGR [H, W, 3], each a NumPy array, which may be written to again at once, or on the GPU (see
        `as_device_frame`), which may not until its labels are collected. `keep_on_device`: labels stay there. Raises
        ValueError for other frames or too many, BackendError; nothing is in flight for it then.
        """
        if not 1 <= len(frames) <= self.group_size:
            raise ValueError(f"a group of {len(frames)} frames, expected 1 to {self.group_size}")
        if self._resources.closed:
            raise BackendError("this parser is closed")
        if not self._free:
            self._finish_oldest()
        slot = self._free[0]
        with self._device.active(_DOING):
            try:
                taken = [self._taken(frame) for frame in frames]
                plan = make_plan(taken, self._mapping)
                slot.reserve(plan, not keep_on_device)
                slot.held = taken
                if plan.uploads:
                    self._queue_upload(slot, plan, taken)
                self._steps.queue(slot, plan)
                self._queue_download(slot, plan, keep_on_device)
            except BaseException:
                self._abandon(slot)
                raise
        slot.plan = plan
        ticket = next(self._tickets)
        self._flying.append((ticket, self._free.popleft()))
        return ticket

    def _taken(self, frame: Any) -> NDArray[np.uint8] | DeviceFrame:
        if is_device_array(frame):
            return as_device_frame(frame, self._device, self._compute, self._steps.graphs)
        check_frame(frame)
        array: NDArray[np.uint8] = frame
        return array

    def _queue_upload(self, slot: Slot, plan: Plan, frames: Sequence[Any]) -> None:
        assert slot.pinned_frames is not None  # noqa: S101  (reserved)
        pinned = slot.pinned_frames.array
        for run in plan.runs:
            if run.frame is None:
                height, width = run.mapping.frame_size
                nbytes = height * width * 3
                for item in range(run.items):
                    start = run.frame_offset + item * nbytes
                    np.copyto(pinned[start : start + nbytes].reshape(height, width, 3), frames[run.first + item])
        slot.upload_begins.record(self._upload)
        self._upload.upload(slot.frames_address, pinned[: plan.frame_bytes])
        slot.uploaded.record(self._upload)
        self._compute.wait(slot.uploaded)

    def _queue_download(self, slot: Slot, plan: Plan, keep_on_device: bool) -> None:
        self._download.wait(slot.computed)
        slot.download_begins.record(self._download)
        if keep_on_device:
            slot.on_device = tuple(
                self._kept(slot, run.label_offset + item * _pixels(run.mapping), run.mapping)
                for run in plan.runs
                for item in range(run.items)
            )
        else:
            assert slot.pinned_labels is not None  # noqa: S101  (reserved)
            self._download.download(slot.pinned_labels.array[: plan.label_bytes], slot.labels_address)
        slot.done.record(self._download)

    def _kept(self, slot: Slot, offset: int, mapping: FrameMapping) -> DeviceArray:
        """Labels copied to memory that is the caller's for as long as they hold it."""
        assert self._label_memory is not None  # noqa: S101  (not closed)
        lease = self._label_memory.lease(_pixels(mapping))
        self._download.copy(lease.buffer.address, slot.labels_address + offset, _pixels(mapping))
        return DeviceArray(lease.buffer.address, mapping.frame_size, np.uint8, self._device.index, lease)

    @one_at_a_time
    def collect(self, ticket: int) -> list[FrameLabels]:
        """Wait for a group; its frames' labels in order. Once per ticket. Raises BackendError, and ValueError for a
        ticket that is not waiting to be collected.
        """
        if self._resources.closed:
            raise BackendError("this parser is closed")
        if ticket not in self._finished and all(ticket != flying for flying, _ in self._flying):
            raise ValueError(f"ticket {ticket} was never given, or collected before")
        while ticket not in self._finished:
            self._finish_oldest()
        outcome = self._finished.pop(ticket)
        if isinstance(outcome, BackendError):
            raise outcome
        return outcome

    def discard(self, ticket: int) -> None:
        """Wait for a group nobody wants any more; one that was collected already is fine."""
        with contextlib.suppress(BackendError, ValueError):
            self.collect(ticket)

    def _finish_oldest(self) -> None:
        ticket, slot = self._flying.popleft()
        try:
            with self._device.active(_DOING):
                slot.done.synchronize()
                self._finished[ticket] = self._results(slot)
        except BackendError as error:  # belongs to whoever collects that group
            self._finished[ticket] = error
        finally:
            slot.plan = slot.held = slot.on_device = None
            self._free.append(slot)

    def _results(self, slot: Slot) -> list[FrameLabels]:
        plan = slot.plan
        assert plan is not None  # noqa: S101  (it was in flight)
        timings = self._timings(slot, plan)
        if slot.on_device is not None:
            return [FrameLabels(labels, dict(timings)) for labels in slot.on_device]
        assert slot.pinned_labels is not None  # noqa: S101  (reserved)
        results = []
        for run in plan.runs:
            nbytes = _pixels(run.mapping)
            for item in range(run.items):
                start = run.label_offset + item * nbytes
                labels = slot.pinned_labels.array[start : start + nbytes].reshape(run.mapping.frame_size).copy()
                results.append(FrameLabels(labels, dict(timings)))
        return results

    def _timings(self, slot: Slot, plan: Plan) -> dict[str, float]:
        stages: Any = slot.stages  # all of one kind
        spans = {
            "upload": slot.uploaded.milliseconds_since(slot.upload_begins) if plan.uploads else 0.0,
            "prepare": stages[1].milliseconds_since(stages[0]),
            "network": stages[2].milliseconds_since(stages[1]),
            "labels": stages[3].milliseconds_since(stages[2]),
            "download": slot.done.milliseconds_since(slot.download_begins),
        }
        return {stage: span / plan.count for stage, span in spans.items()}

    def _abandon(self, slot: Slot) -> None:
        """Nothing of a group that failed on its way in may still run when its memory is used again."""
        with contextlib.suppress(self._device.driver.Error):
            for stream in (self._upload, self._compute, self._download):
                stream.synchronize()
        slot.held = slot.on_device = None

    @one_at_a_time
    def close(self) -> None:
        """Wait for what is in flight and free everything; again is allowed. Labels on the device stay valid."""
        while self._flying:
            self._finish_oldest()
        self._finished.clear()
        self._free.clear()
        self._label_memory = None
        self._resources.close()


def _map(metadata: ModelMetadata, size: tuple[int, int]) -> FrameMapping:
    return frame_mapping(metadata.geometry, size, metadata.input_size)


def _pixels(mapping: FrameMapping) -> int:
    return mapping.frame_size[0] * mapping.frame_size[1]
