"""A model file opened on a backend: the one asked for by name, or the one that serves it best here."""

from __future__ import annotations

from pathlib import Path

from ..base.text import install_hint
from ..errors import BackendError, ModelFileError
from ..model_files.metadata import ModelMetadata
from ..model_files.onnx_file import onnx_properties
from .base import Backend, check_model_file, metadata_from
from .choice import choose_backend
from .choice_memory import Option
from .compiled_memory import compiled_limit
from .gate_record import passed_among, warn_unless_passed
from .registry import BACKENDS, DEVICE_BACKENDS, Opening, backend_entry, installed_backends
from .thread_count import check_threads

__all__ = ["open_backend"]


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

    The result's `name` says which it is; a DeviceBackend keeps its tensors on the GPU. `threads`: CPU threads, 1
    to four per logical core (see thread_count.py); None lets "auto" choose them, too. `trust`: load an engine that is
    not the one its sidecar was written for. `keep`: leave what OpenVINO compiled in the cache for the next time (see
    compiled_memory.py), which files that are opened only once do not deserve. Raises BackendError (unknown, not
    installed, device not there, senseless threads, gate not passed) and ModelFileError.
    """
    check_threads(threads)
    compiled_limit()  # a senseless one would be taken for a fault of OpenVINO
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


def _open_automatically(path: Path, how: Opening) -> Backend:
    """An ONNX file on whatever serves it best here."""
    installed = installed_backends()
    if not installed:
        raise BackendError(f"no inference backend is installed; {install_hint('cpu')}")
    names = passed_among(installed, _metadata(path), path)
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


def _metadata(path: Path) -> ModelMetadata:
    """What an ONNX file says about itself, before any backend has loaded it. Raises ModelFileError."""
    check_model_file(path)
    try:
        return metadata_from(path, onnx_properties(path))
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error
