"""What the GPU check expects: targets, and what was computed before anything was measured, each with its source.

Predictions stand beside measurements in the report. One that misses is worth as much as one that holds: it says which
of the assumptions to look at.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Expected:
    """A figure written down beforehand."""

    value: float
    source: str


FRAME_MS = Expected(1.0, "target for fp16 on an H200 at batch 1: 115 kernels of 2.5 to 4.5 us each, with split-K")
THROUGHPUT = Expected(3000.0, "target in images/s for fp16 on an H200 at batch 16: 65 % of compute, 80 % of bandwidth")
KILL_MS = Expected(8.0, "at batch 16: below it, fused cuDNN convolutions are worth building on")
LABEL_MAP_SHARE = Expected(0.2, "label_map of 1080p frames in 20 classes, as a share of PyTorch's interpolate + argmax")

NETWORK_MS: dict[tuple[str, int], Expected] = {
    ("compute", 1): Expected(0.166, "131.45 GFLOP at the H200's measured 790 TFLOP/s"),
    ("compute", 16): Expected(2.662, "the same for 16 images"),
    ("bytes", 1): Expected(0.166, "every layer's input, weights and output once, at the H200's measured 4.3 TB/s"),
    ("bytes", 16): Expected(2.194, "the same for 16 images, weights once"),
    ("fused", 1): Expected(0.8, "115 kernels, most of them on a fraction of the multiprocessors; 0.59 to 1.01"),
    ("fused", 16): Expected(5.1, "65 % of compute and 80 % of bandwidth with bias, sum and activation fused"),
    ("unfused", 16): Expected(16.2, "measured on an H100 (benchmarks/results/gpu_h100): folded, PyTorch, CUDA graph"),
    ("unfused", 1): Expected(2.06, "measured on an H100 (benchmarks/results/gpu_h100): folded, PyTorch, CUDA graph"),
}
"""Milliseconds of schp lip-r101-os16 at 473x473 in fp16, by (what, batch)."""

_ISSUED = 4
"""Warp instructions that a multiprocessor issues in a clock, one per scheduler."""
_INSTRUCTIONS = {"fp32": 37.0, "fp16": 41.0, "any sizes": 90.0}
"""Of edge_fusion's staging per pixel and channel, counted in the disassembly of its compute_75 PTX for sm_90; the last
is the way that serves branches of any sizes, counted in the kernel's first version."""


def predicted_fusion_ms(
    points: int, channels: int, classes: int, *, half: bool, any_sizes: bool, multiprocessors: int, clock_hz: float
) -> float:
    """Milliseconds of edge_fusion if issuing instructions were all that took time.

    `points`: pixels of all items. In float the classifier's multiply-adds come on top of staging, one instruction per
    class; in half the matrix units do them.
    """
    staging = _INSTRUCTIONS["any sizes" if any_sizes else "fp16" if half else "fp32"]
    instructions = points * channels * (staging + (0 if half else classes))
    return instructions / (multiprocessors * _ISSUED * 32 * clock_hz) * 1e3
