"""`import tensorrt`, with the official libraries where they are, else with TensorRT for RTX standing in for them.

The stand-in is for tests: the real Python API, ONNX parser and builder run on a machine without GPU or driver and build
real plans. It cannot read a plan back or run one, and knows no quickly deployable plugin inside a network.
"""

from __future__ import annotations

import atexit
import ctypes
import importlib
import importlib.util
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType

__all__ = ["Found", "bring_up"]

REQUIREMENTS = "tests/trt_on_cpu/requirements.txt"
BINDINGS = "11.4.0.106"
"""Of the Python bindings that the stand-in was found to work with; the sonames below are theirs."""
LIBRARIES = ("libnvinfer.so.11", "libnvinfer_plugin.so.11", "libnvonnxparser.so.11")


@dataclass(frozen=True)
class Found:
    """TensorRT, or the reason why there is none."""

    module: ModuleType | None
    stand_in: bool
    reason: str = ""


@cache
def bring_up() -> Found:
    """Import tensorrt once per process, before anybody else does. Never raises."""
    try:
        return _usable(importlib.import_module("tensorrt"))
    except ImportError as missing:
        # Without the package there is nothing to complete; with it, only its libraries are missing.
        if importlib.util.find_spec("tensorrt_bindings") is None:
            return Found(None, False, f"TensorRT is not installed ({missing}); pip install --no-deps -r {REQUIREMENTS}")
    problem = _load_stand_in()
    if problem:
        return Found(None, False, problem)
    try:
        trt = importlib.import_module("tensorrt")
    except ImportError as error:
        return Found(None, False, f"tensorrt does not import over the stand-in: {error}")
    if trt.__version__ != BINDINGS:
        return Found(None, False, f"tensorrt {trt.__version__}, the stand-in needs {BINDINGS}; see {REQUIREMENTS}")
    return Found(trt, True)


def _usable(trt: ModuleType) -> Found:
    try:
        trt.Builder(trt.Logger(trt.Logger.ERROR))
    except Exception as error:  # pybind11 raises TypeError where the factory returns nothing
        return Found(None, False, f"the official TensorRT {trt.__version__} finds no usable GPU: {error}")
    return Found(trt, False)


def _load_stand_in() -> str:
    """Compile the shim under the three names and load it. Returns what went wrong, or nothing."""
    package = importlib.util.find_spec("onnxruntime_ep_nv_tensorrt_rtx")
    if package is None or package.origin is None:
        return f"TensorRT's libraries are not installed, nor is the stand-in; pip install --no-deps -r {REQUIREMENTS}"
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        return "the stand-in for TensorRT's libraries needs gcc, which is not on PATH"
    source = Path(package.origin).parent
    folder = Path(tempfile.mkdtemp(prefix="ce2p-trt-on-cpu-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    defines = []
    for macro, name in (("CE2P_RTX", "libtensorrt_rtx.so"), ("CE2P_PARSER", "libtensorrt_onnxparser_rtx.so")):
        library = next(iter(sorted(source.glob(f"{name}.*.*"))), None)
        if library is None:
            return f"{source} holds no {name}; install the versions of {REQUIREMENTS}"
        # The two load each other by this name, which the wheel does not provide.
        soname = folder / f"{name}.1"
        soname.symlink_to(library)
        defines.append(f'-D{macro}="{soname}"')
    for name in LIBRARIES:
        command = [compiler, "-shared", "-fPIC", "-O1", *defines, f"-Wl,-soname,{name}", "-o", str(folder / name)]
        done = subprocess.run([*command, str(Path(__file__).parent / "shim.c"), "-ldl"], capture_output=True, text=True)
        if done.returncode:
            return f"the stand-in for {name} does not compile: {done.stderr.strip()}"
        # Global: the bindings' own request for this soname is then already answered.
        ctypes.CDLL(str(folder / name), mode=ctypes.RTLD_GLOBAL)
    return ""
