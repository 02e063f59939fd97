"""The part of `ce2p doctor` about NVIDIA GPUs: driver, CUDA from Python, a compiler for our kernels, and backends.

On a machine without a driver nothing here is a conflict: what is not there, or cannot be loaded, is only missing.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ce2p_runtime.backends import DEVICE_BACKENDS
from ce2p_runtime.base.text import install_hint
from ce2p_runtime.cuda.compiler import driver_ptx_version, ptx_version
from ce2p_runtime.cuda.toolchains import COMPILER_CURE, find_compiler
from ce2p_runtime.errors import BackendError
from ce2p_runtime.measuring.machine import versions
from ce2p_runtime.ops.launches import KernelSource

from .findings import Finding, Status, backend, package

_INSTALL = f"only needed for NVIDIA GPUs: {install_hint('tensorrt')}"
_BINDINGS = {"pycuda": "pycuda.driver", "cuda-bindings": "cuda.bindings.runtime"}
"""CUDA from Python: package and module."""


def examine_gpu() -> Iterator[Finding]:
    """Every finding about the GPU side."""
    driver, cuda = _driver()
    broken: Status = "conflict" if driver.status == "ok" else "missing"
    bindings = {
        name: package(f"CUDA: {name}", module, _INSTALL, found=versions(name), broken=broken)
        for name, module in _BINDINGS.items()
    }
    yield from (driver, *bindings.values())
    yield _compiler(broken, cuda)
    for entry in DEVICE_BACKENDS.values():
        finding = backend(entry, broken)
        needed = (driver, *(bindings[name] for name in entry.needs if name in bindings))
        lacking = ", ".join(one.subject for one in needed if one.status != "ok")
        if finding.status == "ok" and lacking:
            finding = Finding(finding.subject, "missing", f"{finding.found}; lacks {lacking}", "see there")
        yield finding


def _driver() -> tuple[Finding, tuple[int, int] | None]:
    """The driver, and the newest CUDA version it runs, where `nvidia-smi` tells."""
    subject, tool = "NVIDIA driver", shutil.which("nvidia-smi")
    if tool is None:
        cure = "only needed for CUDA: install the driver from NVIDIA"
        return Finding(subject, "missing", "no nvidia-smi", cure), None
    status, printed = _run(tool, "--query-gpu=name,driver_version", "--format=csv,noheader")
    lines = printed.strip().splitlines() or ["nvidia-smi fails"]
    if status:
        return Finding(subject, "missing", lines[0], "reinstall the driver, or reboot after its update"), None
    match = re.search(r"CUDA (?:\w+ )?Version\s*:\s*(\d+)\.(\d+)", _run(tool)[1])
    cuda = (int(match[1]), int(match[2])) if match else None
    found = "; ".join(lines) + (f"; up to CUDA {cuda[0]}.{cuda[1]}" if cuda else "")
    return Finding(subject, "ok", found), cuda


def _run(*command: str) -> tuple[int, str]:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)  # noqa: S603  (found on PATH, fixed arguments)
    except (OSError, subprocess.TimeoutExpired) as error:
        return 1, " ".join(str(error).split())
    return done.returncode, done.stdout + done.stderr


def _compiler(broken: Status, cuda: tuple[int, int] | None) -> Finding:
    """The compiler of our kernels, tried on one, and whether the driver knows the PTX it writes."""
    subject = "CUDA compiler"
    try:
        compiler = find_compiler()
    except BackendError as error:
        return Finding(subject, "missing", str(error).partition(";")[0], f"only needed for kernels: {COMPILER_CURE}")
    name = f"{compiler.name} {compiler.version}"
    try:
        with tempfile.TemporaryDirectory(prefix="ce2p-doctor-") as folder:
            file = Path(folder) / "trial.cu"
            file.write_text(
                '#include <cuda_fp16.h>\nextern "C" __global__ void trial(__half* x) { *x = __half(1.0f); }\n'
            )
            version = ptx_version(compiler.compile(KernelSource(file, ()), "compute_75"))
    except BackendError as error:
        return Finding(subject, broken, f"{name}: {error}", COMPILER_CURE)
    written = f"{name}, writes PTX {version[0]}.{version[1]}"
    if cuda is None:
        return Finding(subject, "ok", written)
    known = driver_ptx_version(cuda)
    if version > known:
        found = f"{written}, the driver knows PTX up to {known[0]}.{known[1]}"
        return Finding(subject, "conflict", found, f"update the driver, or compile with CUDA {cuda[0]}.{cuda[1]}")
    return Finding(subject, "ok", f"{written}; the driver knows up to {known[0]}.{known[1]}")
