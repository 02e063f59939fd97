"""warp_normalize beside cv2.warpAffine followed by NumPy's or PyTorch's arithmetic, and on the GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.ops.cases import SCHP, SCHP_PIXELS, CpuCase, CpuSizes, GpuCase, Scale, Size, close, gpu_case
from benchmarks.scenes import photo
from ce2p_runtime.geometry import frame_mapping
from ce2p_runtime.ops import warp_normalize, warp_normalize_reference
from ce2p_runtime.ops.launches import ArrayAt, KernelSource, Launch
from ce2p_runtime.ops.warp_normalize import warp_normalize_launch, warp_normalize_source
from tests.kernels.cases import Device

Matrix = NDArray[np.float64]


def cpu_cases(sizes: CpuSizes) -> Iterator[CpuCase]:
    """A photograph into the network's input, float32 [3, S_h, S_w]."""
    mapping, frame = frame_mapping(SCHP, sizes.frame, sizes.network), photo(sizes.frame)
    assert mapping.forward is not None
    candidates = _candidates(frame, mapping.forward, sizes.network)
    reference = warp_normalize_reference(frame, mapping.forward, sizes.network, SCHP_PIXELS)
    level = SCHP_PIXELS.scale / min(SCHP_PIXELS.std)
    difference = {name: float(np.abs(run() - reference).max() / level) for name, run in candidates.items()}
    assert max(difference.values()) < 1.01, f"warp_normalize differs from its reference: {difference} levels"
    yield CpuCase("warp_normalize", candidates, {"what": "grey levels from the reference", **difference})


def _candidates(frame: NDArray[np.uint8], matrix: Matrix, size: Size) -> dict[str, Callable[[], Any]]:
    mean, std = (np.array(values, np.float32) for values in (SCHP_PIXELS.mean, SCHP_PIXELS.std))
    out = np.empty((3, *size), np.float32)

    def with_numpy() -> NDArray[np.float32]:
        crop = cv2.warpAffine(frame, matrix, size[::-1], flags=cv2.INTER_LINEAR)
        values = (crop.astype(np.float32) / np.float32(255) - mean) / std
        return np.ascontiguousarray(values.transpose(2, 0, 1))

    found: dict[str, Callable[[], Any]] = {
        "fused": lambda: warp_normalize(frame, matrix, size, SCHP_PIXELS, out=out),
        "cv2": with_numpy,
    }
    try:
        import torch
    except ImportError:
        return found
    torch_mean, torch_std = torch.from_numpy(mean)[:, None, None], torch.from_numpy(std)[:, None, None]

    def with_torch() -> Any:
        crop = cv2.warpAffine(frame, matrix, size[::-1], flags=cv2.INTER_LINEAR)
        values = torch.from_numpy(crop.transpose(2, 0, 1)).contiguous().float().div(255)
        return values.sub_(torch_mean).div_(torch_std).numpy()

    return found | {"torch": with_torch}


def gpu_sources(scale: Scale) -> list[KernelSource]:
    """All that is compiled for the cases."""
    return [warp_normalize_source(half) for half in (False, True)]


def gpu_cases(device: Device, scale: Scale, batch: int) -> Iterator[GpuCase]:
    """Frames into the network's input, in float and half."""
    return (_gpu_case(device, scale, batch, half) for half in (False, True))


def _gpu_case(device: Device, scale: Scale, batch: int, half: bool) -> GpuCase:
    frame, mapping = photo(scale.frame), frame_mapping(SCHP, scale.frame, scale.network)
    # The frame's bytes that samples fall on: at most two rows and two columns per output pixel.
    used = min(scale.frame[0], 2 * scale.network[0]) * min(scale.frame[1], 2 * scale.network[1]) * 3

    def allocate() -> tuple[list[Launch], ArrayAt]:
        frames = device.to_device(np.broadcast_to(frame, (batch, *frame.shape)))
        out = device.poisoned((batch, 3, *scale.network), np.float16 if half else np.float32)
        return [warp_normalize_launch(frames, scale.frame[1] * 3, mapping.forward, SCHP_PIXELS, out)], out

    expected = warp_normalize_reference(frame, mapping.forward, scale.network, SCHP_PIXELS)
    return gpu_case(
        device,
        scale,
        warp_normalize_source(half),
        name=f"warp_normalize {'fp16' if half else 'fp32'}",
        batch=batch,
        moved=batch * (used + 3 * scale.network[0] * scale.network[1] * (2 if half else 4)),
        allocate=allocate,
        hold=close(expected, 1e-3 if half else 1e-6),
    )
