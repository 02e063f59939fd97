"""Frames that are on the GPU already, and labels that stay there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ce2p.synthetic import iter_samples
from ce2p_runtime import BackendError, HumanParser
from ce2p_runtime.cuda.arrays import DeviceArray
from tests.cuda_standin import GpuStandIn
from tests.cuda_standin.fake_networks import make_engine
from tests.cuda_standin.machine import Operation

Pixels = NDArray[np.uint8]


class Foreign:
    """Somebody's frame on the stand-in GPU, by __cuda_array_interface__."""

    def __init__(self, gpu: GpuStandIn, frame: Pixels, pitch: int = 0, stream: int | None = None) -> None:
        height, width = frame.shape[:2]
        self.pitch = pitch or width * 3
        self.memory = _allocate(gpu, self.pitch * height)
        self.shape, self.stream = frame.shape, stream
        rows = np.zeros((height, self.pitch), np.uint8)
        rows[:, : width * 3] = frame.reshape(height, -1)
        self.content = rows.reshape(-1)
        if stream is None:
            self.memory.bytes[:] = self.content

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {
            "shape": self.shape,
            "strides": (self.pitch, 3, 1),
            "typestr": "|u1",
            "data": (self.memory.address, False),
            "version": 3,
            "stream": self.stream,
        }


def _allocate(gpu: GpuStandIn, nbytes: int) -> Any:
    gpu.machine.stack().append("test")
    memory = gpu.machine.allocate(nbytes, "device")
    gpu.machine.objects["device"] -= 1  # somebody else's
    gpu.machine.stack().pop()
    return memory


def picture(size: tuple[int, int] = (40, 31)) -> Pixels:
    return next(iter_samples(2, 1, size))[0]


def read(gpu: GpuStandIn, array: DeviceArray) -> Pixels:
    address, shape = array.__cuda_array_interface__["data"][0], array.__cuda_array_interface__["shape"]
    return gpu.machine.find(address, int(np.prod(shape))).reshape(shape).copy()


@pytest.fixture
def parser(gpu: GpuStandIn, networks: dict[str, Path], tmp_path: Path) -> Any:
    with HumanParser(make_engine(networks["schp"], tmp_path / "schp.engine")) as made:
        yield made


@pytest.mark.parametrize("pitch", [0, 128])
def test_a_frame_on_the_device_is_taken_where_it_is(gpu: GpuStandIn, parser: HumanParser, pitch: int) -> None:
    expected = parser(picture()).labels
    uploads = gpu.machine.ran.count("upload")
    for _ in range(4):  # directly, captured, replayed; at another address every time
        np.testing.assert_array_equal(parser(Foreign(gpu, picture(), pitch)).labels, expected)  # type: ignore[arg-type]
    assert gpu.machine.ran.count("upload") == uploads
    assert gpu.machine.ran.count("graph") >= 1


@pytest.mark.parametrize("bindings", [True, False])
def test_work_that_still_fills_a_frame_is_waited_for(
    gpu: GpuStandIn, networks: dict[str, Path], tmp_path: Path, bindings: bool
) -> None:
    if not bindings:
        gpu.without("cuda.bindings", "cuda.bindings.driver")
    with HumanParser(make_engine(networks["schp"], tmp_path / "x.engine")) as parser:
        expected = parser(picture()).labels
        gpu.machine.stack().append("test")
        stream = gpu.machine.new_stream()
        frame = Foreign(gpu, picture(), stream=stream.handle)
        for name in ("earlier work", "fill"):
            fill = (lambda: np.copyto(frame.memory.bytes, frame.content)) if name == "fill" else (lambda: None)
            gpu.machine.enqueue(stream.handle, Operation(name, fill))
        gpu.machine.stack().pop()
        np.testing.assert_array_equal(parser(frame).labels, expected)  # type: ignore[arg-type]
    del gpu.machine.streams[stream.handle]
    gpu.machine.objects["stream"] -= 1


