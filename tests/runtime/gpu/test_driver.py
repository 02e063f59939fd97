"""The driver layer's own errors, and that the stand-in GPU really finds what it is for."""

from __future__ import annotations

import builtins
import itertools
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ce2p_runtime import BackendError, HumanParser
from ce2p_runtime.cuda.driver import CudaDevice, Event, Resources, Stream
from tests.cuda_standin import GpuStandIn, Machine, StandInError, gpu_stand_in
from tests.cuda_standin.fake_networks import make_engine
from tests.cuda_standin.machine import Operation, Record


def test_missing_parts_are_named_with_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def importing(outcome: Exception) -> Any:
        def fake(name: str, *arguments: Any, **others: Any) -> Any:
            if name.startswith("pycuda"):
                raise outcome
            return real(name, *arguments, **others)

        return fake

    missing = ModuleNotFoundError("No module named 'pycuda'", name="pycuda")
    no_driver = ImportError("libcuda.so.1: cannot open shared object file: No such file or directory")
    for outcome, message in (
        (missing, r"needs the package pycuda; pip install"),
        (no_driver, r"no NVIDIA driver is usable here \(libcuda.so.1: .*\); install it, or use --device cpu"),
    ):
        monkeypatch.setattr(builtins, "__import__", importing(outcome))
        with pytest.raises(BackendError, match=message):
            CudaDevice.open(0)


def test_no_gpu_and_a_wrong_index_are_named() -> None:
    with gpu_stand_in(Machine(devices=0)), pytest.raises(BackendError, match="finds no GPU; see nvidia-smi"):
        CudaDevice.open(0)
    with gpu_stand_in() as gpu:
        driver = gpu.module("pycuda.driver")

        def init() -> None:
            raise driver.RuntimeError("cuInit failed: no CUDA-capable device is detected")

        driver.init = init
        with pytest.raises(BackendError, match=r"no NVIDIA GPU is usable here \(cuInit failed: no CUDA-capable"):
            CudaDevice.open(0)


def test_a_device_is_opened_once_from_any_thread(gpu: GpuStandIn) -> None:
    opened: list[CudaDevice] = []
    threads = [threading.Thread(target=lambda: opened.append(CudaDevice.open(0))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(device) for device in opened}) == 1
    assert gpu.machine.objects["retained"] == 1
    assert (opened[0].architecture, opened[0].name) == ("sm_90", "Stand-in GPU")


def test_resources_free_once_in_reverse_order_and_hold_nothing_afterwards(gpu: GpuStandIn) -> None:
    device = CudaDevice.open(0)
    resources = Resources(device)
    freed: list[str] = []

    class Thing:
        def __init__(self, name: str) -> None:
            self.name = name

        def free(self) -> None:
            freed.append(self.name)

    things = [Thing(name) for name in "abc"]
    for thing in things:
        resources.hold(thing)
    with device.active("testing"):
        resources.release(things[1])
    resources.close()
    resources.close()
    assert freed == ["b", "c", "a"]
    with pytest.raises(BackendError, match="closed"):
        resources.hold(things[0])


def test_ptx_that_the_driver_refuses_is_one_line(gpu: GpuStandIn) -> None:
    device = CudaDevice.open(0)
    resources = Resources(device)
    with device.active("testing"), pytest.raises(BackendError, match=r"the driver refuses the kernels .*ptxas fatal"):
        resources.module(b".version 9.9\n")
    resources.close()


def test_cuda_errors_begin_with_what_was_tried_and_leave_the_context_as_it_was(gpu: GpuStandIn) -> None:
    device = CudaDevice.open(0)
    with (
        pytest.raises(BackendError, match=r"making tea: CUDA failed on cuda:0 .*launch failed"),
        device.active("making tea"),
    ):
        raise device.driver.LogicError("cuLaunchKernel failed: launch failed")
    with (
        pytest.raises(BackendError, match="making tea: cuda:0 is out of memory, 1024 of 4096 MiB"),
        device.active("making tea"),
    ):
        raise device.driver.MemoryError("cuMemAlloc failed: out of memory")
    assert gpu.machine.stack() == []


