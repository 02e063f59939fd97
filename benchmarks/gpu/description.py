"""The machine: versions, a description of the GPU, and what it can do at best.

    python -m benchmarks.gpu.description [--out FOLDER] [--scale full]

Where the Python package `cudnn` (nvidia-cudnn-frontend) is there, cuDNN's own serialised description of the device goes
into OUT/device-properties.bin: with it, cuDNN's plans can be made on a machine without a GPU.
"""

from __future__ import annotations

import argparse
import importlib
import shutil
import subprocess
from pathlib import Path
from typing import Any

from benchmarks.gpu.device import GpuDevice
from benchmarks.gpu.parts import Part, first_line, part_main
from benchmarks.gpu.peak_rates import SIDE, product_rates
from benchmarks.gpu.targets import NETWORK_MS
from ce2p_runtime.base.files import atomic_path
from ce2p_runtime.measuring.machine import versions

DEVICE_PROPERTIES = "device-properties.bin"
_PACKAGES = (
    "torch",
    "triton",
    "nvidia-cudnn-cu13",
    "nvidia-cudnn-frontend",
    "nvidia-cublas",
    "cuda-bindings",
    "cupy-cuda13x",
    "nvidia-cuda-nvrtc",
    "onnx",
    "onnx-ir",
    "onnxscript",
    "onnxruntime",
    "onnxruntime-gpu",
    "pycuda",
    "tensorrt",
)
_ATTRIBUTES = {
    "multiprocessors": "MULTIPROCESSOR_COUNT",
    "clock kHz": "CLOCK_RATE",
    "memory clock kHz": "MEMORY_CLOCK_RATE",
    "memory bus bits": "GLOBAL_MEMORY_BUS_WIDTH",
    "L2 bytes": "L2_CACHE_SIZE",
    "shared bytes a multiprocessor": "MAX_SHARED_MEMORY_PER_MULTIPROCESSOR",
    "registers a multiprocessor": "MAX_REGISTERS_PER_MULTIPROCESSOR",
}
_SIDES = {"full": SIDE, "tiny": 64}
_COPIED = {"full": 1 << 30, "tiny": 1 << 20}


def work(part: Part, options: argparse.Namespace) -> None:
    """Each line is written down before the next is measured."""
    part.facts["versions"] = found = versions(*_PACKAGES)
    part.facts["nvcc"] = _first_output("nvcc", "--version") or "none on the path"
    _row(part, "versions", ", ".join(f"{name} {number}" for name, number in found.items()))
    device = GpuDevice()
    part.facts["device"] = described = describe(device)
    _row(part, "device", ", ".join(f"{name} {value}" for name, value in described.items()))
    _row(part, "cuDNN's device properties", dump_device_properties(options.out))
    bandwidth = device.copy_bandwidth(_COPIED[options.scale])
    part.facts["bytes"] = bandwidth
    _row(part, "copy", f"{bandwidth / 1e9:.0f} GB/s, read and written")
    kinds = product_rates(options.device, _SIDES[options.scale])
    part.facts["products"] = kinds
    for kind, rate in kinds.items():
        _row(part, f"matrix product {kind}", f"{rate / 1e12:.1f} TFLOP/s" if isinstance(rate, float) else rate)
    for (what, batch), expected in NETWORK_MS.items():
        if what in ("compute", "bytes"):
            _row(part, f"prediction: the network's {what} at batch {batch}", f"{expected.value} ms ({expected.source})")


def describe(device: GpuDevice) -> dict[str, str | int]:
    """Name, memory, and what else of the device decides how fast it is; what it does not tell is left out."""
    described: dict[str, str | int] = {"architecture": f"sm_{device.architecture}"}
    asked: dict[str, Any] = {"name": lambda: device.name, "memory bytes": lambda: device.memory_bytes}
    asked |= {name: lambda attribute=attribute: device.attribute(attribute) for name, attribute in _ATTRIBUTES.items()}
    for name, ask in asked.items():
        try:
            described[name] = ask()
        except Exception as error:  # an attribute that this driver or these bindings do not know
            described[name] = f"unknown ({first_line(error)})"
    return described


def dump_device_properties(out: str) -> str:
    """cuDNN's serialised description of device 0 into the folder `out`; says what was written, or why nothing."""
    try:
        cudnn: Any = importlib.import_module("cudnn")
    except ImportError:
        return "not written: the package nvidia-cudnn-frontend is not installed"
    try:
        content = bytes(cudnn.create_device_properties(0).serialize())
    except Exception as error:  # it needs cuDNN's library and a device
        return f"not written: {first_line(error)}"
    if not out:
        return f"{len(content)} bytes, not kept (no --out)"
    with atomic_path(Path(out) / DEVICE_PROPERTIES) as path:
        path.write_bytes(content)
    return f"{len(content)} bytes in {DEVICE_PROPERTIES}"


def _row(part: Part, what: str, value: str) -> None:
    part.rows.append({"what": what, "value": value})
    part.save()


def _first_output(program: str, *arguments: str) -> str:
    found = shutil.which(program)
    if found is None:
        return ""
    done = subprocess.run([found, *arguments], capture_output=True, text=True, check=False, timeout=20)
    return done.stdout.strip().splitlines()[-1] if done.stdout.strip() else ""


if __name__ == "__main__":
    part_main("Machine", work, out="", scale="full", device="cuda")