def test_labels_stay_on_the_device_and_are_the_callers(gpu: GpuStandIn, parser: HumanParser) -> None:
    frames = [picture((40, 31)), picture((40, 31))[::-1].copy()]
    expected = [parser(frame).labels for frame in frames]
    first = parser.parse_device(frames[0])
    second = parser.parse_device(Foreign(gpu, frames[1]))
    assert (first.shape, first.dtype, first.device) == ((40, 31), np.dtype(np.uint8), 0)
    np.testing.assert_array_equal(read(gpu, first), expected[0])
    np.testing.assert_array_equal(read(gpu, second), expected[1])
    held, address = gpu.machine.objects["device"], first.address
    del first
    assert parser.parse_device(frames[1]).address == address, "memory that nobody holds is used again"
    assert gpu.machine.objects["device"] == held
    parser.close()
    np.testing.assert_array_equal(read(gpu, second), expected[1])
    del second  # the last that is held of the closed parser


def test_our_own_labels_travel_by_dlpack_and_a_frame_comes_by_dlpack(gpu: GpuStandIn, parser: HumanParser) -> None:
    frame = picture()
    memory = _allocate(gpu, frame.size)
    memory.bytes[:] = frame.reshape(-1)

    asked: list[int] = []

    class ByDLPack:
        """As torch's tensors: an array of ours, without __cuda_array_interface__."""

        array = DeviceArray(memory.address, frame.shape, np.uint8, 0, None)

        def __dlpack_device__(self) -> tuple[int, int]:
            return self.array.__dlpack_device__()

        def __dlpack__(self, stream: int) -> Any:
            asked.append(stream)
            return self.array.__dlpack__(stream=stream)

    np.testing.assert_array_equal(parser(ByDLPack()).labels, parser(frame).labels)  # type: ignore[arg-type]
    assert asked == [parser.backend.stream.handle]  # type: ignore[attr-defined]
    labels = parser.parse_device(frame)
    assert labels.__dlpack_device__() == (2, 0)
    with pytest.raises(BufferError, match="only as it is"):
        labels.__dlpack__(copy=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"typestr": "<f4"}, r"a frame is float32 \[40, 31, 3\]"),
        ({"shape": (40, 31)}, r"a frame is uint8 \[40, 31\]"),
        ({"shape": (40, 31, 4)}, r"a frame is uint8 \[40, 31, 4\]"),
        ({"shape": (0, 31, 3)}, "at least one pixel"),
        ({"strides": (128, 4, 1)}, r"strides are \[128, 4, 1\] bytes"),
        ({"strides": (93, 3, 2)}, "expected packed pixels"),
        ({"strides": (-93, 3, 1)}, "expected packed pixels"),
    ],
)
def test_frames_of_another_layout_are_refused_with_what_was_found(
    gpu: GpuStandIn, parser: HumanParser, changes: dict[str, Any], message: str
) -> None:
    frame = Foreign(gpu, picture())
    interface = {**frame.__cuda_array_interface__, **changes}

    class Changed:
        __cuda_array_interface__ = interface

    with pytest.raises(ValueError, match=message):
        parser(Changed())  # type: ignore[arg-type]
    assert parser(picture()).labels.shape == (40, 31)


def test_a_frame_on_another_device_is_refused(gpu: GpuStandIn, parser: HumanParser) -> None:
    class Elsewhere:
        def __dlpack_device__(self) -> tuple[int, int]:
            return 2, 1

        def __dlpack__(self, stream: int) -> Any:
            raise AssertionError("not asked for what cannot be used")

    with pytest.raises(ValueError, match="on cuda:1, expected cuda:0"):
        parser(Elsewhere())  # type: ignore[arg-type]


def test_labels_on_the_device_want_a_network_there(networks: dict[str, Path]) -> None:
    with HumanParser(networks["schp"], device="cpu") as parser, pytest.raises(BackendError, match="runs on cpu"):
        parser.parse_device(picture())
