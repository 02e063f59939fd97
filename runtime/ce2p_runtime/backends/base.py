"""What a backend is: a few short methods around one loaded network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ..cuda.driver import Resources, Stream
from ..cuda.kernels import CarriedKernels
from ..errors import ModelFileError
from ..model_files.metadata import MOST_BATCH, ModelMetadata
from .choice_memory import BackendChoice


class Backend(Protocol):
    """A loaded network. `run` and `close` may be called from any thread, at any time.

    Classes that implement it derive from it: what has a value here holds for those that say nothing else.
    """

    name: str
    """Short name: "onnxruntime", "openvino"."""
    device: str
    """Where it really runs, read back from the library after loading: "cpu", "cuda:0"."""
    metadata: ModelMetadata
    batch: int | None
    """Static batch size of the file; None for a dynamic one."""
    choice: BackendChoice | None = None
    """Why "auto" took it; None where nothing was measured."""
    any_size: bool = False
    """Whether it takes inputs of any height and width, not only of `metadata.input_size`."""

    def run(self, batch: NDArray[Any]) -> list[NDArray[Any]]:
        """One forward pass. `batch`: float [N, 3, H, W] or uint8 [N, H, W, 3], by `metadata.input_kind`.

        Returns the outputs in the file's order: logits [N, C, H/4, W/4] or labels uint8 [N, H, W], then edge logits
        where present. Floats are of the type `metadata.io`; logits from a GPU are float32 always. The arrays belong to
        the caller.
        """

    def close(self) -> None:
        """Release the network; again is allowed. Later runs are a BackendError; those that have begun end normally."""

    def keep(self) -> None:
        """Write what a library took seconds to compile to the cache, unless it came from there.

        Does nothing for other libraries. Where it cannot be written, a warning says so.
        """
        return


@dataclass(frozen=True)
class TensorSpec:
    """An input or output of a network at one batch size."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize


@runtime_checkable
class DeviceBackend(Backend, Protocol):
    """A network whose tensors stay on the GPU: `bind` addresses once, then `enqueue` as often as there is a batch.

    Its methods, `run` apart, want the device's context current: `with backend.resources.device.active(...)`.
    """

    resources: Resources
    """Owns what the network holds on its device."""
    stream: Stream
    """Where it computes. Whoever writes its input and reads its outputs does so on this stream, too."""
    capturable: bool
    """Whether `enqueue` may be captured into a CUDA graph, once it has run with the same binding."""
    carried: CarriedKernels
    """Kernels that came with the network."""

    def tensors(self, batch: int) -> tuple[TensorSpec, ...]:
        """The input and, after it, the outputs in the order of `run`. Raises BackendError for an impossible batch."""

    def bind(self, batch: int, addresses: Mapping[str, int]) -> None:
        """Fix the batch size and where each tensor lies (aligned to 256 bytes). From then on `run` is refused."""

    def enqueue(self) -> None:
        """Queue one forward pass on `stream`. Raises BackendError."""


def check_signature(path: Path, metadata: ModelMetadata, inputs: list[Any], outputs: list[Any]) -> int | None:
    """Compare the loaded network's input and output shapes with its metadata; returns the static batch size or None.

    Shapes are lists of ints, with anything else for a dynamic dimension. Raises ModelFileError where they disagree, as
    after a network was swapped under somebody else's metadata.
    """
    height, width = metadata.input_size
    expected_input = [height, width, 3] if metadata.input_kind == "uint8" else [3, height, width]
    if len(inputs) != 1 or list(inputs[0])[1:] != expected_input:
        found = ", ".join(str(list(shape)) for shape in inputs) or "nothing"
        raise ModelFileError(
            f"{path}: its input is {found}, its metadata says [N, {str(expected_input)[1:]}; export it again"
        )
    if metadata.output_kind == "labels":
        expected = f"labels [N, {height}, {width}]"
    else:
        expected = f"logits of {metadata.num_classes} classes, [N, {metadata.num_classes}, h, w]"
    if len(outputs) != 1 + metadata.edge or not _fits(metadata, list(outputs[0])):
        raise ModelFileError(
            f"{path}: its outputs are {[list(o) for o in outputs]}, its metadata says {expected}; export it again"
        )
    batch = inputs[0][0]
    if isinstance(batch, int) and not 1 <= batch <= MOST_BATCH:
        raise ModelFileError(f"{path}: a batch of {batch}, expected 1 to {MOST_BATCH}; export it again")
    return batch if isinstance(batch, int) else None


def _fits(metadata: ModelMetadata, shape: list[Any]) -> bool:
    """Whether the first output's shape is that of the labels or logits announced."""
    if metadata.output_kind == "labels":
        return shape[1:] == list(metadata.input_size)
    return len(shape) == 4 and shape[1] == metadata.num_classes
