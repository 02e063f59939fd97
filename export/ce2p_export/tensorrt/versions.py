"""Which TensorRT and which GPU are here, or one line that says what is missing and the cure."""

from __future__ import annotations

import importlib
import re
from types import ModuleType

from ce2p_runtime.backends import DEVICE_BACKENDS
from ce2p_runtime.base.text import first_line, install_hint

from .failures import EngineError

MINIMUM = DEVICE_BACKENDS["tensorrt"].oldest
"""The first TensorRT with ahead-of-time plugins."""
INSTALL = install_hint("tensorrt")


def load_tensorrt() -> ModuleType:
    """The module tensorrt. Raises EngineError when it is missing, broken or too old."""
    try:
        trt = importlib.import_module("tensorrt")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "tensorrt":
            raise EngineError(f"TensorRT is not installed; {INSTALL}, on a machine with an NVIDIA GPU") from None
        raise EngineError(f"TensorRT does not import: {error}; {INSTALL} with --force-reinstall") from error
    except Exception as error:  # a missing library is an ImportError or OSError, a wrong one may raise anything
        reason = first_line(error)
        raise EngineError(
            f"TensorRT is installed but does not load ({reason}); its libraries and bindings must be of one version: "
            f"{INSTALL} with --force-reinstall"
        ) from error
    # An empty folder named tensorrt on the path imports as a package without anything in it.
    check_version(str(getattr(trt, "__version__", "none")))
    return trt


def check_version(version: str) -> None:
    """Raises EngineError for TensorRT older than MINIMUM, or where `version` is none at all."""
    match = re.match(r"(\d+)\.(\d+)", version)
    least = ".".join(map(str, MINIMUM))
    if match is None:
        raise EngineError(f"the module tensorrt states version {version!r}, expected {least} or newer; {INSTALL}")
    if (int(match[1]), int(match[2])) < MINIMUM:
        raise EngineError(
            f"TensorRT {version} is too old, expected {least} or newer for ahead-of-time plugins; {INSTALL}, --upgrade"
        )


def device_architecture(index: int = 0) -> str:
    """Compute capability of a GPU, such as "sm_90". Raises EngineError when there is no driver or no such device.

    Asked of the driver itself, before TensorRT: without a GPU its builder only says that a factory returned nothing.
    """
    try:
        driver = importlib.import_module("cuda.bindings.driver")
    except ImportError as error:
        raise EngineError(f"cuda-bindings does not import ({error}); {INSTALL}") from error
    need = "building an engine needs an NVIDIA GPU of compute capability 7.5 or newer"
    try:
        (status,) = driver.cuInit(0)
    except Exception as error:  # the bindings look for libcuda at the first call, and raise errors of their own
        reason = first_line(error)
        raise EngineError(f"no NVIDIA driver on this machine ({reason}); {need}") from error
    if status != driver.CUresult.CUDA_SUCCESS:
        raise EngineError(f"no usable NVIDIA GPU ({status.name}); {need}; nvidia-smi tells more")
    status, device = driver.cuDeviceGet(index)
    if status != driver.CUresult.CUDA_SUCCESS:
        raise EngineError(f"no NVIDIA GPU number {index} ({status.name}); {need}; nvidia-smi lists them")
    names = driver.CUdevice_attribute
    parts = []
    for name in ("MAJOR", "MINOR"):
        attribute = getattr(names, f"CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_{name}")
        status, value = driver.cuDeviceGetAttribute(attribute, device)
        if status != driver.CUresult.CUDA_SUCCESS:
            raise EngineError(f"the NVIDIA driver does not tell the compute capability ({status.name}); update it")
        parts.append(int(value))
    if tuple(parts) < (7, 5):
        raise EngineError(f"this GPU has compute capability {parts[0]}.{parts[1]}; {need}")
    return f"sm_{parts[0]}{parts[1]}"
