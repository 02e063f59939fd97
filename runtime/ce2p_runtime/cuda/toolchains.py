"""The compilers of CUDA C++ that may be on a machine: nvcc of a toolkit, or the library NVRTC from pip."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import logging
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Protocol

from ..base.text import first_line
from ..errors import BackendError
from ..ops.launches import KernelSource

logger = logging.getLogger(__name__)

NVCC_VARIABLE = "CE2P_NVCC"
COMPILER_CURE = "install the CUDA toolkit (nvcc), or pip install cuda-bindings nvidia-cuda-nvrtc"
_FLAGS = ("-std=c++17",)
"""What both compilers get. --fmad stays at its default: kernels say __fmul_rn where bits matter."""


class Compiler(Protocol):
    """Something that turns a kernel source into PTX."""

    @property
    def name(self) -> str:
        """ "nvcc" or "nvrtc"."""

    @property
    def version(self) -> str:
        """Such as "13.0.88"."""

    @property
    def flags(self) -> tuple[str, ...]:
        """Beside architecture, folder and constants."""

    def compile(self, source: KernelSource, arch: str) -> bytes:
        """PTX. Raises BackendError with the compiler's first error."""


def find_compiler() -> Compiler:
    """nvcc where there is one, else NVRTC. Raises BackendError when neither is there."""
    nvcc = find_nvcc()
    if nvcc is not None:
        return Nvcc(nvcc)
    try:
        return Nvrtc()
    except BackendError as error:
        raise BackendError(
            f"no CUDA compiler: no nvcc, and {error}; {COMPILER_CURE}, "
            "or use an engine that carries its kernels beside it"
        ) from None


def find_nvcc() -> Path | None:
    """The nvcc to use. Raises BackendError when $CE2P_NVCC names something else than a program."""
    named = os.environ.get(NVCC_VARIABLE)
    if named:
        found = shutil.which(Path(named).expanduser())
        if found is None:
            raise BackendError(f"{NVCC_VARIABLE} is {named}, which is no program; point it to nvcc or unset it")
        return Path(found)
    for program in ("nvcc", *(str(home / "bin" / "nvcc") for home in _toolkits())):
        found = shutil.which(program)
        if found is not None:
            return Path(found)
    return None


class Nvcc:
    """nvcc of a CUDA toolkit. It needs a host compiler (gcc, cl) on PATH even for PTX."""

    name = "nvcc"
    flags = ("-O3", *_FLAGS)

    def __init__(self, program: Path) -> None:
        self.program = program
        # The time of change belongs to the key: /usr/local/cuda is a link that an update turns elsewhere.
        self.version = _nvcc_version(program, program.stat().st_mtime_ns)

    def compile(self, source: KernelSource, arch: str) -> bytes:
        """See Compiler.compile."""
        with tempfile.TemporaryDirectory(prefix="ce2p-nvcc-") as folder:
            out = Path(folder) / "kernel.ptx"
            self.run(source, "-ptx", f"-arch={arch}", "-o", str(out))
            return out.read_bytes()

    def run(self, source: KernelSource, *arguments: str) -> str:
        """nvcc on `source` with its constants and our flags; returns what it printed. Raises BackendError."""
        command = [str(self.program), *self.flags, *arguments, *_constants(source), f"-I{source.file.parent}"]
        done = subprocess.run([*command, str(source.file)], capture_output=True, text=True, check=False)  # noqa: S603
        printed = done.stdout + done.stderr
        if done.returncode:
            raise _compile_error(source, f"nvcc {self.version}", printed)
        return printed


