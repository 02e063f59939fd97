"""Put the stand-ins in the place of the real packages for one test, and see at its end that nothing was left behind."""

from __future__ import annotations

import gc
import importlib.machinery
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import pytest

from ce2p_runtime.cuda import kernels
from ce2p_runtime.cuda.compiler import source_sha256
from ce2p_runtime.cuda.driver import CudaDevice
from ce2p_runtime.ops.launches import KernelSource

from .fake_bindings import make_bindings
from .fake_networks import fake_onnxruntime, make_tensorrt
from .fake_pycuda import make_pycuda
from .machine import Machine

__all__ = ["GpuStandIn", "gpu_stand_in"]


class GpuStandIn:
    """The machine, and ways to take parts away from it."""

    def __init__(self, machine: Machine, patch: pytest.MonkeyPatch) -> None:
        self.machine = machine
        self._patch = patch

    def install(self, modules: dict[str, ModuleType]) -> None:
        """Make these what `import` finds."""
        for name, module in modules.items():
            module.__spec__ = importlib.machinery.ModuleSpec(name, None)
            self._patch.setitem(sys.modules, name, module)

    def module(self, name: str) -> Any:
        """What `import` finds."""
        return sys.modules[name]

    def without(self, *modules: str) -> None:
        """Make `import` fail for these."""
        for name in modules:
            self._patch.setitem(sys.modules, name, None)

    def use_tensorrt(self, version: str) -> None:
        """Another version of TensorRT."""
        self.install({"tensorrt": make_tensorrt(self.machine, version)})

    def use_onnxruntime(self, loads: bool = True, graphs: bool = True) -> None:
        """ONNX Runtime with a CUDA provider, which loads or falls back to the CPU."""
        import onnxruntime

        for name, value in fake_onnxruntime(self.machine, loads, graphs).items():
            self._patch.setattr(onnxruntime, name, value, raising=False)


def stand_in_ptx(source: KernelSource, arch: str = "compute_75") -> bytes:
    """PTX as compile_ptx makes it, without the code: the stand-in runs the C++ that its first line names."""
    import hashlib

    body = b".version 9.0\n"
    header = {
        "file": source.file.name,
        "defines": dict(source.defines),
        "sha256": source_sha256(source),
        "arch": arch,
        "compiler": "stand-in",
        "ptx_sha256": hashlib.sha256(body).hexdigest(),
    }
    return b"// ce2p " + json.dumps(header).encode() + b"\n" + body


@contextmanager
def gpu_stand_in(machine: Machine | None = None) -> Iterator[GpuStandIn]:
    """A GPU with everything installed. Raises StandInError at the end unless all of it was given back."""
    machine = machine or Machine()
    patch = pytest.MonkeyPatch()
    stand_in = GpuStandIn(machine, patch)
    try:
        patch.setattr(CudaDevice, "_opened", {})
        patch.setattr(kernels, "compile_ptx", stand_in_ptx)
        stand_in.install({**make_pycuda(machine), **make_bindings(machine), "tensorrt": make_tensorrt(machine)})
        yield stand_in
        gc.collect()
        for device in CudaDevice._opened.values():
            device._release()  # as at the interpreter's exit
        machine.check()
    finally:
        patch.undo()
