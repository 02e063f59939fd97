"""A model file opened on a backend: the one asked for by name, or the one that serves it best here.

A file whose accuracy depends on who computes it carries a record of its gate in its metadata, `extra["gate"]`, with the
names of the backends that passed under "passed_on". Files without a record serve on every backend.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

from ..base.text import install_hint
from ..errors import BackendError, ModelFileError
from ..model_files.metadata import ModelMetadata
from ..model_files.onnx_file import exported_metadata
from .base import Backend
from .choice import choose_backend
from .choice_memory import Option
from .compiled_memory import compiled_limit
from .registry import BACKENDS, DEVICE_BACKENDS, OpenOptions, backend_entry, installed_backends

logger = logging.getLogger(__name__)

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
    no choice made. A file with a record of its gate goes to the backends that passed alone; to
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
    how = OpenOptions(device=device, threads=threads, trust=trust, keep=keep)
    if backend == "auto":
        takers = [entry for entry in (*BACKENDS.values(), *DEVICE_BACKENDS.values()) if path.suffix in entry.suffixes]
        if not takers or takers[0].name in BACKENDS:
            return _open_automatically(path, how)
        backend = takers[0].name
    opened = backend_entry(backend).open(path, how)
    try:
        _warn_unless_passed(opened.metadata, opened.name, path)
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


def _open_automatically(path: Path, how: OpenOptions) -> Backend:
    """An ONNX file on whatever serves it best here."""
    installed = installed_backends()
    if not installed:
        raise BackendError(f"no inference backend is installed; {install_hint('cpu')}")
    names = _passed_among(installed, exported_metadata(path), path)
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
        return BACKENDS[option.backend].open(path, OpenOptions(device="cpu", threads=option.threads, keep=keep))

    return choose_backend(path, names, how.threads, load, keep=how.keep)


def _gate_passed_on(metadata: ModelMetadata, path: Path) -> tuple[str, ...] | None:
    """Names of the backends that a file passed its gate on; None where it has no record. Raises ModelFileError."""
    if "gate" not in metadata.extra:
        return None
    record = metadata.extra["gate"]
    names = record.get("passed_on") if isinstance(record, dict) else None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ModelFileError(
            f"{path}: the record of its gate is {record!r:.80}, expected a list of backends under 'passed_on'; "
            "export it again"
        )
    return tuple(names)


def _passed_among(installed: Sequence[str], metadata: ModelMetadata, path: Path) -> list[str]:
    """Those of the installed backends that may serve the file unasked. Raises BackendError where there is none."""
    passed = _gate_passed_on(metadata, path)
    if passed is None:
        return list(installed)
    names = [name for name in installed if name in passed]
    if not names:
        known = [entry for name, entry in (*BACKENDS.items(), *DEVICE_BACKENDS.items()) if name in passed]
        cure = " or ".join(install_hint(entry.extra) for entry in known) or "export it again"
        raise BackendError(
            f"{path}: its gate was passed on {_listed(passed)}, installed for it is {_listed(installed)}; {cure}, "
            "or name a backend and check it with `ce2p verify`"
        )
    return names


def _warn_unless_passed(metadata: ModelMetadata, name: str, path: Path) -> None:
    """Say so where a backend that was asked for by name is not one the file passed its gate on."""
    passed = _gate_passed_on(metadata, path)
    if passed is not None and name not in passed:
        logger.warning(
            "%s: this file's gate was passed on %s, not on %s: check with `ce2p verify`", path, _listed(passed), name
        )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "no backend"