class Nvrtc:
    """NVRTC through cuda.bindings. Raises BackendError when one of the two packages is not installed or broken."""

    name = "nvrtc"
    flags = _FLAGS

    def __init__(self) -> None:
        try:
            self._nvrtc: Any = importlib.import_module("cuda.bindings.nvrtc")
            major, minor = self._call("nvrtcVersion")
        except Exception as error:  # a library that cannot be loaded raises errors of the package's own
            reason = first_line(error)
            raise BackendError(f"no NVRTC ({reason})") from error
        self.version = f"{major}.{minor}"

    def compile(self, source: KernelSource, arch: str) -> bytes:
        """See Compiler.compile."""
        arguments = [f"--gpu-architecture={arch}", *self.flags, *_constants(source), f"-I{source.file.parent}"]
        # From 13.5 on NVRTC brings cuda_fp16.h and mma.h itself; it unpacks them into a folder it is given.
        with tempfile.TemporaryDirectory(prefix="ce2p-nvrtc-") as folder:
            ptx = self._compile(source, [*arguments, f"--use-bundled-headers={folder}"])
        if ptx is None:
            ptx = self._compile(source, [*arguments, *(f"-I{folder}" for folder in _header_folders())])
        if ptx is None:
            raise BackendError(
                f"{source.file.name}: NVRTC {self.version} does not know one of the options {arguments}; update it"
            )
        return ptx

    def _compile(self, source: KernelSource, arguments: list[str]) -> bytes | None:
        """PTX, or None when this NVRTC does not know one of the options."""
        nvrtc, headers = self._nvrtc, [text.encode() for text in _STANDARD_HEADERS.values()]
        names = [name.encode() for name in _STANDARD_HEADERS]
        text = source.file.read_bytes()
        (program,) = self._call("nvrtcCreateProgram", text, str(source.file).encode(), len(headers), headers, names)
        try:
            (status,) = nvrtc.nvrtcCompileProgram(program, len(arguments), [text.encode() for text in arguments])
            if status == nvrtc.nvrtcResult.NVRTC_ERROR_INVALID_OPTION:
                return None
            if status != nvrtc.nvrtcResult.NVRTC_SUCCESS:
                printed = self._text("nvrtcGetProgramLog", program)
                raise _compile_error(source, f"NVRTC {self.version}", printed.decode(errors="replace"))
            return self._text("nvrtcGetPTX", program)
        finally:
            nvrtc.nvrtcDestroyProgram(program)

    def _text(self, function: str, program: Any) -> bytes:
        """A text that NVRTC writes into a buffer of the size it asks for, without the closing zero."""
        (size,) = self._call(f"{function}Size", program)
        buffer = bytes(size)
        self._call(function, program, buffer)
        return buffer.rstrip(b"\0")

    def _call(self, function: str, *arguments: Any) -> tuple[Any, ...]:
        status, *results = getattr(self._nvrtc, function)(*arguments)
        if status != self._nvrtc.nvrtcResult.NVRTC_SUCCESS:
            raise BackendError(f"NVRTC: {function} fails with {status.name}; install it again")
        return tuple(results)


_INTEGERS = """#pragma once
typedef signed char int8_t; typedef short int16_t; typedef int int32_t; typedef long long int64_t;
typedef unsigned char uint8_t; typedef unsigned short uint16_t; typedef unsigned int uint32_t;
typedef unsigned long long uint64_t;
"""
_STANDARD_HEADERS = {"stdint.h": _INTEGERS, "cstdint": _INTEGERS}
"""NVRTC has no C library; these are the only headers of one that kernels may include."""


def _header_folders() -> list[Path]:
    """Where cuda_fp16.h and crt/mma.h may lie: pip's nvidia-cuda-runtime and nvidia-cuda-crt, or a toolkit."""
    spec = importlib.util.find_spec("nvidia")
    roots = [Path(place) for place in (spec.submodule_search_locations if spec else None) or []]
    folders = [folder for root in roots for folder in sorted(root.glob("*/include"))]
    folders += [home / "include" for home in _toolkits()]
    return [folder for folder in folders if (folder / "cuda_fp16.h").is_file() or (folder / "crt").is_dir()]


def _toolkits() -> list[Path]:
    """Where a CUDA toolkit may be installed, by custom."""
    homes = (os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), "/usr/local/cuda")
    return [Path(home) for home in homes if home]


@functools.cache
def _nvcc_version(program: Path, changed: int) -> str:
    try:
        done = subprocess.run([str(program), "--version"], capture_output=True, text=True, timeout=60, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BackendError(f"{program} does not run ({error}); {COMPILER_CURE}") from error
    match = re.search(r"\bV(\d+\.\d+\.\d+)", done.stdout)
    if match is None:
        raise BackendError(f"{program} --version states no version; {COMPILER_CURE}")
    return match[1]


def _constants(source: KernelSource) -> list[str]:
    return [f"-D{name}={value}" for name, value in source.defines]


def _compile_error(source: KernelSource, compiler: str, printed: str) -> BackendError:
    """The first error in one line; everything goes to the log."""
    logger.info("%s on %s printed:\n%s", compiler, source.file, printed)
    lines = [line.strip() for line in printed.splitlines() if line.strip()]
    first = next((line for line in lines if re.search(r"\b(error|fatal)\b", line)), lines[0] if lines else "no message")
    return BackendError(f"{source.file.name}: {compiler} does not compile it: {first}")
