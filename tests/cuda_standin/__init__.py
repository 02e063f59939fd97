"""CUDA, TensorRT and ONNX Runtime's CUDA provider without a GPU: see machine.py for what this finds."""

from .install import GpuStandIn, gpu_stand_in
from .machine import Machine, StandInError

__all__ = ["GpuStandIn", "Machine", "StandInError", "gpu_stand_in"]