# The stand-in itself: a test that it would not fail is worth nothing.


@pytest.mark.parametrize("left_out", [0, 1], ids=["for the upload", "for the computation"])
def test_the_stand_in_finds_a_missing_wait(
    networks: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left_out: int
) -> None:
    engine = make_engine(networks["schp"], tmp_path / "x.engine")
    frames = list(np.random.default_rng(0).integers(0, 256, (6, 24, 30, 3), dtype=np.uint8))

    def labels() -> NDArray[np.uint8]:
        with HumanParser(engine) as parser:
            return np.stack([result.labels for result in parser.parse_batch(frames)])

    with gpu_stand_in():
        expected = labels()
    real, calls = Stream.wait, itertools.count()  # for every frame: compute waits, then the download

    def sometimes(self: Stream, event: Event) -> None:
        if next(calls) % 2 != left_out:
            real(self, event)

    monkeypatch.setattr(Stream, "wait", sometimes)
    found = 0
    for seed in range(4):
        try:
            with gpu_stand_in(Machine(seed)):
                found += bool((labels() != expected).any())
        except (BackendError, StandInError) as error:  # times, or memory, of work that has not run yet
            found += "NOT_READY" in str(error) or "needs it" in str(error)
    assert found >= 2


def leak(gpu: GpuStandIn) -> None:
    device = CudaDevice.open(0)
    resources = Resources(device)
    with device.active("testing"):
        resources.buffer(8)
    resources._closer.detach()


def free_twice(gpu: GpuStandIn) -> None:
    memory = gpu.machine.allocate(8, "device")
    gpu.machine.free(memory)
    gpu.machine.free(memory)


def free_while_queued(gpu: GpuStandIn) -> None:
    memory, stream = gpu.machine.allocate(8, "device"), gpu.machine.new_stream()
    gpu.machine.enqueue(stream.handle, Operation("stuck", lambda: None, after=Record()))
    gpu.machine.enqueue(stream.handle, Operation("upload", lambda: None, [memory.address]))
    gpu.machine.free(memory)


def use_after_free(gpu: GpuStandIn) -> None:
    memory, stream = gpu.machine.allocate(8, "device"), gpu.machine.new_stream()
    gpu.machine.free(memory)
    gpu.machine.enqueue(stream.handle, Operation("upload", lambda: None, [memory.address]))


def write_past_the_end(gpu: GpuStandIn) -> None:
    memory = gpu.machine.allocate(8, "device")
    memory.raw[memory.offset + 8] = 0
    gpu.machine.free(memory)


def use_no_context(gpu: GpuStandIn) -> None:
    gpu.machine.stack().clear()
    gpu.module("pycuda.driver").mem_alloc(8)


def wait_for_nothing(gpu: GpuStandIn) -> None:
    stream = gpu.machine.new_stream()
    gpu.machine.enqueue(stream.handle, Operation("stuck", lambda: None, after=Record()))
    gpu.machine.synchronize(lambda: not stream.queue, "waiting")


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (leak, "left behind: {'retained': 0, 'device': 1|left behind: {'device': 1"),
        (free_twice, "freed twice"),
        (free_while_queued, "freed while upload needs it"),
        (use_after_free, "use of freed device memory"),
        (write_past_the_end, "wrote outside device memory"),
        (use_no_context, "without a current context"),
        (wait_for_nothing, "would wait for ever"),
    ],
)
def test_the_stand_in_finds(mistake: Callable[[GpuStandIn], None], message: str) -> None:
    def make_it() -> None:
        with gpu_stand_in() as gpu:
            gpu.machine.stack().append("test")
            mistake(gpu)
            gpu.machine.stack().clear()

    with pytest.raises(StandInError, match=message):
        make_it()
