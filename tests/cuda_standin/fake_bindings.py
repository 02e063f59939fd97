"""`cuda.bindings.driver` over a Machine: streams captured into graphs, and events that graphs record."""

from __future__ import annotations

import threading
from enum import IntEnum
from types import ModuleType
from typing import Any

from .machine import Machine, Operation, Record

__all__ = ["make_bindings"]


class CUresult(IntEnum):
    CUDA_SUCCESS = 0
    CUDA_ERROR_INVALID_VALUE = 1
    CUDA_ERROR_NOT_READY = 600
    CUDA_ERROR_STREAM_CAPTURE_INVALIDATED = 901
    CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD = 908


class CUstreamCaptureMode(IntEnum):
    CU_STREAM_CAPTURE_MODE_THREAD_LOCAL = 1


class CUevent_record_flags(IntEnum):  # noqa: N801  (CUDA's own name)
    CU_EVENT_RECORD_EXTERNAL = 1


_OK = CUresult.CUDA_SUCCESS


class _Event:
    def __init__(self) -> None:
        self.record: Record | None = None


def make_bindings(machine: Machine) -> dict[str, ModuleType]:
    """Modules for sys.modules."""
    driver: Any = ModuleType("cuda.bindings.driver")

    def begin(stream: int, mode: CUstreamCaptureMode) -> tuple[Any, ...]:
        found = machine.streams[stream]
        assert mode == CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        found.captured, found.capturing_thread, found.broken = [], threading.get_ident(), ""
        return (_OK,)

    def end(stream: int) -> tuple[Any, ...]:
        found = machine.streams[stream]
        operations, found.captured = found.captured, None
        if found.capturing_thread != threading.get_ident():
            return CUresult.CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD, None
        if found.broken:
            return CUresult.CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, None
        try:
            machine.create("graph")
        except Exception:
            return CUresult.CUDA_ERROR_INVALID_VALUE, None
        return _OK, operations

    def destroy_graph(graph: Any) -> tuple[Any, ...]:
        machine.destroy("graph")
        return (_OK,)

    def instantiate(graph: list[Operation], flags: int) -> tuple[Any, ...]:
        try:
            machine.create("executable graph")
        except Exception:
            return CUresult.CUDA_ERROR_INVALID_VALUE, None
        return _OK, list(graph)

    def launch(graph: list[Operation], stream: int) -> tuple[Any, ...]:
        def run() -> None:
            for operation in graph:
                machine.execute(operation)

        touched = [address for operation in graph for address in operation.touches]
        machine.enqueue(stream, Operation("graph", run, touched))
        return (_OK,)

    def destroy_executable(graph: Any) -> tuple[Any, ...]:
        machine.destroy("executable graph")
        return (_OK,)

    def create_event(flags: int) -> tuple[Any, ...]:
        try:
            machine.create("driver event")
        except Exception:
            return CUresult.CUDA_ERROR_INVALID_VALUE, None
        return _OK, _Event()

    def record(event: _Event, stream: int) -> tuple[Any, ...]:
        event.record = Record()
        machine.enqueue(stream, Operation("record", lambda: None, records=event.record))
        return (_OK,)

    def record_with_flags(event: _Event, stream: int, flags: int) -> tuple[Any, ...]:
        assert flags == CUevent_record_flags.CU_EVENT_RECORD_EXTERNAL
        if machine.streams[stream].captured is None:
            return (CUresult.CUDA_ERROR_INVALID_VALUE,)

        def run() -> None:
            event.record = Record(True, machine.clock)

        machine.enqueue(stream, Operation("record in graph", run))
        return (_OK,)

    def elapsed(start: _Event, end: _Event) -> tuple[Any, ...]:
        if not (start.record and end.record and start.record.done and end.record.done):
            return CUresult.CUDA_ERROR_NOT_READY, None
        return _OK, end.record.time - start.record.time

    def wait(stream: int, event: _Event, flags: int) -> tuple[Any, ...]:
        machine.enqueue(stream, Operation("wait", lambda: None, after=event.record))
        return (_OK,)

    def destroy_event(event: _Event) -> tuple[Any, ...]:
        machine.destroy("driver event")
        return (_OK,)

    driver.CUresult, driver.CUstreamCaptureMode = CUresult, CUstreamCaptureMode
    driver.CUevent_record_flags, driver.CUstream = CUevent_record_flags, int
    driver.cuGetErrorName = lambda status: (_OK, CUresult(status).name.encode())
    driver.cuStreamBeginCapture, driver.cuStreamEndCapture = begin, end
    driver.cuGraphDestroy, driver.cuGraphInstantiate = destroy_graph, instantiate
    driver.cuGraphLaunch, driver.cuGraphExecDestroy = launch, destroy_executable
    driver.cuEventCreate, driver.cuEventDestroy, driver.cuEventRecord = create_event, destroy_event, record
    driver.cuEventRecordWithFlags, driver.cuEventElapsedTime = record_with_flags, elapsed
    driver.cuStreamWaitEvent = wait
    package: Any = ModuleType("cuda.bindings")
    package.driver = driver
    return {"cuda.bindings": package, "cuda.bindings.driver": driver}
