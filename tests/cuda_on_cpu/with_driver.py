"""Run a module as if there were a GPU: `python -m tests.cuda_on_cpu.with_driver benchmarks.gpu.kernel_checks ...`.

Builds the stand-in for libcuda.so.1, starts Python again with it on the library path, connects it to the emulated
kernels and runs the module with the rest of the arguments.
"""

from __future__ import annotations

import ctypes
import os
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path

from ce2p_runtime.cuda.compiler import ptx_header
from ce2p_runtime.ops.launches import KernelSource
from tests.cuda_on_cpu import EmulatedKernels, emulate

__all__ = ["build_driver"]

_READY = "CE2P_TEST_DRIVER"
_MAX_ARGUMENTS = 32


class _Kernel(ctypes.Structure):
    _fields_ = (("run", ctypes.c_void_p), ("count", ctypes.c_int), ("sizes", ctypes.c_int * _MAX_ARGUMENTS))


_Load = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_char_p)
_Find = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p)


def build_driver(folder: Path) -> Path:
    """Compile the stand-in into `folder`; returns the library."""
    library = folder / "libcuda.so.1"
    source = Path(__file__).with_name("libcuda.c")
    command = ["gcc", "-O1", "-Wall", "-Werror", "-shared", "-fPIC", str(source), "-o", str(library), "-ldl"]
    subprocess.run(command, check=True)
    return library


class _Emulation:
    """The two callbacks, and everything that must stay alive for them."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._modules: list[EmulatedKernels] = []
        self._kernels: list[_Kernel] = []
        self._callbacks = (_Load(self._load), _Find(self._find))
        library.emulation_connect(*self._callbacks)

    def _load(self, image: bytes) -> int:
        header = ptx_header(image)
        if header is None:
            return -1
        self._modules.append(emulate(KernelSource.of(Path(header["file"]).stem, **header["defines"])))
        return len(self._modules) - 1

    def _find(self, module: int, name: bytes) -> int | None:
        emulated, kernel = self._modules[module], name.decode()
        if kernel not in emulated.kernels:
            return None
        sizes = emulated.argument_sizes(kernel)
        entry = _Kernel(emulated.entry_address(kernel), len(sizes), (ctypes.c_int * _MAX_ARGUMENTS)(*sizes))
        self._kernels.append(entry)
        return ctypes.addressof(entry)


def main() -> None:
    if _READY not in os.environ:
        folder = Path(tempfile.mkdtemp(prefix="libcuda_on_cpu_"))
        paths = [str(build_driver(folder).parent), os.environ.get("LD_LIBRARY_PATH", "")]
        environment = {**os.environ, "LD_LIBRARY_PATH": ":".join(filter(None, paths)), _READY: str(folder)}
        command = [sys.executable, "-m", "tests.cuda_on_cpu.with_driver", *sys.argv[1:]]
        sys.exit(subprocess.run(command, env=environment, check=False).returncode)
    emulation = _Emulation(ctypes.CDLL("libcuda.so.1"))
    module = sys.argv[1]
    sys.argv = sys.argv[1:]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
    del emulation


if __name__ == "__main__":
    main()
