"""Arrays on the GPU: ours given to other libraries, theirs taken as frames, without a copy."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np

from .dlpack import CUDA, CUDA_MANAGED, export_capsule, import_capsule
from .driver import CudaDevice, DeviceBuffer, Resources, Stream
from .graph import Graphs


class DeviceArray:
    """A C-contiguous array on a GPU, complete when you get it. `torch.from_dlpack(array)`, `cupy.asarray(array)`.

    Its memory is reused once nobody holds the array or an import of it: keep it until work that reads it is done.
    """

    def __init__(self, address: int, shape: tuple[int, ...], dtype: Any, device: int, owner: object) -> None:
        self.address = address
        self.shape = shape
        self.dtype = np.dtype(dtype)
        self.device = device
        """Index of the GPU."""
        self._owner = owner

    def __repr__(self) -> str:
        return f"DeviceArray({list(self.shape)}, {self.dtype}, cuda:{self.device})"

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        # No "stream": what fills the array was waited for before it was handed out.
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self.address, False),
            "strides": None,
            "version": 3,
        }

    def __dlpack_device__(self) -> tuple[int, int]:
        return CUDA, self.device

    def __dlpack__(
        self,
        *,
        stream: int | None = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        """See DLPack's Python specification. `stream` and `max_version` need nothing: see __cuda_array_interface__,
        and the unversioned capsule suits every consumer. Raises BufferError for a copy or another device.
        """
        if copy or (dl_device is not None and tuple(dl_device) != self.__dlpack_device__()):
            raise BufferError(f"cannot export {self} to device {dl_device} (copy={copy}); only as it is")
        return export_capsule(self.address, self.shape, self.dtype, self.__dlpack_device__(), self)


class _Lease:
    """Device memory that returns to its pool when nobody refers to this any more."""

    def __init__(self, resources: Resources, buffer: DeviceBuffer, pool: list[DeviceBuffer]) -> None:
        self.buffer = buffer
        self._resources = resources  # outlives the pipeline for as long as a caller holds labels
        weakref.finalize(self, pool.append, buffer)


class LabelMemory:
    """Memory for labels that stay on the device, by size: no allocation per frame, which would stop the GPU."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._pools: dict[int, list[DeviceBuffer]] = {}

    def lease(self, nbytes: int) -> _Lease:
        """Memory of this size. The context must be current."""
        pool = self._pools.setdefault(nbytes, [])
        buffer = pool.pop() if pool else self._resources.buffer(nbytes)
        return _Lease(self._resources, buffer, pool)


class DeviceFrame:
    """Somebody's uint8 BGR frame on our GPU; keeps it alive."""

    def __init__(self, address: int, size: tuple[int, int], pitch: int, owner: object) -> None:
        self.address = address
        self.size = size
        """(H, W) in pixels."""
        self.pitch = pitch
        """Bytes from row to row."""
        self._owner = owner


def is_device_array(frame: object) -> bool:
    """Whether `frame` says that it lies on a CUDA device."""
    if isinstance(frame, np.ndarray):
        return False
    if hasattr(frame, "__cuda_array_interface__"):  # torch raises for its CPU tensors here: AttributeError
        return True
    where = getattr(frame, "__dlpack_device__", None)
    return where is not None and int(where()[0]) in {CUDA, CUDA_MANAGED}


def as_device_frame(frame: Any, device: CudaDevice, stream: Stream, graphs: Graphs | None) -> DeviceFrame:
    """`frame`, uint8 BGR [H, W, 3] on `device`, readable by work that is queued on `stream` from now on.

    Anything with DLPack or `__cuda_array_interface__`. Rows may be pitched, pixels must be packed. The context must be
    current. Raises ValueError that says what was found.
    """
    if not hasattr(frame, "__dlpack__"):
        # The second choice: torch's says nothing about the stream its values may still be on their way in.
        return _from_interface(frame, device, stream, graphs)
    kind, index = frame.__dlpack_device__()
    if kind in {CUDA, CUDA_MANAGED} and index != device.index:
        raise ValueError(f"a frame is on cuda:{index}, expected cuda:{device.index}, where the network is")
    # The producer makes our stream wait for its own work.
    taken = import_capsule(frame.__dlpack__(stream=stream.handle))
    owner = _Taken()
    weakref.finalize(owner, taken.done)
    size, pitch = _layout(taken.shape, taken.strides, taken.dtype)
    return DeviceFrame(taken.address, size, pitch, (owner, frame))


class _Taken:
    """Holds an imported DLPack tensor: it is given back when nobody refers to this."""


def _from_interface(frame: Any, device: CudaDevice, stream: Stream, graphs: Graphs | None) -> DeviceFrame:
    interface = frame.__cuda_array_interface__
    shape, dtype = tuple(interface["shape"]), np.dtype(interface["typestr"])
    strides = interface.get("strides")
    if strides is None:
        strides = tuple(int(np.prod(shape[i + 1 :], dtype=np.int64)) * dtype.itemsize for i in range(len(shape)))
    size, pitch = _layout(shape, tuple(strides), dtype)
    producer = interface.get("stream")
    if producer is not None:
        if graphs is None:
            device.driver.Context.synchronize()  # pycuda knows no streams but its own
        else:
            graphs.wait_for_stream(stream, int(producer))
    return DeviceFrame(int(interface["data"][0]), size, pitch, frame)


def _layout(shape: tuple[int, ...], strides: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[tuple[int, int], int]:
    """(H, W) and pitch of a frame. Raises ValueError."""
    if dtype != np.uint8 or len(shape) != 3 or shape[2] != 3:
        raise ValueError(f"a frame is {dtype} {list(shape)}, expected a uint8 BGR array [H, W, 3]")
    if 0 in shape:
        raise ValueError(f"a frame is {list(shape)}, expected at least one pixel")
    height, width = shape[:2]
    packed = strides[2] == 1 and (width == 1 or strides[1] == 3)
    pitch = strides[0] if height > 1 else width * 3
    if not packed or pitch < width * 3:
        raise ValueError(
            f"a frame's strides are {list(strides)} bytes, expected packed pixels, [{width * 3} or more, 3, 1]"
        )
    return (height, width), pitch
