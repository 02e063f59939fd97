"""The backends: one entry for each, from which everything that depends on a backend's facts is derived.

These are the choice among backends and the keys under which it is remembered, the options of the command line and their
help, recorded versions, the findings of `ce2p doctor`, and the tests that run over all backends. Loads neither NumPy
nor the library of a backend, because `ce2p --help` reads it.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..errors import BackendError
from ..measuring.machine import versions
from ..model_files.engine_file import ENGINE_SUFFIXES
from ..precisions import HalfType, precision_named

if TYPE_CHECKING:
    from .base import Backend


@dataclass(frozen=True, kw_only=True)
class OpenOptions:
    """How a network is loaded; see `open_backend`."""

    device: str = "auto"
    threads: int | None = None
    trust: bool = False
    keep: bool = True


@dataclass(frozen=True, kw_only=True)
class BackendEntry:
    """What is known of a backend before its library is loaded."""

    name: str
    """What users call it, and the `name` of what `open` returns."""
    title: str
    """What its makers call it."""
    module: str
    """What Python imports; the backend is installed where this module is found."""
    distributions: tuple[str, ...]
    """Packages that provide the module, of which one is enough."""
    needs: tuple[str, ...] = ()
    """Other packages that its results or times depend on."""
    oldest: tuple[int, ...] = ()
    """The first version that will do, where older ones are common."""
    extra: str
    """The extra of pyproject.toml that installs it."""
    gpu_extra: str = ""
    """The extra that installs its build for GPUs, whose files overwrite those of the other one."""
    suffixes: tuple[str, ...] = (".onnx",)
    """Of the files that it takes."""
    devices: tuple[Literal["cpu", "cuda"], ...]
    """Kinds of device that it has its own way for: "cpu", "cuda". Its library may know more by name."""
    refused: Mapping[HalfType, str] = field(default_factory=dict)
    """Types inside a file (`Precision.half`) that it does not compute on a CPU, with the reason and what to do."""
    open: Callable[[Path, OpenOptions], Backend]
    """Loads a file. Raises BackendError and ModelFileError."""
    finds_gpu: Callable[[], bool] = lambda: False
    """Whether "auto" should try it on a GPU before anything is timed on the CPU."""
    details: Callable[[], str] = lambda: ""
    """For `ce2p doctor`: what the library says of itself. Raises BackendError where it lacks something to run."""

    @property
    def installed(self) -> bool:
        """Whether its library is there; whether it can be imported is not tried."""
        return sys.modules.get(self.module) is not None or importlib.util.find_spec(self.module) is not None

    @property
    def versions(self) -> dict[str, str]:
        """Of the installed packages that provide its module, under whatever name: builds of others count, too."""
        found = versions(*self.distributions)
        if not found and self.installed:
            found = versions(*packages_distributions().get(self.module.partition(".")[0], ()))
        return found


def _of(file: str, name: str) -> Any:
    """Something of a backend's file, which is imported when it is needed."""
    return getattr(import_module(f".{file}", __package__), name)


_ONNXRUNTIME = ("onnxruntime", "onnxruntime-gpu")
_CUDA = ("pycuda", "cuda-bindings")

