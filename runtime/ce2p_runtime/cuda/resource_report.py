"""What ptxas says about kernels: registers, shared memory, and whether anything spilled to local memory."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import BackendError
from ..ops.launches import KernelSource
from .toolchains import COMPILER_CURE, Nvcc, find_nvcc

_ENTRY = re.compile(r"Compiling entry function '(?P<kernel>\w+)' for '(?P<arch>sm_\w+)'")
_MEMORY = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
_REGISTERS = re.compile(r"Used (\d+) registers(?:.*?, (\d+) bytes smem)?")


@dataclass(frozen=True)
class KernelResources:
    """One kernel on one architecture."""

    kernel: str
    arch: str
    """Real architecture, "sm_90"."""
    registers: int
    """Per thread."""
    shared_bytes: int
    """Static shared memory per block."""
    stack_bytes: int
    """Local memory per thread; what dynamically indexed arrays and spills live in."""
    spill_stores: int
    """Bytes."""
    spill_loads: int
    """Bytes."""


def resource_report(
    source: KernelSource, arch: str | Sequence[str] = "sm_90", virtual: str | None = "compute_75"
) -> list[KernelResources]:
    """Assemble `source` for each real architecture and read ptxas's report.

    `virtual`: the PTX that is assembled, by default the one that `compile_ptx` makes and drivers assemble; None takes
    each architecture's own (compute_90 for sm_90). Raises BackendError without nvcc (NVRTC gives no report), and when
    the source does not compile.
    """
    names = [arch] if isinstance(arch, str) else list(arch)
    program = find_nvcc()
    if program is None:
        raise BackendError(f"no nvcc, which alone reports registers and spills; {COMPILER_CURE.partition(',')[0]}")
    targets = []
    for name in names:
        targets += ["-gencode", f"arch={virtual or name.replace('sm_', 'compute_')},code={name}"]
    with tempfile.TemporaryDirectory(prefix="ce2p-ptxas-") as folder:
        out = str(Path(folder) / "kernel.fatbin")
        report = parse_report(Nvcc(program).run(source, "-fatbin", *("-Xptxas", "-v"), *targets, *("-o", out)))
    missing = set(names) - {resources.arch for resources in report}
    if missing:
        raise BackendError(f"{source.file.name}: nvcc reports nothing for {', '.join(sorted(missing))}")
    return report


def parse_report(printed: str) -> list[KernelResources]:
    """Read what `nvcc -Xptxas -v` printed: per kernel and architecture a name, a line of memory, one of registers."""
    found = []
    for block in printed.split("Compiling entry function")[1:]:
        entry = _ENTRY.search("Compiling entry function" + block)
        memory, registers = _MEMORY.search(block), _REGISTERS.search(block)
        if entry is None or memory is None or registers is None:
            raise BackendError(f"ptxas wrote a report in another form than expected: {' '.join(block.split())[:200]}")
        stack, stores, loads = (int(group) for group in memory.groups())
        shared = int(registers[2] or 0)
        found.append(
            KernelResources(
                kernel=entry["kernel"],
                arch=entry["arch"],
                registers=int(registers[1]),
                shared_bytes=shared,
                stack_bytes=stack,
                spill_stores=stores,
                spill_loads=loads,
            )
        )
    return found
