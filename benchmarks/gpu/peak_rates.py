"""What this GPU can do at best, measured: bytes per second of a large copy, and products per second of each unit.

Datasheets name peaks that no program reaches; a kernel's floor is the time these measured ceilings leave it.
"""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.gpu.device import GpuDevice
from benchmarks.gpu.parts import first_line

SIDE = 8192
"""Of the square matrices multiplied: large enough to fill any GPU."""


@dataclass(frozen=True)
class PeakRates:
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


def measure_peaks(device: GpuDevice, copied_bytes: int, side: int = SIDE) -> PeakRates:
    """Measure all ceilings that can be measured here; the products need torch and its sight of a GPU."""
    bandwidth = device.copy_bandwidth(copied_bytes)
    try:
        import torch
    except ImportError:
        return PeakRates(bandwidth, None, None)
    if not torch.cuda.is_available():
        return PeakRates(bandwidth, None, None)
    rates = product_rates("cuda", side, ("fp32", "fp16"))
    return PeakRates(bandwidth, *(rate if isinstance(rate := rates[kind], float) else None for kind in rates))


def product_rates(
    device: str, side: int = SIDE, kinds: tuple[str, ...] = ("fp32", "tf32", "fp16", "fp8")
) -> dict[str, float | str]:
    """Kind -> operations per second of a square matrix product in PyTorch, or why it could not be measured."""
    rates: dict[str, float | str] = {}
    for kind in kinds:
        try:
            rates[kind] = _product_rate(kind, device, side)
        except Exception as error:  # every version refuses in its own way what it cannot do
            rates[kind] = first_line(error)
    return rates


def _product_rate(kind: str, device: str, side: int) -> float:
    import torch

    from benchmarks.gpu.torch_device import TorchDevice

    torch.backends.cuda.matmul.allow_tf32 = kind == "tf32"
    # Random values: a GPU multiplies zeros faster.
    a, b = (torch.randn(side, side, device=device) for _ in range(2))
    if kind == "fp8":
        one = torch.ones((), device=device)
        a8, b8 = a.to(torch.float8_e4m3fn), b.to(torch.float8_e4m3fn).t()  # the second has to be column by column

        def product() -> object:
            return torch._scaled_mm(a8, b8, scale_a=one, scale_b=one, out_dtype=torch.bfloat16)
    else:
        dtype = torch.float16 if kind == "fp16" else torch.float32
        x, y = a.to(dtype), b.to(dtype)

        def product() -> object:
            return torch.mm(x, y)

    torch_device = TorchDevice(device)
    product()
    best = min(torch_device.milliseconds(product) for _ in range(8))
    torch.backends.cuda.matmul.allow_tf32 = False
    return 2.0 * side**3 / (best * 1e-3)