_ENTRIES = (
    BackendEntry(
        name="onnxruntime",
        title="ONNX Runtime",
        module="onnxruntime",
        distributions=_ONNXRUNTIME,
        extra="cpu",
        gpu_extra="gpu",
        devices=("cpu", "cuda"),
        refused={
            "bfloat16": "ONNX Runtime has no bfloat16 kernels for CPUs; use --backend openvino, or a file of another "
            "precision"
        },
        open=lambda path, how: _of("onnxruntime_cuda", "open_onnxruntime")(path, how.device, how.threads),
        finds_gpu=lambda: bool(_of("onnxruntime_cuda", "cuda_provider_is_there")()),
        details=lambda: f"providers {', '.join(_of('onnxruntime', 'provider_names')())}",
    ),
    BackendEntry(
        name="openvino",
        title="OpenVINO",
        module="openvino",
        distributions=("openvino",),
        needs=("onnx",),  # which prepares the file
        extra="openvino",
        devices=("cpu",),
        open=lambda path, how: _of("openvino", "OpenVinoBackend")(path, how.device, how.threads, keep=how.keep),
        details=lambda: f"devices {', '.join(_of('openvino', 'device_names')())}",
    ),
    BackendEntry(
        name="tensorrt",
        title="TensorRT",
        module="tensorrt",
        distributions=("tensorrt", "tensorrt-cu13", "tensorrt-cu12"),
        needs=_CUDA,
        oldest=(10, 9),  # with ahead-of-time plugins in Python
        extra="tensorrt",
        suffixes=ENGINE_SUFFIXES,
        devices=("cuda",),
        open=lambda path, how: _of("tensorrt", "TensorRTBackend")(path, how.device, how.threads, how.trust),
    ),
    BackendEntry(
        name="tensorrt-rtx",
        title="TensorRT for RTX",
        module="onnxruntime_ep_nv_tensorrt_rtx",
        distributions=("onnxruntime-ep-nv-tensorrt-rtx-cu13",),
        needs=(*_ONNXRUNTIME, *_CUDA),
        extra="tensorrt-rtx",
        devices=("cuda",),
        open=lambda path, how: _of("tensorrt_rtx", "TensorRTRtxBackend")(path, how.device, how.threads),
    ),
)
"""In the order of preference where nothing is measured."""

BACKENDS: dict[str, BackendEntry] = {entry.name: entry for entry in _ENTRIES if "cpu" in entry.devices}
"""Those that run on a CPU, by name."""
DEVICE_BACKENDS: dict[str, BackendEntry] = {entry.name: entry for entry in _ENTRIES if "cpu" not in entry.devices}
"""Those that run on an NVIDIA GPU only."""


def backend_choices() -> tuple[str, ...]:
    """What `open_backend` takes as the name of a backend."""
    return ("auto", *BACKENDS, *DEVICE_BACKENDS)


def backend_entry(name: str) -> BackendEntry:
    """The entry of this name. Raises BackendError for a name that no backend has."""
    entry = BACKENDS.get(name) or DEVICE_BACKENDS.get(name)
    if entry is None:
        raise BackendError(f"unknown backend {name!r}; expected {', '.join(backend_choices())}")
    return entry


def installed_backends() -> tuple[str, ...]:
    """Names of the backends for ONNX files on a CPU whose libraries are installed, in the order of preference."""
    return tuple(name for name, entry in BACKENDS.items() if ".onnx" in entry.suffixes and entry.installed)


def backend_versions(names: Iterable[str]) -> dict[str, str]:
    """Installed versions of ce2p and of all that these backends depend on, for records and keys of what is remembered.

    backend_versions(["openvino"])  # {"ce2p": "0.1.0", "openvino": "2026.4.1", "onnx": "1.21.0"}
    """
    entries = list(map(backend_entry, names))
    found = versions("ce2p", *(package for entry in entries for package in (*entry.distributions, *entry.needs)))
    for entry in entries:
        found |= entry.versions
    return found


def precision_refusal(name: str, precision: str) -> str | None:
    """Why a backend does not run files of a precision on a CPU, in one line; None where it does, or runs elsewhere.

    `name` as for `open_backend`; "auto" is refused where every installed backend refuses. Loads nothing.

        precision_refusal("onnxruntime", "bf16")  # "ONNX Runtime has no bfloat16 kernels for CPUs; ..."
    """
    names = installed_backends() if name == "auto" else [name] if name in BACKENDS else []
    half = precision_named(precision).half
    reasons = [None if half is None else BACKENDS[one].refused.get(half) for one in names]
    return None if None in reasons else next(iter(reasons), None)
