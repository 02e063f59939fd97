"""The CUDA kernels on the CPU: the .cu files compiled as C++ (cuda_on_cpu.h) and run through ordinary launches."""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import subprocess
import tempfile
import threading
from functools import cache
from pathlib import Path

import numpy as np

from ce2p_runtime.ops.launches import KernelSource, Launch

__all__ = ["SHARED_VARIABLE", "EmulatedKernels", "LaunchError", "emulate", "kernel_names"]

SHARED_VARIABLE = "CE2P_EMULATED_KERNELS"
"""Environment variable that names a folder of one test run, whose processes compile each kernel once together."""
_HERE = Path(__file__).parent
_KERNEL = re.compile(r'extern "C" __global__ void(?: __launch_bounds__\([^;{]*?\))? (ce2p_\w+)\(')
_lock = threading.Lock()
"""The emulated block's state is global, as CUDA's own names are: one launch at a time."""


class LaunchError(Exception):
    """A launch that a GPU would not survive, or that means nothing."""


class EmulatedKernels:
    """The kernels of one compiled source."""

    def __init__(self, library: ctypes.CDLL, kernels: tuple[str, ...]) -> None:
        self._library = library
        self.kernels = kernels

    def run(self, launch: Launch, seed: int = 0) -> None:
        """Run a launch to its end. Addresses are host addresses; `seed` orders the threads between barriers."""
        if launch.kernel not in self.kernels:
            raise LaunchError(f"no kernel {launch.kernel}; the source has {', '.join(self.kernels)}")
        if min(launch.grid) < 1 or launch.grid[1] > 65535 or launch.grid[2] > 65535 or launch.block[0] > 1024:
            raise LaunchError(f"{launch.kernel}: grid {launch.grid} of {launch.block} threads is outside CUDA's limits")
        run = getattr(self._library, f"run_{launch.kernel}")
        values = [np.array(argument) for argument in launch.arguments]
        sizes = self.argument_sizes(launch.kernel)
        if [value.nbytes for value in values] != sizes:
            raise LaunchError(f"{launch.kernel}: arguments of {[v.nbytes for v in values]} bytes, expected {sizes}")
        addresses = (ctypes.c_void_p * len(values))(*(value.ctypes.data for value in values))
        grid, block = (ctypes.c_uint * 3)(*launch.grid), (ctypes.c_uint * 3)(*launch.block)
        with _lock:
            outcome = run(grid, block, addresses, ctypes.c_uint(seed))
        if outcome:
            raise LaunchError(f"{launch.kernel}: a barrier was reached by some threads of a block and not by others")

    def argument_sizes(self, kernel: str) -> list[int]:
        """Bytes of each of a kernel's arguments."""
        size_of = getattr(self._library, f"argument_size_of_{kernel}")
        return [size_of(index) for index in range(getattr(self._library, f"arguments_of_{kernel}")())]

    def entry_address(self, kernel: str) -> int:
        """Where `int run(grid, block, values, seed)` of a kernel lies."""
        return ctypes.cast(getattr(self._library, f"run_{kernel}"), ctypes.c_void_p).value or 0


def emulate(source: KernelSource, extra: str = "", flags: tuple[str, ...] = ()) -> EmulatedKernels:
    """Compile a kernel source as C++, once per process or test run. `extra`: C++ appended, for more instantiations."""
    return _compiled(source, extra, flags)


def kernel_names(source: KernelSource, extra: str = "") -> tuple[str, ...]:
    """The kernels that a source, with `extra` C++ appended, defines."""
    return tuple(_KERNEL.findall(source.file.read_text() + extra))


@cache
def _compiled(source: KernelSource, extra: str, flags: tuple[str, ...]) -> EmulatedKernels:
    kernels = kernel_names(source, extra)
    entries = "\n".join(_ENTRY.replace("NAME", kernel) for kernel in kernels)
    text = f'#include "cuda_on_cpu.h"\n#include "{source.file}"\n{extra}\n{_COUNTING}\n{entries}\n'
    defines = [f"-D{name}={value}" for name, value in source.defines]
    # -fno-gnu-unique: shared arrays of one kernel compiled with other constants must not become one and the same.
    command = [
        "g++",
        "-std=c++20",
        "-O1",
        "-ffp-contract=off",
        "-fPIC",
        "-shared",
        "-fno-gnu-unique",
        "-Wall",
        "-Wno-unknown-pragmas",
        "-Werror",
        f"-I{_HERE}",
        f"-I{source.file.parent}",
        *flags,
        *defines,
    ]
    with tempfile.TemporaryDirectory(prefix="cuda_on_cpu_", dir=os.environ.get(SHARED_VARIABLE)) as folder:
        unit, library = Path(folder) / "kernels.cpp", Path(folder) / "kernels.so"
        if SHARED_VARIABLE in os.environ:
            key = hashlib.blake2b(repr((text, command, source.file.read_bytes())).encode(), digest_size=16).hexdigest()
            library = Path(folder).with_name(f"{key}.so")
        if not library.exists():
            unit.write_text(text)
            made = unit.with_suffix(".made")
            done = subprocess.run([*command, str(unit), "-o", str(made)], capture_output=True, text=True, check=False)
            if done.returncode:
                raise LaunchError(f"{source.file.name} does not compile as C++:\n{done.stderr[:4000]}")
            made.replace(library)
        return EmulatedKernels(ctypes.CDLL(str(library)), kernels)


_COUNTING = """
template <typename... A> constexpr int count_of(void (*)(A...)) { return sizeof...(A); }
template <typename... A> int size_of(void (*)(A...), int index) {
    const int sizes[] = {sizeof(A)...};
    return sizes[index];
}
"""
_ENTRY = """
extern "C" int arguments_of_NAME() { return count_of(NAME); }
extern "C" int argument_size_of_NAME(int index) { return size_of(NAME, index); }
extern "C" int run_NAME(const unsigned* grid, const unsigned* threads, void** values, unsigned seed) {
    return cuda_on_cpu::launch(NAME, grid, threads, values, seed);
}
"""
