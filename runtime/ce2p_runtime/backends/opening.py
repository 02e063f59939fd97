"""A model file opened on a backend: the one asked for by name, or the one that serves it best here."""

from __future__ import annotations

import os
from pathlib import Path

from ..base.text import install_hint
from ..errors import BackendError
from ..model_files.onnx_file import exported_metadata
from .base import Backend
from .choice import choose_backend
from .choice_memory import Option
from .compiled_memory import compiled_limit
from .gate_record import passed_among, warn_unless_passed
from .registry import BACKENDS, DEVICE_BACKENDS, Opening, backend_entry, installed_backends

__all__ = ["check_threads", "open_backend"]

PER_CORE = 4
"""Threads beyond the logical cores only wait for each other, and they do that by spinning: a frame took 88 s with 500
threads on two cores, and 100,000 ended the process with a segmentation fault. Up to this many per core is left to
whoever wants to try; it lets a script written for a larger machine run on a smaller one."""


def open_backend(
    path: str | Path,
    backend: str = "auto",
    device: str = "auto",
    threads: int | None = None,
    trust: bool = False,
    *,
    keep: bool = True,
) -> Backend:
    """Load a model file.

    "auto" takes TensorRT for an engine, and ONNX Runtime on a GPU where its CUDA provider is there and loads. On the
    CPU it times the installed backends with the network, which takes a few seconds once per network and machine, keeps
    the fastest and remembers it (see choice.py); the result's `choice` says what was measured. Name a backend to have
    no choice made. A file with a record of its gate (see gate_record.py) goes to the backends that passed alone; to
    another one, asked for by name, with a warning. What takes more than a moment is logged as INFO when it begins, by
    loggers below "ce2p_runtime.backends".

    The result's `name` says which it is; a DeviceBackend keeps its tensors on the GPU. `threads`: CPU threads, 1 to
    four per logical core; None lets "auto" choose them, too. `trust`: load an engine that is not the one its sidecar
    was written for. `keep`: leave what OpenVINO compiled in the cache for the next time (see compiled_memory.py), which
    is of no use for a file that is opened once. Raises BackendError (unknown, not installed, device not there, too many
    threads, gate not passed) and ModelFileError.
    """
    check_threads(threads)
    compiled_limit()  # here, or a wrong one would be taken for a fault of OpenVINO
    path = Path(path)
    how = Opening(device=device, threads=threads, trust=trust, keep=keep)
    if backend == "auto":
        takers = [entry for entry in (*BACKENDS.values(), *DEVICE_BACKENDS.values()) if path.suffix in entry.suffixes]
        if not takers or takers[0].name in BACKENDS:
            return _open_automatically(path, how)
        backend = takers[0].name
    opened = backend_entry(backend).open(path, how)
    try:
        warn_unless_passed(opened.metadata, opened.name, path)
    except BaseException:
        opened.close()
        raise
    return opened


def check_threads(threads: int | None) -> None:
    """Raises BackendError for a number of threads that no network can use; None leaves it to the library."""
    if threads is None:
        return
    cores = os.cpu_count() or 1
    most = PER_CORE * cores
    if not isinstance(threads, int) or isinstance(threads, bool) or not 1 <= threads <= most:
        raise BackendError(
            f"threads is {threads!r:.40}, expected a whole number from 1 to {most} ({PER_CORE} for each of the {cores} "
            "logical cores here), or none for one per physical core"
        )


def _open_automatically(path: Path, how: Opening) -> Backend:
    """An ONNX file on whatever serves it best here."""
    installed = installed_backends()
    if not installed:
        raise BackendError(f"no inference backend is installed; {install_hint('cpu')}")
    names = passed_among(installed, exported_metadata(path), path)
    if how.device not in {"auto", "cpu"}:
        kind = how.device.partition(":")[0]
        able = [name for name in names if kind in BACKENDS[name].devices]
        return BACKENDS[(able or names)[0]].open(path, how)
    for entry in (BACKENDS[name] for name in names):
        if how.device == "auto" and entry.finds_gpu():
            opened = entry.open(path, how)
            if opened.device != "cpu":
                return opened
            opened.close()

    def load(option: Option, keep: bool) -> Backend:
        return BACKENDS[option.backend].open(path, Opening(device="cpu", threads=option.threads, keep=keep))

    return choose_backend(path, names, how.threads, load, keep=how.keep)
