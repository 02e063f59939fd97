"""What the benchmarks of all fused ops have in common: sizes, cases on the CPU and on the GPU, how results are held."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.gpu.targets import Expected
from ce2p_runtime.model_files.metadata import Geometry, Normalisation
from ce2p_runtime.ops.launches import ArrayAt, KernelSource, Launch
from tests.kernels.cases import Device

CLASSES = 20
SCHP = Geometry("affine", half_pixel=False, centre="float", unwarp="logits")
SCHP_PIXELS = Normalisation("bgr", 1 / 255, (0.406, 0.456, 0.485), (0.225, 0.224, 0.229))

Size = tuple[int, int]


@dataclass(frozen=True)
class CpuSizes:
    """How large everything is on the CPU."""

    frame: Size
    network: Size
    classes: int
    people: int
    """Figures in the scene."""

    @property
    def logits(self) -> Size:
        return self.network[0] // 4 + 1, self.network[1] // 4 + 1


@dataclass(frozen=True)
class CpuCase:
    """An op and its rivals, which other libraries make of the same task; all are checked before this is made."""

    subject: str
    candidates: dict[str, Callable[[], Any]]
    """Ours is "fused"."""
    checks: dict[str, Any]
    """"what" the figures are, and each candidate's."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Sizes beyond those that all ops have."""


@dataclass(frozen=True)
class Scale:
    """How large everything is on the GPU."""

    channels: int = 256
    branches: tuple[Size, Size, Size] = ((119, 119), (60, 60), (30, 30))
    """Of a, b and c of edge_fusion; the first is also the size of the logits."""
    network: Size = (473, 473)
    frame: Size = (1080, 1920)
    batches: tuple[int, ...] = (1, 16)
    rotated_bytes: int = 256 << 20
    """Buffer sets are added until they hold this much: more than any cache, so that replays read memory."""
    copied_bytes: int = 1 << 30
    """Of the copy that measures bandwidth."""


_TINY = Scale(
    channels=24,
    branches=((25, 25), (13, 13), (7, 7)),
    network=(97, 97),
    frame=(108, 192),
    batches=(1, 2),
    rotated_bytes=1 << 18,
    copied_bytes=1 << 20,
)
SCALES = {"full": Scale(), "tiny": _TINY}
"""The tiny one tries this program itself where kernels are slow."""


@dataclass(frozen=True)
class GpuCase:
    """One op on one batch; its result has been held against the reference."""

    name: str
    batch: int
    steps: tuple[Callable[[], object], ...]
    """Each runs it on another set of buffers."""
    moved: float
    """Ideal bytes: every input read once, every output written once."""
    float_work: float = 0.0
    half_work: float = 0.0
    predicted_ms: Callable[..., float] | None = None
    """By `multiprocessors` and `clock_hz`, where there is a prediction."""
    rivals: Callable[[str], dict[str, Callable[[], float]]] | None = None
    """PyTorch's ways to the same result on a device of that name; each gives milliseconds."""
    share: Expected | None = None
    """Of a rival's time that ours may take."""


def gpu_case(
    device: Device,
    scale: Scale,
    source: KernelSource,
    *,
    allocate: Callable[[], tuple[Sequence[Launch], ArrayAt]],
    hold: Callable[[NDArray[Any]], None],
    moved: float,
    **fields: Any,
) -> GpuCase:
    """A case with as many sets of buffers as are more than a cache holds, at most 64.

    `allocate` makes a set and gives its launches and its output, the last item of which `hold` compares. `moved` and
    `fields`: those of GpuCase.
    """
    sets = [allocate() for _ in range(int(min(max(scale.rotated_bytes // moved, 2), 64)))]
    steps = tuple(partial(_launch, device, source, launches) for launches, _ in sets)
    steps[0]()
    hold(device.to_host(sets[0][1])[-1])
    return GpuCase(steps=steps, moved=moved, **fields)


def _launch(device: Device, source: KernelSource, launches: Iterable[Launch]) -> None:
    for launch in launches:
        device.run(source, launch)


def close(expected: NDArray[Any], limit: float) -> Callable[[NDArray[Any]], None]:
    """Holds a result to a relative L2 distance below `limit`."""

    def hold(found: NDArray[Any]) -> None:
        distance = float(np.linalg.norm(found.astype(np.float64) - expected) / np.linalg.norm(expected))
        assert distance < limit, f"relative L2 {distance:.1e} to the reference, expected below {limit:.0e}"

    return hold
