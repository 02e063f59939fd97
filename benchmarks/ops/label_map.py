"""label_map beside what OpenCV and PyTorch do for it, on the CPU and on the GPU.

Rivals: `public` does as SCHP's simple_extractor.py (torch upsampling, cv2.warpAffine per class, stack, argmax over the
last axis); `cv2` the same work arranged for speed (no torch, class planes, argmax over the first axis); `cv2 max` keeps
only the best class so far, the best dense way we know; `torch` upsampling, grid_sample and argmax. label_map is timed
on synthetic people, which is what networks answer, and on smooth and white noise, which is the most border there can
be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.gpu.targets import LABEL_MAP_SHARE
from benchmarks.ops.cases import CLASSES, SCHP, CpuCase, CpuSizes, GpuCase, Scale, Size, gpu_case
from benchmarks.scenes import person_logits
from ce2p_runtime.geometry import frame_mapping
from ce2p_runtime.ops import label_map, label_map_reference
from ce2p_runtime.ops.label_map import label_map_source, label_resize_launch, label_warp_launch
from ce2p_runtime.ops.launches import ArrayAt, KernelSource, Launch
from tests.kernels.cases import Device

Logits = NDArray[np.float32]
Matrix = NDArray[np.float64]
Ways = dict[str, Callable[[], Any]]

# Agreement below this is not the same op. OpenCV 4 rounds coordinates to 1/32 pixel and so moves borders.
_LEAST_AGREEMENT = {"people": 0.999, "smooth": 0.99, "noise": 0.95}
_REPEATS = 10


def cpu_cases(sizes: CpuSizes) -> Iterator[CpuCase]:
    """Labels [H, W] of a frame, for each kind of logits."""
    matrix = _matrix(sizes.frame, sizes.network)
    settings = {"classes": sizes.classes, "logits": sizes.logits, "people": sizes.people}
    for scene, least in _LEAST_AGREEMENT.items():
        logits = _logits(scene, sizes)
        candidates = _candidates(logits, matrix, sizes.network, sizes.frame)
        reference = label_map_reference(logits, matrix, sizes.network, sizes.frame, align_corners=True)
        agreement = {name: float(np.mean(run() == reference)) for name, run in candidates.items()}
        assert agreement["fused"] > 1 - 1e-6, f"fused label_map differs from its reference: {agreement}"
        assert min(agreement.values()) >= least, f"a rival computes something else: {agreement}"
        subject = "label_map" if scene == "people" else f"label_map {scene}"
        checks = {"what": "share of pixels equal to the reference", **agreement}
        yield CpuCase(subject, candidates, checks, settings)


def _matrix(frame: Size, network: Size) -> Matrix:
    matrix = frame_mapping(SCHP, frame, network).unwarp
    assert matrix is not None
    return matrix


def _logits(scene: str, sizes: CpuSizes) -> Logits:
    """float32 [C, h, w]: synthetic people, or noise that is smooth over a sample or not at all."""
    if scene == "people":
        return person_logits(sizes.classes, sizes.logits, sizes.frame[1] / sizes.frame[0], sizes.people)
    noise = np.random.default_rng(0).standard_normal((sizes.classes, *sizes.logits)).astype(np.float32)
    return noise if scene == "noise" else np.stack([cv2.GaussianBlur(plane, (0, 0), 1.0) for plane in noise])


def _candidates(logits: Logits, matrix: Matrix, size: Size, frame: Size) -> Ways:
    classes = len(logits)
    planes = np.empty((classes, *frame), np.float32)
    scale_y, scale_x = ((s - 1) / (t - 1) for s, t in zip(logits.shape[1:], size, strict=True))
    upsample = np.array([[scale_x, 0, 0], [0, scale_y, 0]])
    inverse_map = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP

    def with_cv2() -> Any:
        for source, plane in zip(logits, planes, strict=True):
            large = cv2.warpAffine(source, upsample, size[::-1], flags=inverse_map, borderMode=cv2.BORDER_REPLICATE)
            cv2.warpAffine(large, matrix, frame[::-1], dst=plane, flags=inverse_map)
        return np.argmax(planes, axis=0)

    def with_cv2_max() -> Any:
        best, labels = np.full(frame, -np.inf, np.float32), np.zeros(frame, np.uint8)
        for index, source in enumerate(logits):
            large = cv2.warpAffine(source, upsample, size[::-1], flags=inverse_map, borderMode=cv2.BORDER_REPLICATE)
            plane = cv2.warpAffine(large, matrix, frame[::-1], dst=planes[0], flags=inverse_map)
            better = cv2.compare(plane, best, cv2.CMP_GT)
            # A later class has the greater number, so a maximum of bytes replaces a masked copy.
            np.maximum(labels, np.minimum(better, np.uint8(index)), out=labels)
            cv2.max(best, plane, dst=best)
        return labels

    found: Ways = {
        "fused": lambda: label_map(logits, matrix, size, frame, align_corners=True),
        "cv2": with_cv2,
        "cv2 max": with_cv2_max,
    }
    return found | _torch_candidates(logits, matrix, size, frame)


def _torch_candidates(logits: Logits, matrix: Matrix, size: Size, frame: Size) -> Ways:
    """The two rivals that need torch; none where it is not installed."""
    try:
        import torch
        import torch.nn.functional as F
    except ImportError:
        return {}
    tensor = torch.from_numpy(logits)[None]

    def public() -> Any:
        large = F.interpolate(tensor, size, mode="bilinear", align_corners=True)[0].permute(1, 2, 0).numpy()
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        warped = [cv2.warpAffine(large[:, :, c], matrix, frame[::-1], flags=flags) for c in range(len(logits))]
        return np.argmax(np.stack(warped, axis=2), axis=2)

    two_steps = _torch_two_steps(tensor, matrix, size, frame)
    return {"torch": lambda: two_steps()[0].numpy(), "public": public}


def _torch_two_steps(logits: Any, matrix: Matrix, size: Size, frame: Size) -> Callable[[], Any]:
    """Upsampling, grid_sample and argmax of a tensor [1, C, h, w], to labels uint8 [1, H, W] on its device."""
    import torch
    import torch.nn.functional as F

    # grid_sample wants coordinates where -1 and 1 are the centres of the first and last sample.
    x = matrix[0, 0] * np.arange(frame[1]) + matrix[0, 2]
    y = matrix[1, 1] * np.arange(frame[0]) + matrix[1, 2]
    grid_x, grid_y = np.meshgrid(x * 2 / (size[1] - 1) - 1, y * 2 / (size[0] - 1) - 1)
    grid = torch.from_numpy(np.stack([grid_x, grid_y], axis=-1).astype(np.float32))[None].to(logits.device)

    def run() -> Any:
        large = F.interpolate(logits, size, mode="bilinear", align_corners=True)
        return F.grid_sample(large, grid, align_corners=True).argmax(dim=1).to(torch.uint8)

    return run


def gpu_sources(scale: Scale) -> list[KernelSource]:
    """All that is compiled for the cases."""
    return [label_map_source(False, True)]


def gpu_cases(device: Device, scale: Scale, batch: int) -> Iterator[GpuCase]:
    """Both kernels, logits to input size to the frame; one frame alone is timed beside PyTorch."""
    logits = person_logits(CLASSES, scale.branches[0], scale.frame[1] / scale.frame[0], people=2)
    matrix = _matrix(scale.frame, scale.network)
    inner_bytes, frame_bytes = scale.network[0] * scale.network[1], scale.frame[0] * scale.frame[1]

    def allocate() -> tuple[list[Launch], ArrayAt]:
        on_device = device.to_device(np.broadcast_to(logits, (batch, *logits.shape)))
        inner = device.poisoned((batch, *scale.network), np.uint8)
        labels = device.poisoned((batch, *scale.frame), np.uint8)
        return [label_resize_launch(on_device, inner), label_warp_launch(on_device, inner, matrix, labels)], labels

    def hold(found: NDArray[Any]) -> None:
        expected = label_map_reference(logits, matrix, scale.network, scale.frame, align_corners=True)
        differ = int((found != expected).sum())
        assert differ <= expected.size * 1e-5, f"label_map: {differ} of {expected.size} labels differ"

    yield gpu_case(
        device,
        scale,
        label_map_source(False, True),
        name=f"label_map {scale.frame[0]}p x {CLASSES}",
        batch=batch,
        moved=batch * (logits.nbytes + 2 * inner_bytes + frame_bytes),
        allocate=allocate,
        hold=hold,
        rivals=partial(_torch_on_gpu, scale, logits) if batch == 1 else None,
        share=LABEL_MAP_SHARE,
    )


def _torch_on_gpu(scale: Scale, logits: Logits, device: str) -> dict[str, Callable[[], float]]:
    """The same labels with PyTorch: one interpolation and argmax, and the published two steps. Each gives milliseconds.

    Raises ImportError without PyTorch, SkippedError where it sees no GPU, AssertionError where its labels are others.
    """
    import torch
    import torch.nn.functional as F

    from benchmarks.gpu.torch_device import open_torch

    torch_device, matrix = open_torch(device), _matrix(scale.frame, scale.network)
    values = torch.from_numpy(logits).to(device)[None]
    two_steps = _torch_two_steps(values, matrix, scale.network, scale.frame)

    def one_step() -> torch.Tensor:
        return F.interpolate(values, scale.frame, mode="bilinear", align_corners=True).argmax(1).to(torch.uint8)

    expected = label_map_reference(logits, matrix, scale.network, scale.frame, align_corners=True)
    agreement = float((two_steps()[0].cpu().numpy() == expected).mean())
    assert agreement > 0.999, f"PyTorch's two steps agree on {agreement:.2%} of the labels only"
    return {
        "torch interpolate + argmax": lambda: torch_device.milliseconds(one_step, _REPEATS),
        "torch two steps": lambda: torch_device.milliseconds(two_steps, _REPEATS),
    }
