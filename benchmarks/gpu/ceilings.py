"""What this GPU can do at best, measured: bytes per second of a large copy, and products per second of each unit.

Datasheets name peaks that no program reaches; a kernel's floor is the time these measured ceilings leave it.
"""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.gpu.device import GpuDevice

__all__ = ["Ceilings", "measure"]

_SIDE = 8192
"""Of the square matrices multiplied: large enough to fill any GPU."""


@dataclass(frozen=True)
class Ceilings:
    """Rates per second; a rate that could not be measured is None, and floors then rest on the others."""

    bytes: float
    """Of a device-to-device copy, read plus written."""
    float_flops: float | None
    """Float32 matrix product without TF32: the plain FMA units."""
    half_flops: float | None
    """Float16 matrix product: the matrix units."""

    def floor_ms(self, moved: float, float_work: float = 0.0, half_work: float = 0.0) -> float:
        """Milliseconds below which no kernel moving so many bytes and doing so many operations can go.

        The units work side by side, so the longest of the three counts.
        """
        times = [moved / self.bytes]
        if self.float_flops:
            times.append(float_work / self.float_flops)
        if self.half_flops:
            times.append(half_work / self.half_flops)
        return max(times) * 1e3


def measure(device: GpuDevice, copied_bytes: int) -> Ceilings:
    """Measure all ceilings that can be measured here; the products need torch."""
    bandwidth = device.copy_bandwidth(copied_bytes)
    try:
        import torch
    except ImportError:
        return Ceilings(bandwidth, None, None)
    if not torch.cuda.is_available():
        return Ceilings(bandwidth, None, None)
    torch.backends.cuda.matmul.allow_tf32 = False
    return Ceilings(bandwidth, _product_rate(torch.float32), _product_rate(torch.float16))


def _product_rate(dtype: object) -> float:
    import torch

    # Random values: a GPU multiplies zeros faster.
    a, b = (torch.randn(_SIDE, _SIDE, device="cuda").to(dtype) for _ in range(2))  # type: ignore[call-overload]
    start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    best = float("inf")
    for _ in range(8):
        start.record()
        torch.mm(a, b)
        stop.record()
        stop.synchronize()
        best = min(best, start.elapsed_time(stop))
    return float(2.0 * _SIDE**3 / (best * 1e-3))
