"""CUDA graphs: a frame's device work recorded once, then launched as one. Through cuda-bindings; pycuda has none.

A graph fixes kernels, addresses and shapes. Work is captured from a stream of ours in thread-local mode, so that other
threads may go on using CUDA meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

from ..base.text import install_hint
from ..errors import BackendError
from .driver import Resources, Stream


class GraphError(BackendError):
    """Work could not be captured; it can still be run directly."""


def load_graphs(resources: Resources) -> tuple[Graphs | None, str]:
    """CUDA graphs, or None and the reason why there are none."""
    try:
        from cuda.bindings import driver
    except ImportError as error:
        return None, f"cuda-bindings is not usable ({error}); {install_hint('tensorrt')}"
    return Graphs(driver, resources), ""


class _Driver:
    """cuda-bindings' calls, with errors as exceptions."""

    def __init__(self, bindings: ModuleType) -> None:
        self.bindings: Any = bindings

    def call(self, name: str, *arguments: Any) -> Any:
        """One call; its result after the status. Raises GraphError."""
        status, *results = getattr(self.bindings, name)(*arguments)
        if int(status) != 0:
            _, text = self.bindings.cuGetErrorName(status)
            raise GraphError(f"{name} says {text.decode() if isinstance(text, bytes) else status}")
        return results[0] if results else None

    def stream(self, handle: int) -> Any:
        """A stream of anybody's as cuda-bindings wants it."""
        return self.bindings.CUstream(handle)


class Graphs:
    """Captures work; owns nothing itself, what it makes belongs to `resources`."""

    def __init__(self, bindings: ModuleType, resources: Resources) -> None:
        self._driver = _Driver(bindings)
        self._resources = resources

    def capture(self, stream: Stream, work: Callable[[], None]) -> CapturedGraph:
        """Record what `work` queues on `stream`; nothing of it runs. The context must be current.

        Raises GraphError when something in it cannot be captured; the stream is then as it was before.
        """
        driver, bindings = self._driver, self._driver.bindings
        handle = driver.stream(stream.handle)
        driver.call("cuStreamBeginCapture", handle, bindings.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL)
        try:
            work()
        except BaseException as error:
            # What broke the capture has also invalidated it: ending it gives no graph and an error that says no more.
            status, graph = bindings.cuStreamEndCapture(handle)
            if int(status) == 0:
                bindings.cuGraphDestroy(graph)
            if isinstance(error, (BackendError, self._resources.device.driver.Error)):
                raise GraphError(" ".join(str(error).split())) from error.with_traceback(None)
            raise
        graph = driver.call("cuStreamEndCapture", handle)
        try:
            executable = driver.call("cuGraphInstantiate", graph, 0)
        finally:
            bindings.cuGraphDestroy(graph)
        made = CapturedGraph(driver, executable)
        self._resources.hold(made)
        return made

    def event(self) -> StageEvent:
        """An event that takes the time inside a graph, which pycuda's cannot. The context must be current."""
        made = StageEvent(self._driver, self._driver.call("cuEventCreate", 0))
        self._resources.hold(made)
        return made

    def wait_for_stream(self, waiting: Stream, handle: int) -> None:
        """Let `waiting` wait for the work that is queued on somebody else's stream now."""
        driver = self._driver
        event = driver.call("cuEventCreate", 2)  # CU_EVENT_DISABLE_TIMING
        try:
            driver.call("cuEventRecord", event, driver.stream(handle))
            driver.call("cuStreamWaitEvent", driver.stream(waiting.handle), event, 0)
        finally:
            driver.bindings.cuEventDestroy(event)  # CUDA keeps it until it has happened


class CapturedGraph:
    """Work that can be launched again and again."""

    def __init__(self, driver: _Driver, executable: Any) -> None:
        self._driver = driver
        self._executable = executable

    def launch(self, stream: Stream) -> None:
        """Queue the recorded work. The context must be current."""
        self._driver.call("cuGraphLaunch", self._executable, self._driver.stream(stream.handle))

    def free(self) -> None:
        self._driver.bindings.cuGraphExecDestroy(self._executable)


class StageEvent:
    """An event that can be recorded by a graph, each time it runs."""

    def __init__(self, driver: _Driver, event: Any) -> None:
        self._driver = driver
        self._event = event

    def record(self, stream: Stream) -> None:
        """Record on a stream directly."""
        self._driver.call("cuEventRecord", self._event, self._driver.stream(stream.handle))

    def record_in_graph(self, stream: Stream) -> None:
        """While `stream` is captured: make the record a part of the graph (an ordinary one would only order it)."""
        external = int(self._driver.bindings.CUevent_record_flags.CU_EVENT_RECORD_EXTERNAL)
        self._driver.call("cuEventRecordWithFlags", self._event, self._driver.stream(stream.handle), external)

    def milliseconds_since(self, earlier: StageEvent) -> float:
        """GPU time between two events that have happened."""
        return float(self._driver.call("cuEventElapsedTime", earlier._event, self._event))

    def free(self) -> None:
        self._driver.bindings.cuEventDestroy(self._event)
