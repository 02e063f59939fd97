"""From a .cu file to PTX: compiled once per user, then read from the cache.

Compilers, in this order: $CE2P_NVCC, nvcc on PATH, in $CUDA_HOME or $CUDA_PATH, in /usr/local/cuda; else NVRTC, which
pip installs without a CUDA toolkit. No GPU and no driver is needed to compile.

PTX has a version of its own, which follows the compiler and not the target: nvcc 13.0 writes 9.0 even for compute_75.
A driver that knows only older versions refuses the file (CUDA_ERROR_UNSUPPORTED_PTX_VERSION). So a compiler newer than
the driver's CUDA (`nvidia-smi` shows it) is a trap; `ptx_version` is there to name it, and the cure is either a newer
driver or a compiler of the driver's own CUDA version. `compute_75` PTX itself runs on every later architecture.

Multiply-adds may be contracted: where bits matter, kernels use __fmul_rn and __fadd_rn themselves.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from pathlib import Path
from typing import Any

from ..base.cache import cache_folder, read_cached
from ..base.files import atomic_path
from ..errors import BackendError, MediaError
from ..ops.launches import KernelSource
from .toolchains import Compiler, find_compiler

logger = logging.getLogger(__name__)

_MARK = b"// ce2p "
"""Starts the first line of PTX made here: one JSON object about the rest."""


def compile_ptx(source: KernelSource, arch: str = "compute_75", compiler: Compiler | None = None) -> bytes:
    """PTX of `source` for the virtual architecture `arch` ("compute_75": runs on sm_75 and everything later).

    The first line is the comment `// ce2p {...}`, see `ptx_header`. Compiled by `compiler`, by default the one that
    `find_compiler` finds; from this user's cache where source, constants, architecture, compiler and flags are the
    same. Raises BackendError when there is no compiler or the source does not compile.
    """
    if not re.fullmatch(r"compute_\d+[af]?", arch):
        raise ValueError(f"architecture {arch!r}, expected one such as 'compute_75'")
    compiler = compiler or find_compiler()
    digest = source_sha256(source)
    key = _sha256(
        json.dumps([digest, source.file.name, source.defines, arch, compiler.name, compiler.version, compiler.flags])
    )
    cached = cache_folder("ptx") / f"{source.file.stem}-{arch}-{key[:32]}.ptx"
    found = _read(cached)
    if found is not None:
        return found
    body = compiler.compile(source, arch)
    header = {
        "file": source.file.name,
        "defines": dict(source.defines),
        "sha256": digest,
        "arch": arch,
        "compiler": f"{compiler.name} {compiler.version}",
        "ptx_sha256": hashlib.sha256(body).hexdigest(),
    }
    ptx = _MARK + json.dumps(header).encode() + b"\n" + body
    try:
        with atomic_path(cached) as temporary:
            temporary.write_bytes(ptx)
    except (OSError, MediaError) as error:
        logger.warning("compiled kernels are not kept: %s", error)
    return ptx


def source_sha256(source: KernelSource) -> str:
    """Hex digest of everything a kernel is compiled from: its .cu file and all .cuh files beside it.

    Raises BackendError when the file is not there.
    """
    files = [source.file, *sorted(source.file.parent.glob("*.cuh"))]
    try:
        return _sha256(json.dumps([[file.name, _sha256(file.read_text("utf-8"))] for file in files]))
    except OSError as error:
        raise BackendError(
            f"{source.file}: the kernel's source cannot be read ({error.strerror}); install ce2p again"
        ) from error


def ptx_header(ptx: bytes) -> dict[str, Any] | None:
    """What the first line of PTX made here says, once the rest is known to be whole; None for any other bytes.

    "file" and "defines" (name -> value) are those of the KernelSource, "sha256" is its `source_sha256`, "arch" and
    "compiler" are words, "ptx_sha256" is the hex digest of everything after the first line.
    """
    line, _, body = ptx.partition(b"\n")
    if not line.startswith(_MARK):
        return None
    try:
        header = json.loads(line.removeprefix(_MARK))
    except ValueError:
        return None
    whole = isinstance(header, dict) and header.get("ptx_sha256") == hashlib.sha256(body).hexdigest()
    return header if whole else None


def ptx_version(ptx: bytes) -> tuple[int, int]:
    """The PTX language version a file asks of the driver, such as (9, 0). Raises ValueError where it states none."""
    match = re.search(rb"^\s*\.version\s+(\d+)\.(\d+)", ptx, re.MULTILINE)
    if match is None:
        raise ValueError("no .version line; this is not PTX")
    return int(match[1]), int(match[2])


def driver_ptx_version(cuda: tuple[int, int]) -> tuple[int, int]:
    """The newest PTX version that a driver for CUDA version `cuda` reads: (13, 0) -> (9, 0).

    From the release history of the PTX language: the major number is CUDA's less 4, and the minor number follows
    CUDA's, except that 12.6 brought no new one.
    """
    major, minor = cuda
    return major - 4, minor - 1 if major == 12 and minor >= 6 else minor


def _read(cached: Path) -> bytes | None:
    """A cache entry, or None where there is none that is whole."""
    try:
        ptx = read_cached(cached)
    except OSError:
        return None
    if ptx_header(ptx) is None:
        logger.warning("%s: damaged, compiled again", cached)
        return None
    return ptx


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
