"""What is installed that runs exported files on a GPU. Needs no PyTorch, since the plan asks it, too."""

from __future__ import annotations

import importlib
import importlib.util

from benchmarks.gpu.parts import first_line
from ce2p_runtime.process.telemetry import import_onnxruntime


def gpu_runtimes() -> tuple[list[str], str]:
    """What can run exported files here ("naive": ONNX Runtime on plain files; "onnxruntime", "tensorrt-rtx",
    "tensorrt": ours), and why the others cannot."""
    found, lacking = [], []
    try:
        cuda = "CUDAExecutionProvider" in import_onnxruntime().get_available_providers()
    except ImportError:
        cuda = False
    if cuda:
        found.append("naive")
    else:
        lacking.append("no onnxruntime-gpu is installed")
    if importlib.util.find_spec("pycuda") is None:
        return found, "; ".join([*lacking, "no pycuda, which all of our backends for GPUs need"])
    if cuda:
        found.append("onnxruntime")
    if importlib.util.find_spec("onnxruntime_ep_nv_tensorrt_rtx") is not None:
        found.append("tensorrt-rtx")
    try:
        importlib.import_module("tensorrt")
        found.append("tensorrt")
    except ImportError as error:
        lacking.append(f"no TensorRT ({first_line(error)})")
    return found, "; ".join(lacking)
